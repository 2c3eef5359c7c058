"""The commands for API keys: create, list, revoke. Each imports what it needs itself."""

import sys
from enum import StrEnum
from typing import Annotated, Final

import typer

from streams.terminal import DataDir, now_in, say, settings_from, who

keys_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

By = Annotated[str, typer.Option("--by", help="Who asks, for the record; else the name of this system's user.")]


FIRST: Final = "This is the shop's first key. From now on every call to this shop needs a key; pages included."
_NEXT: Final = {
    "operator": "Make one for pages next: daogou keys create publishable, and secret for the shop's own servers.",
    "other": 'Settings can be changed with an operator key only; make one next: daogou keys create operator "me".',
}
LAST: Final = (
    "That was the last good key: every call to this shop is refused now, for the end of the last key opens nothing. "
    'Make another: daogou keys create operator "me".'
)


class KeyRole(StrEnum):
    """What a key opens."""

    publishable = "publishable"
    secret = "secret"
    operator = "operator"


@keys_app.command("create", epilog='Example: daogou keys create publishable "the shop\'s pages"')
def keys_create(
    role: Annotated[KeyRole, typer.Argument(help="What it opens: publishable for browsers, secret, operator.")],
    label: Annotated[str, typer.Argument(help="What it is for.")],
    origin: Annotated[
        list[str] | None,
        typer.Option("--origin", help="Pages of this origin may call; may be given again [DAOGOU_ALLOWED_ORIGINS]."),
    ] = None,
    per_second: Annotated[
        float, typer.Option(min=0, max=1_000_000, help="Requests a second per API process [DAOGOU_KEY_REQUESTS_PER_S].")
    ] = 0,
    burst: Annotated[int, typer.Option(min=0, max=1_000_000, help="Requests at once; 0: two seconds' worth.")] = 0,
    days: Annotated[int, typer.Option(min=0, max=3650, help="Days until it expires; 0: never.")] = 0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Do not ask, even for the first key, which closes the shop.")
    ] = False,
    by: By = "",
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, this once.

    The first one closes the shop: from then on every call needs a key.

    Only its hash is kept, on the log, from where every API process takes it up at once. The embedded broker forgets its
    log when it ends, and the keys with it: there, and for a first key, use DAOGOU_PUBLISHABLE_KEYS, DAOGOU_SECRET_KEYS
    and DAOGOU_OPERATOR_KEYS.
    """
    import secrets

    from infra.embedded.outside import Outside, running
    from infra.key_records import KEY_BYTES
    from streams.shop_keys import Wish, check, create, has_keys, refuse_forgetful

    given = settings_from(data_dir=data_dir)
    refuse_forgetful(given, runs=running(given) is not None)
    wish = Wish(role.value, label, tuple(origin or ()), per_second, burst, days)
    check(wish)
    key_id = secrets.token_hex(6)
    with Outside(given) as settings:
        first = not has_keys(settings)
        if first:
            _warn(FIRST)
            if not yes and sys.stdin.isatty():
                typer.confirm("Make it?", abort=True)
        key = create(settings, wish, who(by), now_in(settings), secrets.token_bytes(KEY_BYTES), key_id)
    say(f"id   {key_id}")
    say(f"key  {key}")
    say("Keep the key: it is shown this once. To take it back: daogou keys revoke " + key_id)
    if first:
        _warn(_NEXT["operator" if role is KeyRole.operator else "other"])


@keys_app.command("list", epilog="Example: daogou keys list")
def keys_list(data_dir: DataDir = None) -> None:
    """Tell which keys there are, revoked ones too.

    Keys of the settings (DAOGOU_SECRET_KEYS and its like) are not among them.
    """
    from infra.embedded.outside import Outside
    from streams.shop_keys import keys, told

    with Outside(settings_from(data_dir=data_dir)) as settings:
        lines = list(told(keys(settings), now_in(settings)))
    for line in lines or ["no keys on the log"]:
        say(line)


@keys_app.command("revoke", epilog="Example: daogou keys revoke 5f2a90c1d3e4")
def keys_revoke(
    key_id: Annotated[str, typer.Argument(metavar="ID", help="The key's id, as `daogou keys list` tells it.")],
    by: By = "",
    data_dir: DataDir = None,
) -> None:
    """Take a key back.

    Every API process that Kafka reaches stops taking it within a second or so. It stays in the list, with the time.
    """
    from infra.embedded.outside import Outside
    from streams.shop_keys import lets_in, revoke

    with Outside(settings_from(data_dir=data_dir)) as settings:
        was = revoke(settings, key_id, who(by), now_in(settings))
        left = lets_in(settings, now_in(settings))
    say(f"{key_id} is revoked: {was.role}, {was.label}")
    if not left:
        _warn(LAST)


def _warn(line: str) -> None:
    print(f"daogou: {line}", file=sys.stderr, flush=True)
