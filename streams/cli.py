"""The command line. Whatever a command needs is imported when it runs, so that `daogou --help` is quick.

Errors of the project's tree end a command with one sentence: status 2 for what was given wrong, 75 for a worker
that lost what it owned, 1 for the rest.
"""

import signal
import sys
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from infra.errors import BadInput, DaogouError, OwnershipLost

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
topics_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
features_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
app.add_typer(topics_app, name="topics", help="Kafka topics: create what is missing, check the rest.")
app.add_typer(features_app, name="features", help="The offline feature log that training reads.")

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of everything that is kept [DAOGOU_DATA_DIR].")
]
Port = Annotated[
    int | None, typer.Option("--port", help="Port of the API; a used one: the next free [DAOGOU_PORT].")
]


@app.command(epilog="Example: daogou up --port 8000 --data-dir .daogou")
def up(port: Port = None, data_dir: DataDir = None) -> None:
    """Start worker and API together.

    Embedded Redis and Kafka start where none is set. Ctrl-C ends everything and says what was kept.
    """
    from streams.supervisor import up as run

    settings = _settings(port=port, data_dir=data_dir)
    _sigterm_as_ctrl_c()
    try:
        run(settings, _say)
    except KeyboardInterrupt:
        return


@app.command(epilog="Example: DAOGOU_KAFKA=kafka:9092 DAOGOU_REDIS=redis://redis:6379/0 daogou worker")
def worker(data_dir: DataDir = None) -> None:
    """Start one worker.

    Status 75: it lost what it owned; start it again (systemd: Restart=always).
    """
    from infra.embedded.outside import Outside
    from streams.supervisor import prepare
    from streams.worker import run

    with Outside(_settings(data_dir=data_dir)) as settings:
        prepare(settings)
        status = run(settings)
    raise typer.Exit(status)


@app.command(epilog="Example: daogou api --port 8000")
def api(
    port: Port = None,
    data_dir: DataDir = None,
    socket_fd: Annotated[int | None, typer.Option("--socket", hidden=True)] = None,
) -> None:
    """Start one API process."""
    from infra.embedded.outside import Outside
    from streams.api import serve

    _sigterm_as_ctrl_c()
    try:
        with Outside(_settings(port=port, data_dir=data_dir)) as settings:
            serve(settings, _say, socket_fd)
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

    if not examine(_settings(data_dir=data_dir), quick=quick):
        raise typer.Exit(FAILED)


@app.command(epilog="Example: daogou load history.jsonl --mapping jsonlines --items catalogue.csv --direct")
def load(
    source: Annotated[str | None, typer.Argument(help="A file, or the name of a data package.")] = None,
    mapping: Annotated[
        str | None, typer.Option(help="How the file is read; a data package needs none.")
    ] = None,
    items: Annotated[
        Path | None, typer.Option(help="A catalogue: CSV, TSV, JSON lines, or a Google Merchant feed.")
    ] = None,
    direct: Annotated[
        bool,
        typer.Option(
            "--direct", help="Into archive and Redis without Kafka: for long history, no worker running."
        ),
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Not history: messages may come of it.")] = False,
    since: Annotated[
        str | None, typer.Option("--from", help="The earliest event: 2017-12-01T00:00:00Z.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="The end of the events, exclusive.")] = None,
    limit: Annotated[int, typer.Option(help="Only the first so many events; 0: all.")] = 0,
    moved_to: Annotated[
        str | None,
        typer.Option("--moved-to", help="Move all times by whole days, the newest event to this day."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the table as JSON, too.")] = None,
    wait: Annotated[bool, typer.Option(help="Wait until the worker has applied everything.")] = True,
    data_dir: DataDir = None,
) -> None:
    """Load history, a catalogue, or both.

    Ends with a table: read, taken, refused and why, duplicates. What was loaded before changes nothing.
    """
    from streams.load import load_command

    load_command(
        _settings(data_dir=data_dir),
        source,
        mapping,
        items=items,
        direct=direct,
        live=live,
        since=_instant("--from", since),
        until=_instant("--to", until),
        limit=limit,
        moved_to=_day("--moved-to", moved_to),
        json_file=json_file,
        wait=wait,
    )


@features_app.command("build", epilog="Example: daogou features build")
def features_build(data_dir: DataDir = None) -> None:
    """Make the offline feature log anew from the event archive.

    The one in use serves until the new one is complete.
    """
    from features.offline import build
    from streams.progress import Phases

    settings = _settings(data_dir=data_dir)
    with Phases() as phases, phases.phase("features", 0, "events") as advance:
        built = build(settings.archive_dir, settings.offline_dir, settings.lateness_h * 3_600_000, advance)
    for name, count in asdict(built).items():
        _say(f"{count:>12,} {name.replace('_', ' ')}")
    _say(f"built  {settings.offline_dir}")


@topics_app.callback(epilog="Example: DAOGOU_KAFKA=kafka:9092 daogou topics")
def topics(context: typer.Context, data_dir: DataDir = None) -> None:
    """Create the topics that are missing and check the others; alone, it does both."""
    if context.invoked_subcommand is None:
        topics_create(data_dir)


@topics_app.command("create")
def topics_create(data_dir: DataDir = None) -> None:
    """Create the topics that are missing, with their configuration."""
    from infra.kafka import create_topics

    settings = _with_kafka(data_dir)
    made = create_topics(settings.kafka, settings.partition_count, settings.replication)
    for name in made:
        _say(f"made   {name}")
    topics_check(data_dir)


@topics_app.command("check")
def topics_check(data_dir: DataDir = None) -> None:
    """Check that every topic is there, with the partitions that the settings say."""
    from infra.kafka_admin import check_topics
    from infra.topics import TOPICS

    settings = _with_kafka(data_dir)
    check_topics(settings.kafka, settings.partition_count)
    for topic in TOPICS:
        kept = f"kept {topic.kept_days} d" if topic.kept_days else "compacted"
        _say(f"ok     {topic.name:<22} {settings.partition_count} partitions, {kept}: {topic.holds}")


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


def _settings(**given: Any) -> Any:
    """The settings, with this process's logs set up as they say."""
    from infra.logs import configure
    from infra.settings import read_settings

    settings = read_settings(**given)
    configure(settings.log_level, settings.log_format)
    return settings


def _with_kafka(data_dir: Path | None) -> Any:
    from infra.embedded.outside import running
    from infra.errors import NotEmbedded

    settings = _settings(data_dir=data_dir)
    found = settings if settings.kafka else running(settings)
    if found is None:
        raise NotEmbedded(
            "the embedded broker makes its topics itself, at each start; set DAOGOU_KAFKA to a real one"
        )
    return found


def _instant(option: str, text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} {text!r} is not a time: 2017-12-01T00:00:00Z is one", path=option) from None


def _day(option: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} {text!r} is not a day: 2017-12-01 is one", path=option) from None


def _sigterm_as_ctrl_c() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
