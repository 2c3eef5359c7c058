"""The commands for the archive: list, verify. Each imports what it needs itself."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from streams.terminal import DataDir, say, settings_from

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from infra.settings import Settings

archive_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@archive_app.command("list", epilog="Example: daogou archive list")
def archive_list(data_dir: DataDir = None) -> None:
    """List what the archive holds: days, logs, files, records, bytes."""
    from streams.archive_looking import listed

    settings = settings_from(data_dir=data_dir)
    found = listed(settings)
    for topic, day in found:
        say(f"{day.day}  {topic:<16} {day.records:>12,} records {day.files:>6,} files {day.size:>14,} bytes  {day.log}")
    if not found:
        say(f"nothing in {settings.archive_at}")


@archive_app.command("verify", epilog="Example: daogou archive verify --against-log")
def archive_verify(
    against_log: Annotated[
        bool, typer.Option("--against-log", help="Compare with what Kafka still keeps, record by record.")
    ] = False,
    data_dir: DataDir = None,
) -> None:
    """Read every file, and say what is not as it was written.

    Checksums and counts against its footer, offsets without hole or double, loads that were applied and are gone.
    Status 1: something is wrong.
    """
    from infra.embedded.outside import Outside
    from streams.archive_looking import verify
    from streams.progress import Phases

    given = settings_from(data_dir=data_dir)
    outside: AbstractContextManager[Settings] = Outside(given) if against_log else nullcontext(given)
    with outside as settings, Phases() as phases:
        found = verify(settings, phases, against_log=against_log)
    for line in found.told:
        say(f"note   {line}")
    for fault in found.faults:
        say(f"WRONG  {fault.path}: {fault.why} [{fault.code}]")
    compared = f", {found.compared:,} compared with the log" if against_log else ""
    verdict = f"{len(found.faults)} faults" if found.faults else "all is as it was written"
    say(f"{found.records:,} records in {found.files:,} files{compared}: {verdict}")
    if found.faults:
        raise typer.Exit(1)
