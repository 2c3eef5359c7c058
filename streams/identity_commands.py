"""The commands for identities. Imported by the command line; each imports what it needs itself."""

from typing import Annotated

import typer

from streams.terminal import DataDir, say, settings_from

identity_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@identity_app.command("show", epilog="Example: daogou identity show 17850")
def identity_show(
    shopper_id: Annotated[
        str, typer.Argument(metavar="ID", help="A user's id or an anonymous one; u- or a- before it says which.")
    ],
    data_dir: DataDir = None,
) -> None:
    """Tell which ids are one person, since when, and what can be undone."""
    from infra.embedded.outside import Outside
    from streams.unlinking import show

    with Outside(settings_from(data_dir=data_dir)) as settings:
        for line in show(settings, shopper_id):
            say(line)


@identity_app.command("unlink", epilog="Example: daogou identity unlink 17850 f3c9a0d2")
def identity_unlink(
    user_id: Annotated[str, typer.Argument(metavar="USER", help="The user's id.")],
    anonymous_id: Annotated[str, typer.Argument(metavar="ANON", help="The anonymous id that is not the user's.")],
    data_dir: DataDir = None,
) -> None:
    """Undo a merge.

    Both shoppers become what they would be had the two never been linked. The workers carry it out, in the order of the
    log.
    """
    from infra.clock import clock_from
    from infra.embedded.outside import Outside
    from streams.unlinking import unlink

    with Outside(settings_from(data_dir=data_dir)) as settings:
        word = unlink(settings, user_id, anonymous_id, clock_from(settings.clock_shift_file))
    say(f"on the log as {word}: the workers undo it; see: daogou identity show a-{anonymous_id}")
