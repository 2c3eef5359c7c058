"""The commands for replays. Imported by the command line; each imports what it needs itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from streams.terminal import DataDir, say, settings_from, sigterm_as_ctrl_c

if TYPE_CHECKING:
    from infra.embedded.outside import Outside

replay_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(help="The namespace of the replay.")]
Timeout = Annotated[int, typer.Option("--timeout", min=1, help="Seconds to wait for the workers.")]

Force = Annotated[
    list[str] | None,
    typer.Option(
        "--force",
        metavar="REASON",
        help="Pass over what it is refused with: `namespace_lacks` (records that live has applied), `other_code` "
        "(than the workers run). May be given for each.",
    ),
]


@replay_app.command("run", epilog="Example: daogou replay run --source archive --into with-new-feature")
def replay_run(
    into: Annotated[str, typer.Option("--into", help="The namespace that it writes: letters, digits, - and _.")],
    source: Annotated[
        str, typer.Option("--source", help="`archive`, `kafka`, or a file (with --mapping).")
    ] = "archive",
    mapping: Annotated[str, typer.Option("--mapping", help="How the file is read.")] = "",
    since: Annotated[
        str,
        typer.Option(
            "--from",
            help="When it was received (2026-11-01T00:00:00Z; for a file: when it happened), offset:N, or earliest.",
        ),
    ] = "",
    until: Annotated[
        str, typer.Option("--to", help="The end of it, exclusive: a time as for --from, or offset:N.")
    ] = "",
    code_label: Annotated[str, typer.Option("--code-label", help="What code it runs on, for the record.")] = "",
    rate: Annotated[int, typer.Option("--rate", help="Events a second at most; 0: as fast as it goes.")] = 0,
    score: Annotated[bool, typer.Option("--score/--no-score", help="Make lists of all rows at its end.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write what became of it as JSON, too.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Replay events into a namespace of its own.

    By the worker's own pipeline. Nothing leaves the namespace: no message, no dead letter, no timer fires. Interrupted,
    the same command goes on.
    """
    from infra.clock import clock_from
    from streams.progress import Phases
    from streams.replay.command import ReplayRequest, replay, told, write_report

    request = ReplayRequest(into, source, mapping, since, until, code_label, rate, score)
    sigterm_as_ctrl_c()
    with _outside(data_dir) as settings, Phases() as phases:
        try:
            done = replay(settings, request, phases, clock_from(settings.clock_shift_file))
        except KeyboardInterrupt:
            phases.say("interrupted; nothing is half done: the same command goes on from here")
            raise
    for line in told(done):
        say(line)
    if json_file is not None:
        write_report(done, phases.seconds, json_file)


@replay_app.command("status", epilog="Example: daogou replay status")
def replay_status(
    memory: Annotated[bool, typer.Option("--memory", help="Estimate the bytes in Redis from some keys.")] = False,
    data_dir: DataDir = None,
) -> None:
    """List replays: state, counts, how far they are.

    Also how far behind live, and what a promotion would be refused with.
    """
    from streams.replay.status import status

    with _outside(data_dir) as settings:
        for line in status(settings, memory=memory):
            say(line)


@replay_app.command("diff", epilog="Example: daogou replay diff with-new-feature live --examples 5")
def replay_diff(
    one: Annotated[str, typer.Argument(metavar="A", help="A namespace, or `live`.")],
    other: Annotated[str, typer.Argument(metavar="B", help="A namespace, or `live`.")],
    examples: Annotated[int, typer.Option("--examples", min=0, help="Name so many shoppers that differ.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the outcome as JSON, too.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Compare two namespaces byte for byte.

    Rows, links, timers, item statistics, Feast values. Rows that say the same and were settled at other moments,
    by another version, are told and count as equal. Status 0: equal, 1: different.
    """
    from streams.replay.diff_report import lines_of, write_report
    from streams.replay.diffing import diff

    with _outside(data_dir) as settings:
        found = diff(settings, one, other, examples)
    for line in lines_of(found):
        say(line)
    if json_file is not None:
        write_report(found, json_file)
    if not found.equal:
        raise typer.Exit(1)


@replay_app.command("promote", epilog="Example: daogou replay promote with-new-feature")
def replay_promote(name: Name, timeout: Timeout = 600, force: Force = None, data_dir: DataDir = None) -> None:
    """Let a replay's namespace be served.

    Partition by partition, as soon as each has caught up with live. The workers carry it out; nothing is lost, nothing
    comes twice. Back again: daogou replay rollback.
    """
    from infra.clock import clock_from
    from streams.progress import Phases
    from streams.replay.asking import promote

    sigterm_as_ctrl_c()
    with _outside(data_dir) as settings, Phases() as phases:
        promote(settings, name, timeout, phases, clock_from(settings.clock_shift_file), force=force or ())
    say(f"live: {name}. Offline features follow from the archive: daogou features build")


@replay_app.command("rollback", epilog="Example: daogou replay rollback")
def replay_rollback(timeout: Timeout = 600, force: Force = None, data_dir: DataDir = None) -> None:
    """Serve again what was served before.

    It catches up first. A second rollback goes forward again: each swaps what is live with what was live before it.
    """
    from infra.clock import clock_from
    from streams.progress import Phases
    from streams.replay.asking import rollback

    sigterm_as_ctrl_c()
    with _outside(data_dir) as settings, Phases() as phases:
        names = rollback(settings, timeout, phases, clock_from(settings.clock_shift_file), force=force or ())
    say(f"live: {', '.join(names)}")


@replay_app.command("drop", epilog="Example: daogou replay drop with-new-feature --yes")
def replay_drop(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Remove a replay's namespace.

    Its rows, lists, timers, features and record. Refused while it is served anywhere.
    """
    from streams.progress import Phases
    from streams.replay.dropping import drop
    from streams.replay.names import checked_name

    checked = checked_name(name, "name")
    if not yes:
        typer.confirm(f"Remove everything in the namespace {checked!r}?", abort=True)
    with _outside(data_dir) as settings, Phases() as phases:
        removed = drop(settings, checked, phases)
    say(f"dropped {checked}: {removed:,} keys")


def _outside(data_dir: Path | None) -> "Outside":
    """Kafka and Redis: those that the settings name, those that run for the data folder, or new ones."""
    from infra.embedded.outside import Outside

    return Outside(settings_from(data_dir=data_dir))
