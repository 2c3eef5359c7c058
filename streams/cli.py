"""The command line. Whatever a command needs is imported when it runs, so that `daogou --help` is quick.

Errors of the project's tree end a command with one sentence: status 2 for what was given wrong, 75 for a worker
that lost what it owned, 1 for the rest.
"""

import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import typer

from infra.errors import BadInput, DaogouError, OwnershipLost

OK, FAILED, BAD_INPUT, OWNERSHIP_LOST, INTERRUPTED = 0, 1, 2, 75, 130

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
    """Start worker and API together, with embedded Redis and Kafka where none is set; Ctrl-C ends all."""
    from streams.supervisor import up as run

    settings = _settings(port=port, data_dir=data_dir)
    _sigterm_as_ctrl_c()
    try:
        run(settings, _say)
    except KeyboardInterrupt:
        return


@app.command(epilog="Example: DAOGOU_KAFKA=kafka:9092 DAOGOU_REDIS=redis://redis:6379/0 daogou worker")
def worker(data_dir: DataDir = None) -> int:
    """Start one worker. Status 75: it lost what it owned; start it again (systemd: Restart=always)."""
    from infra.embedded.outside import Outside
    from streams.supervisor import prepare
    from streams.worker import run

    with Outside(_settings(data_dir=data_dir)) as settings:
        prepare(settings)
        return run(settings)


@app.command(epilog="Example: daogou api --port 8000")
def api(
    port: Port = None,
    data_dir: DataDir = None,
    socket_fd: Annotated[int | None, typer.Option("--socket", hidden=True)] = None,
) -> None:
    """Start one API process."""
    from infra.embedded.outside import Outside
    from streams.api import serve

    with Outside(_settings(port=port, data_dir=data_dir)) as settings:
        serve(settings, _say, socket_fd)


@app.command(epilog="Example: daogou doctor --quick")
def doctor(
    quick: Annotated[bool, typer.Option("--quick", help="Leave out what takes seconds.")] = False,
    data_dir: DataDir = None,
) -> int:
    """Check the environment and explain it: packages, settings, Kafka, Redis, data folder. Status 1: something
    that is needed is broken."""
    from streams.doctor import examine

    return OK if examine(_settings(data_dir=data_dir), quick=quick) else FAILED


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
        status = app(standalone_mode=False)
    except DaogouError as error:
        print(f"daogou: {error.message} [{error.reason}]", file=sys.stderr)
        sys.exit(_status(error))
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("daogou: interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    sys.exit(status or OK)


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


def _sigterm_as_ctrl_c() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
