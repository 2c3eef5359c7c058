"""`daogou dead-letters`: what could not be processed, to look at, to put back, to set aside.

Imported by the command line; what takes long to import comes in with the command.
"""

import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from infra.errors import BadInput, NotFound, Refused
from streams.terminal import DataDir, instant, say, settings_from, who

if TYPE_CHECKING:
    from datetime import datetime

    from infra.settings import Settings
    from streams.letters.box import LetterBox
    from streams.letters.census import LeftOut
    from streams.letters.lateness import Old
    from streams.letters.letter import Letter, Wanted
    from streams.letters.marks import Mark
    from streams.letters.requeue import Done, Requeue

dead_letters_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

ASK_ABOVE: Final = 100
_DONE: Final = {"requeue": "requeued", "discard": "discarded"}

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Letters: their ids, or topic/partition/offset, as `list` names them."),
]
Reason = Annotated[list[str] | None, typer.Option("--reason", help="Only letters of this reason; more than once: any.")]
Topic = Annotated[str | None, typer.Option("--topic", help="Only what came from this topic.")]
Partition = Annotated[int | None, typer.Option("--partition", min=0, help="Only what came from this partition.")]
Tenant = Annotated[str | None, typer.Option("--tenant", help="Only letters of this tenant.")]
Since = Annotated[str | None, typer.Option("--from", help="The earliest time of letters: 2026-11-02T09:00:00Z.")]
Until = Annotated[str | None, typer.Option("--to", help="The end of the time of letters, exclusive.")]
By = Annotated[str | None, typer.Option("--by", help="Who does it; by default the name of the user.")]
Yes = Annotated[bool, typer.Option("--yes", help=f"Do not ask, however many more than {ASK_ABOVE} there are.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
Json = Annotated[Path | None, typer.Option("--json", help="Write what became of it as JSON, too.")]


@dead_letters_app.command("list", epilog="Example: daogou dead-letters list --reason unknown_version --from 2026-11-02")
def list_(
    reason: Reason = None,
    topic: Topic = None,
    partition: Partition = None,
    tenant: Tenant = None,
    since: Since = None,
    until: Until = None,
    newest: Annotated[int, typer.Option("--newest", min=0, max=10_000, help="How many to name.")] = 20,
    data_dir: DataDir = None,
) -> None:
    """Count the letters by reason and state, name the newest."""
    from streams.letters.census import take
    from streams.letters.told import census_lines

    _, box = _opened(data_dir)
    wanted = _wanted(None, reason, topic, partition, tenant, since, until)
    marks = box.marks()
    with _read(box, wanted) as letters:
        census = take(letters, marks, newest)
    for line in census_lines(census):
        say(line)


@dead_letters_app.command("show", epilog="Example: daogou dead-letters show shop.events.v1/3/1207")
def show(
    letter_id: Annotated[
        str, typer.Argument(metavar="ID", help="The letter: its id, or topic/partition/offset, as `list` names it.")
    ],
    whole: Annotated[bool, typer.Option("--whole", help="All of its bytes, not only the first.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Show one letter: its origin, reason and bytes, what to do."""
    from streams.letters.told import letter_lines

    _, box = _opened(data_dir)
    with _read(box, _wanted([letter_id], None, None, None, None, None, None)) as letters:
        found = next(letters, None)
    if found is None:
        raise NotFound(f"there is no dead letter {letter_id!r}; `daogou dead-letters list` names them", path="ID")
    for line in letter_lines(found, box.marks().get(found.id), whole=whole):
        say(line)


@dead_letters_app.command("requeue", epilog="Example: daogou dead-letters requeue --reason unknown_version --dry-run")
def requeue(
    ids: Ids = None,
    reason: Reason = None,
    topic: Topic = None,
    partition: Partition = None,
    tenant: Tenant = None,
    since: Since = None,
    until: Until = None,
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json_file: Json = None,
    data_dir: DataDir = None,
) -> None:
    """Put records back where they came from, each once.

    With their own bytes, after a fix or an upgrade. What was requeued before is left out, so the same command again,
    after a crash too, is harmless. A record that fails again makes a new letter that names the first. Of two who
    requeue one letter at once, one does.
    """
    wanted = _wanted(ids, reason, topic, partition, tenant, since, until)
    _act(_Order("requeue", wanted, by, yes, dry_run, json_file), data_dir)


@dead_letters_app.command("discard", epilog="Example: daogou dead-letters discard --reason not_json --to 2026-11-02")
def discard(
    ids: Ids = None,
    reason: Reason = None,
    topic: Topic = None,
    partition: Partition = None,
    tenant: Tenant = None,
    since: Since = None,
    until: Until = None,
    by: By = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json_file: Json = None,
    data_dir: DataDir = None,
) -> None:
    """Write down that nothing will come of letters. They stay to be looked at, until their 90 days are over."""
    wanted = _wanted(ids, reason, topic, partition, tenant, since, until)
    _act(_Order("discard", wanted, by, yes, dry_run, json_file), data_dir)


@dataclass(frozen=True, slots=True)
class _Order:
    """What is to be done with which letters, as it was typed."""

    what: str
    wanted: "Wanted"
    by: str | None
    yes: bool
    dry_run: bool
    json_file: Path | None


def _act(order: _Order, data_dir: Path | None) -> None:
    from streams.letters.census import take
    from streams.letters.choice import chosen, refuse_unknown
    from streams.letters.lateness import warnings
    from streams.letters.letter import Wanted
    from streams.letters.sending import requeue_of, sender
    from streams.letters.told import census_lines, write_report

    what, wanted = order.what, order.wanted
    if not wanted.anything:
        raise BadInput(f"say which letters to {what}: their ids, or --reason and the like", path="ID")
    settings, box = _opened(data_dir)
    marks, done, old = box.marks(), None, _old(settings, what)
    with _read(box, wanted) as letters:
        choice = chosen(what, letters, wanted, marks, old)
    if wanted.reasons - choice.reasons:
        refuse_unknown(wanted.reasons, (one.reason for one in box.letters(Wanted())))
    if what == "requeue":
        for line in warnings(choice.old, choice.news, settings.lateness_h):
            say(line)
    if order.dry_run:
        with _read(box, choice.wanted(), again=True) as letters:
            for line in census_lines(take(letters if choice.ids else iter(()), marks, 20)):
                say(line)
        say(f"would {what} {len(choice.ids):,}")
    elif choice.ids:
        _confirm(what, len(choice.ids), yes=order.yes)
        with sender(settings) as send, _read(box, choice.wanted(), again=True) as letters:
            done = _do(what, requeue_of(settings, box, send, who(order.by), old), letters, marks, len(choice.ids))
    _say_left_out(choice.left_out)
    if not order.dry_run and not choice.ids:
        say(f"nothing to {what}")
    if order.json_file is not None:
        write_report(order.json_file, what, choice, done)
    missing = sorted(wanted.ids - choice.found)
    if missing:
        raise NotFound(f"no such letter: {', '.join(missing)}; `daogou dead-letters list` names them", path="ID")


def _old(settings: "Settings", what: str) -> "Old":
    from infra.clock import clock_from
    from streams.letters.lateness import never, older_than

    if what == "discard":
        return never
    return older_than(settings.lateness_h * 3_600_000, clock_from(settings.clock_shift_file).now_ms())


def _do(what: str, work: "Requeue", letters: "Iterator[Letter]", marks: dict[str, "Mark"], total: int) -> "Done":
    from streams.progress import Phases

    act = work.requeue if what == "requeue" else work.discard
    with Phases() as phases, phases.phase(_DONE[what], total, "letters") as advance:
        done = act(letters, marks, advance)
    counts = {"requeued": done.requeued, "on the log already": done.found, "discarded": done.discarded}
    for name, count in counts.items():
        if count:
            say(f"{count:>12,} {name}")
    _say_left_out(done.left_out)
    return done


def _confirm(what: str, count: int, *, yes: bool) -> None:
    if yes or count <= ASK_ABOVE:
        return
    if not sys.stdin.isatty():
        raise Refused(f"{count:,} letters are many to {what}: look at them with --dry-run, then say --yes")
    typer.confirm(f"{what} {count:,} letters?", abort=True)


def _wanted(
    ids: list[str] | None,
    reason: list[str] | None,
    topic: str | None,
    partition: int | None,
    tenant: str | None,
    since: str | None,
    until: str | None,
) -> "Wanted":
    from streams.letters.letter import Wanted

    return Wanted(
        ids=frozenset(ids or ()),
        reasons=frozenset(reason or ()),
        topic=topic,
        partition=partition,
        since_ms=_ms(instant("--from", since)),
        until_ms=_ms(instant("--to", until)),
        tenant=tenant,
    )


def _opened(data_dir: Path | None) -> "tuple[Settings, LetterBox]":
    from infra.embedded.outside import running
    from streams.letters.box import LetterBox

    settings = settings_from(data_dir=data_dir)
    found = settings if settings.kafka else running(settings)
    if found is None:
        raise Refused(
            f"no broker runs for {settings.data_dir}: start `daogou up`, whose embedded broker keeps dead letters "
            "until it ends, or set DAOGOU_KAFKA",
            code="no_broker",
        )
    return found, LetterBox(found.brokers, embedded=found.embedded_kafka)


@contextmanager
def _read(box: "LetterBox", wanted: "Wanted", *, again: bool = False) -> "Iterator[Generator[Letter]]":
    """The wanted letters, with a bar, and at the end what lay among them and was none; `again`: silently."""
    from streams.letters.box import Skipped
    from streams.progress import Phases

    if again:
        with closing(box.letters(wanted)) as letters:
            yield letters
        return
    skipped = Skipped()
    with (
        Phases() as phases,
        phases.phase("looked through", box.count(wanted), "records") as advance,
        closing(box.letters(wanted, advance, skipped)) as letters,
    ):
        yield letters
    if skipped.foreign:
        say(f"{skipped.foreign:,} records of the topic are no dead letters; they are left alone")


def _say_left_out(left_out: "LeftOut") -> None:
    for letter_id, why in left_out.examples:
        say(f"left out: {letter_id}: {why}")
    if left_out.count > len(left_out.examples):
        say(f"left out: {left_out.count - len(left_out.examples):,} more")


def _ms(at: "datetime | None") -> int | None:
    from datetime import UTC

    if at is None:
        return None
    return round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
