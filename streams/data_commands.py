"""The commands for data: load, features, topics. Imported by the command line; each imports what it needs itself."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from streams.terminal import DataDir, day, instant, say, settings_from

if TYPE_CHECKING:
    from infra.settings import Settings

topics_app = typer.Typer(invoke_without_command=True, rich_markup_mode=None)
catalogue_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
features_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_MAKES_ITSELF: Final = "nothing to do: the embedded broker makes its topics itself (DAOGOU_KAFKA is empty)"
_BUILT: Final = {
    "events": "records read",
    "rows": "events folded, each a row of a shopper's past",
    "duplicates": "repeats passed over",
    "late": "passed over as older than the allowed lateness: late ones, and repeats of history",
    "undecodable": "records that hold no event",
    "of_catalogue": "events of the catalogue (items_changed), which change no shopper",
    "unchanged": "events that change nothing of a row",
    "item_rows": "rows of an item's past",
}


def load(
    source: Annotated[str | None, typer.Argument(help="A file, or the name of a data package.")] = None,
    mapping: Annotated[
        str | None,
        typer.Option(
            help="How the file is read: jsonlines, completejourney, online-retail, taobao or rees46; a data package "
            "needs none. docs/formats.md describes them."
        ),
    ] = None,
    items: Annotated[
        Path | None,
        typer.Option(
            help="A catalogue: CSV, TSV, JSON lines, or a Google Merchant feed; docs/formats.md names the columns."
        ),
    ] = None,
    direct: Annotated[
        bool,
        typer.Option("--direct", help="Into archive and Redis without Kafka: for long history, no worker running."),
    ] = False,
    live: Annotated[bool, typer.Option("--live", help="Not history: messages may come of it.")] = False,
    since: Annotated[str | None, typer.Option("--from", help="The earliest event: 2017-12-01T00:00:00Z.")] = None,
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

    Ends with a table: read, taken (through the log: put on it), refused and why, duplicates. What was loaded before
    changes nothing.
    """
    from streams.load import load_command

    load_command(
        settings_from(data_dir=data_dir),
        source,
        mapping,
        items=items,
        direct=direct,
        live=live,
        since=instant("--from", since),
        until=instant("--to", until),
        limit=limit,
        moved_to=day("--moved-to", moved_to),
        json_file=json_file,
        wait=wait,
    )


@features_app.command("build", epilog="Example: daogou features build")
def features_build(data_dir: DataDir = None) -> None:
    """Make the offline feature log anew from the event archive.

    The one in use serves until the new one is complete.
    """
    from infra.data_folder import make_usable
    from streams.offline_features import build_features
    from streams.progress import Phases

    settings = settings_from(data_dir=data_dir)
    make_usable(settings.data_dir)
    with Phases() as phases:
        built = build_features(settings, phases)
    for name, count in asdict(built).items():
        say(f"{count:>12,} {_BUILT.get(name, name.replace('_', ' '))}")
    say(f"built  {settings.offline_dir}")


@catalogue_app.command("rebuild", epilog="Example: daogou catalogue rebuild")
def catalogue_rebuild(data_dir: DataDir = None) -> None:
    """Make the catalogue in Redis anew, while no worker runs.

    From the archive and the catalogue's log: after Redis was lost, or where `daogou doctor` says that items are
    missing.
    """
    from infra.embedded.outside import Outside
    from streams.catalogue_rebuild import rebuild
    from streams.progress import Phases

    with Outside(settings_from(data_dir=data_dir)) as settings, Phases() as phases:
        made = rebuild(settings, phases)
    of = "the archive and the catalogue's log" if settings.kafka else "the archive alone (no broker runs)"
    say(f"the catalogue in Redis has {made.items:,} items now, made of {made.facets:,} facets of {of}")
    say("start the workers again; API processes take it up by themselves")


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
    if settings is None:
        say(_MAKES_ITSELF)
        return
    made = create_topics(settings.brokers, settings.partition_count, settings.replication)
    for name in made:
        say(f"made   {name}")
    topics_check(fix=False, data_dir=data_dir)


@topics_app.command("list")
def topics_list(data_dir: DataDir = None) -> None:
    """List the topics as the brokers have them, and what each is for."""
    from streams.topics_told import listed

    settings = _with_kafka(data_dir)
    for line in [_MAKES_ITSELF] if settings is None else listed(settings):
        say(line)


@topics_app.command("check", epilog="Example: daogou topics check --fix")
def topics_check(
    fix: Annotated[
        bool, typer.Option("--fix", help="Set what may be set without losing or stopping anything.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Check that every topic is as it is wanted.

    By the settings and by this version. Says of each difference what it means and what to do. Status 1: something
    differs.
    """
    from streams.topics_told import checked

    settings = _with_kafka(data_dir)
    if settings is None:
        say(_MAKES_ITSELF)
        return
    if not checked(settings, say, fix=fix):
        raise typer.Exit(1)


def _with_kafka(data_dir: Path | None) -> "Settings | None":
    """The settings with a broker to ask; None: the embedded one is due, and does not run."""
    from infra.embedded.outside import running

    settings = settings_from(data_dir=data_dir)
    return settings if settings.kafka else running(settings)
