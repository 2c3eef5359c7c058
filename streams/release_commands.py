"""The commands of a model's life: release, rollback, and a look at what there is. Each imports what it needs itself."""

from typing import TYPE_CHECKING, Annotated

import typer

from infra.errors import BadInput
from streams.terminal import DataDir, now_in, say, settings_from

if TYPE_CHECKING:
    from infra.settings import Settings
    from models.release import Release
    from streams.trainer import Report

Candidate = Annotated[str | None, typer.Argument(help="The artifact to release; without it the newest.")]
Version = Annotated[str | None, typer.Argument(help="An artifact; without it the one in service.")]

models_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


def release(
    version: Candidate = None,
    force: Annotated[str | None, typer.Option(help="Pass the gate over; give the reason, it is kept.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Put an artifact into service, by default the newest one.

    It is tested beside the one in service, on the weeks that it was not fitted on; one that does worse there, or worse
    than decayed popularity, is refused. Workers and API take it up within seconds.
    """
    from streams.model_commands import quiet_threads

    quiet_threads()
    settings = settings_from(data_dir=data_dir)
    put_into_service(settings, version or _newest(settings), force)


def rollback(data_dir: DataDir = None) -> None:
    """Put the release before into service again.

    Once more: the one before that.
    """
    from models.release import rollback as swap

    settings = settings_from(data_dir=data_dir)
    say(f"released {swap(settings.models_dir, now_in(settings), by=_who()).version} again")


@models_app.command("list")
def list_models(data_dir: DataDir = None) -> None:
    """All artifacts, the one in service, and who released what."""
    from infra.errors import DaogouError
    from models.artifact import Artifact
    from models.gate import METRIC, MODEL
    from models.release import artifacts, pointer

    settings = settings_from(data_dir=data_dir)
    known, made = pointer(settings.models_dir), artifacts(settings.models_dir)
    if not made:
        say(f"no model yet in {settings.models_dir}: daogou train makes one")
    for name in made:
        try:
            metrics = Artifact.open(settings.models_dir / name, verify=False).manifest.metrics
            told = f"{METRIC} {metrics[MODEL][METRIC]:.4f}"
        except DaogouError as error:
            told = error.message
        mark = "in service" if name == known.live else ""
        say(f"{name}  {told}  {mark}".rstrip())
    for one in known.releases:
        say(f"released {one.at:%Y-%m-%d %H:%M}  {one.version}  {_why(one)}".rstrip())


@models_app.command(epilog="Example: daogou models show 20261124-053400")
def show(version: Version = None, data_dir: DataDir = None) -> None:
    """What one artifact was made from, how it did, its releases.

    Its files are checked.
    """
    from rich.console import Console

    from models.release import candidate, pointer
    from streams.models_shown import described

    settings = settings_from(data_dir=data_dir)
    chosen = version or _in_service(settings)
    artifact = candidate(settings.models_dir, chosen)
    Console().print(described(artifact.manifest))
    for one in pointer(settings.models_dir).releases:
        if one.version == chosen:
            say(f"released {one.at:%Y-%m-%d %H:%M}  {_why(one)}".rstrip())


@models_app.command(epilog="Example: daogou models compare 20261124-053400")
def compare(
    one: Annotated[str, typer.Argument(help="An artifact.")],
    other: Annotated[str | None, typer.Argument(help="Another; without it the one in service.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Two artifacts side by side; nothing is released.

    On the weeks that the first was not fitted on.
    """
    from rich.console import Console

    from streams.model_commands import quiet_threads
    from streams.models_shown import beside
    from streams.progress import Phases
    from streams.releasing import compare as run

    quiet_threads()
    settings = settings_from(data_dir=data_dir)
    with Phases() as phases:
        compared = run(settings, one, phases, against=other or _in_service(settings))
    Console().print(beside(one, compared))


@models_app.command(epilog="Example: daogou models shadow 20261124-053400 --share 0.1")
def shadow(
    version: Annotated[
        str | None, typer.Argument(help="A candidate; without it: what became of the one tried.")
    ] = None,
    share: Annotated[float, typer.Option(help="Part of the shoppers, always the same ones.")] = 0.1,
    off: Annotated[bool, typer.Option("--off", help="Try nothing any more.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Try a candidate on live traffic: it makes lists nobody sees.

    It runs beside the model in service. Compared are both first 20 items, their processor time, and how often the item
    that a shopper turns to next was among them.
    """
    from rich.console import Console

    from models.shadow import Order, begin, end
    from streams.shadow_command import report

    settings = settings_from(data_dir=data_dir)
    if off and version is not None:
        raise BadInput("--off takes no version: one candidate is tried at most", path="version", code="not_both")
    if off:
        say("the candidate is tried no more" if end(settings.models_dir) else "no candidate was tried")
    elif version is not None:
        begin(settings.models_dir, Order(version, share, now_in(settings), _who()))
        say(f"{version} is tried on {share:.3g} of the shoppers: daogou models shadow tells what becomes of it")
    else:
        report(settings, Console())


def put_into_service(settings: "Settings", version: str, force: str | None, tested: "Report | None" = None) -> None:
    """Release it behind the gate, and say what it was decided on."""
    from streams.progress import Phases
    from streams.releasing import release as swap

    with Phases() as phases:
        done = swap(settings, version, phases, now_in(settings), force=force, tested=tested, by=_who())
    if done.compared is not None:
        from rich.console import Console

        from streams.models_shown import beside

        Console().print(beside(done.version, done.compared))
    say(f"released {done.version}")


def _newest(settings: "Settings") -> str:
    from models.release import artifacts

    found = artifacts(settings.models_dir)
    if not found:
        raise BadInput(f"there is no artifact in {settings.models_dir}: daogou train makes one", path="version")
    return found[-1]


def _in_service(settings: "Settings") -> str:
    from infra.errors import NotFound
    from models.release import pointer

    live = pointer(settings.models_dir).live
    if live is None:
        raise NotFound("no model is released: name an artifact (daogou models list shows them)", path="version")
    return live


def _why(one: "Release") -> str:
    """By whom, and for what reason where the gate was passed over."""
    from models.release import ROLLBACK

    by = f"by {one.by}" if one.by else ""
    if one.forced is None or one.forced == ROLLBACK:
        return f"{one.forced or ''} {by}".strip()
    return f"forced {by}".strip() + f": {one.forced}"


def _who() -> str | None:
    """The account that this runs under, where it has a name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None
