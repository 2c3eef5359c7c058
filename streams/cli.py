"""The command line. Whatever a command needs is imported when it runs, so that `daogou --help` is quick.

Errors of the project's tree end a command with one sentence: status 2 for what was given wrong, 75 for a worker
that lost what it owned, 1 for the rest.
"""

import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.errors import BadInput, DaogouError, OwnershipLost
from streams.archive_commands import archive_app
from streams.data_commands import catalogue_app, features_app, load, topics_app
from streams.dead_letter_commands import dead_letters_app
from streams.enrich_command import enrich
from streams.experiment_commands import attribution_app, experiments_app, policies_app
from streams.identity_commands import identity_app
from streams.item_commands import items_app
from streams.key_commands import keys_app
from streams.model_commands import evaluate, quiet_threads, train
from streams.release_commands import models_app, release, rollback
from streams.replay_commands import replay_app
from streams.running_commands import streams_app
from streams.stop_signals import StopSignals
from streams.terminal import DataDir, Port, say, settings_from, sigterm_as_ctrl_c
from streams.text_commands import similar, text_app

if TYPE_CHECKING:
    from infra.settings import Settings

FAILED, BAD_INPUT, OWNERSHIP_LOST, INTERRUPTED = 1, 2, 75, 130

app = typer.Typer(
    name="daogou",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="An event-driven streaming recommender and shopping guide for online shops.",
    epilog="Settings are environment variables (DAOGOU_KAFKA, DAOGOU_REDIS, …): `daogou doctor` lists them.",
)
app.add_typer(topics_app, name="topics", help="Kafka topics: create what is missing, check the rest.")
app.add_typer(streams_app, name="streams", help="All workers of the shop: pause, resume, status.")
app.add_typer(archive_app, name="archive", help="The archive of all events: list, verify.")
app.add_typer(dead_letters_app, name="dead-letters", help="What could not be processed: look, put back, set aside.")
app.add_typer(replay_app, name="replay", help="Replay events into a namespace; compare, promote, drop it.")
app.add_typer(identity_app, name="identity", help="Which ids are one person: look, undo a merge.")
app.add_typer(items_app, name="items", help="Items of the catalogue, and who watches them.")
app.add_typer(catalogue_app, name="catalogue", help="The catalogue in Redis: make it anew.")
app.add_typer(keys_app, name="keys", help="API keys: create, list, revoke.")
app.add_typer(models_app, name="models", help="Artifacts: list, show, compare.")
app.add_typer(experiments_app, name="experiments", help="What the variations of an experiment did.")
app.add_typer(attribution_app, name="attribution", help="Which lists brought clicks, orders and revenue.")
app.add_typer(policies_app, name="policies", help="What another scenario would be worth, untried.")
app.add_typer(text_app, name="text", help="Text encoders and models for copy: tune, export.")
app.add_typer(features_app, name="features", help="The offline feature log that training reads.")


@app.command(epilog="Example: daogou up --port 8000 --data-dir .daogou")
def up(port: Port = None, data_dir: DataDir = None) -> None:
    """Start worker and API together.

    Embedded Redis and Kafka start where none is set. Ctrl-C ends everything and says what was kept.
    """
    from streams.supervisor import up as run

    settings = settings_from(port=port, data_dir=data_dir)
    signals = StopSignals()
    signals.install()
    try:
        run(settings, say, signals)
    except KeyboardInterrupt:
        return


@app.command(epilog="Example: DAOGOU_KAFKA=kafka:9092 DAOGOU_REDIS=redis://redis:6379/0 daogou worker")
def worker(data_dir: DataDir = None) -> None:
    """Start one worker.

    Status 75: it lost what it owned; start it again (systemd: Restart=always).
    """
    from infra.data_folder import make_usable
    from infra.embedded.outside import Outside
    from streams.supervisor import prepare

    given = settings_from(data_dir=data_dir)
    make_usable(given.data_dir)
    with _alone(given), Outside(given) as settings:
        prepare(settings)
        from streams.worker import run  # seconds: not before it is known that it will be needed

        status = run(settings)
    raise typer.Exit(status)


@app.command(epilog="Example: daogou api --port 8000")
def api(
    port: Port = None,
    data_dir: DataDir = None,
    processes: Annotated[
        int, typer.Option("--processes", min=1, max=256, help="API processes on one port; a dead one is started again.")
    ] = 1,
    socket_fd: Annotated[int | None, typer.Option("--socket", hidden=True)] = None,
    own_fd: Annotated[int | None, typer.Option("--own-socket", hidden=True)] = None,
) -> None:
    """Start the API: one process, or several."""
    from infra.embedded.outside import Outside

    sigterm_as_ctrl_c()
    try:
        with Outside(settings_from(port=port, data_dir=data_dir)) as settings:
            if processes > 1:
                from streams.api_processes import serve_many

                serve_many(settings, say, processes)
            else:
                from streams.api import serve

                serve(settings, say, socket_fd, own_fd)
    except KeyboardInterrupt:
        return


@app.command(epilog="Example: daogou doctor --quick")
def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what takes seconds.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Check the environment and explain it.

    Looks at packages, settings, Kafka, Redis and the data folder. Status 1: something that is needed is broken.
    """
    from streams.doctor import examine

    if not examine(settings_from(data_dir=data_dir), quick=quick):
        raise typer.Exit(FAILED)


_LOAD_EXAMPLE = "Example: daogou load history.jsonl --mapping jsonlines --items catalogue.csv --direct"
app.command(epilog=_LOAD_EXAMPLE)(load)
app.command(epilog="Example: daogou enrich --estimate, then daogou enrich --budget-tokens 2000000")(enrich)
app.command(epilog='Example: daogou similar "黑色连衣裙" "白色衬衫"')(similar)
app.command(epilog="Example: daogou train --release")(train)
app.command(epilog="Example: daogou evaluate")(evaluate)
app.command(epilog="Example: daogou release 20261124-053400")(release)
app.command(epilog="Example: daogou rollback")(rollback)


@app.command(epilog="Example: daogou demo --once --json report.json")
def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the story.")] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON.")] = None,
    port: Port = None,
    data_dir: DataDir = None,
) -> None:
    """A shop, a model, one visit told step by step; a page to try.

    A year lies behind the shop. Embedded Redis and Kafka, unless DAOGOU_REDIS and DAOGOU_KAFKA name real ones. What it
    makes is kept in the data folder, and a second start takes it up.
    """
    quiet_threads()
    from streams.one_shop import OneShop

    signals = StopSignals()
    signals.install()
    settings = settings_from(port=port, data_dir=data_dir)
    try:
        with OneShop(settings.data_dir) as held:
            from streams.demo.command import demo_command  # seconds: not before it is known that it will be needed

            demo_command(settings, signals, held, once=once, json_file=json_file)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED if once else 0) from None


def _alone(settings: "Settings") -> AbstractContextManager[object]:
    """With embedded servers a second worker would join the first one's broker, which is made for one."""
    from infra.embedded.outside import needs_embedded
    from streams.one_shop import OneShop

    return OneShop(settings.data_dir) if needs_embedded(settings) else nullcontext()


def main() -> None:
    """Run the command line."""
    try:
        app()
    except DaogouError as error:
        print(f"daogou: {error.message} [{error.reason}]", file=sys.stderr)
        sys.exit(_status(error))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _status(error: DaogouError) -> int:
    if isinstance(error, OwnershipLost):
        return OWNERSHIP_LOST
    return BAD_INPUT if isinstance(error, BadInput) else FAILED


if __name__ == "__main__":
    main()
