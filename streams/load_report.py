"""What a load did: lines of the file, each counted once, and what came of the events and items."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.errors import BadInput
from streams.mappings.outcomes import Refused, Undescribed


class Example(msgspec.Struct, frozen=True):
    """The first line that was refused for a reason."""

    line: int
    detail: str


class Refusals(msgspec.Struct, frozen=True):
    """What was refused for one reason."""

    count: int
    first: Example


THROUGH_LOG: Final = "through the log"
DIRECT: Final = "direct"
ITEMS_ALONE: Final = "items"  # the mapping of a load that brings a catalogue and no events
_LONGEST: Final = 500  # characters of an example: the longest lists of what is allowed have fewer
_ON_THE_LOG: Final = (
    "on the log is not yet in a row: what a shopper has already, or what is older than the allowed lateness before "
    "their newest event, changes nothing; the worker's metrics count both"
)


class LoadReport(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of a load. `lines_read` is counted by itself: the five sums of lines have to give it.

    `lines_taken` and `events` are what was written into the archive, or put on the log. What became of them is in
    `applied` after a direct load; through the log nobody counts it by load, so nothing is said of it.
    `dead_letters` counts by reason what could not be applied.
    """

    source: str
    mapping: str
    load_id: str
    way: str
    lines_read: int
    lines_taken: int
    lines_repeated: int
    lines_left_out: int
    refused: dict[str, Refusals]
    events: int
    items: int
    items_refused: dict[str, Refusals]
    moved_days: int
    first_event_at: datetime | None
    last_event_at: datetime | None
    applied: dict[str, int]
    dead_letters: dict[str, int] = {}
    seconds: dict[str, float]

    @property
    def lines_refused(self) -> int:
        """Lines refused, for whatever reason."""
        return sum(refusals.count for refusals in self.refused.values())

    @property
    def lines_unaccounted(self) -> int:
        """Lines that nothing is said of; 0, or there is a defect."""
        told = self.lines_taken + self.lines_repeated + self.lines_left_out + self.lines_refused
        return self.lines_read - told


@dataclass(slots=True)
class Tally:
    """Counts while a source is read."""

    repeated: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    undescribed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, Example] = field(default_factory=dict)
    item_examples: dict[str, Example] = field(default_factory=dict)

    def refuse(self, refused: Refused) -> None:
        """Count lines that become nothing."""
        self.refused[refused.code] += refused.lines
        self.examples.setdefault(refused.code, Example(refused.line, refused.detail))

    def leave(self, undescribed: Undescribed) -> None:
        """Count a row that becomes no item."""
        self.undescribed[undescribed.code] += 1
        self.item_examples.setdefault(undescribed.code, Example(undescribed.line, undescribed.detail))

    def refusals(self) -> dict[str, Refusals]:
        """Lines refused by reason, the most frequent first."""
        return {code: Refusals(count, self.examples[code]) for code, count in self.refused.most_common()}

    def item_refusals(self) -> dict[str, Refusals]:
        """Rows that became no item by reason, the most frequent first."""
        return {code: Refusals(count, self.item_examples[code]) for code, count in self.undescribed.most_common()}


def instant(at_ms: int) -> datetime:
    """Milliseconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def print_report(report: LoadReport, console: Console) -> None:
    """The table: lines read, taken, refused and why, repeated; then events, items, seconds."""
    say = partial(console.print, highlight=False, soft_wrap=True)
    say(escape(f"{report.mapping}: {report.source}"))
    table = Table()
    table.add_column("lines")
    table.add_column("count", justify="right")
    table.add_column("first example")
    through_log = report.way == THROUGH_LOG
    if report.mapping != ITEMS_ALONE:
        _add_lines(table, report, "on the log" if through_log else "taken")
    table.add_row("items taken", f"{report.items:,}", "")
    for code, refusals in report.items_refused.items():
        table.add_row(f"items refused: {code}", f"{refusals.count:,}", _example(refusals.first))
    say(table)
    if report.first_event_at and report.last_event_at:
        moved = f", moved by {report.moved_days:+d} days" if report.moved_days else ""
        first, last = (f"{at:%Y-%m-%d %H:%M}" for at in (report.first_event_at, report.last_event_at))
        console.print(f"events from {first} to {last} UTC{moved}", highlight=False)
    if report.applied and report.mapping != ITEMS_ALONE:
        say(", ".join(f"{name} {count:,}" for name, count in report.applied.items() if count) or "nothing new")
    if report.dead_letters:
        say("dead letters: " + ", ".join(f"{code} {count:,}" for code, count in report.dead_letters.items()))
    if through_log and report.events:
        say(_ON_THE_LOG)
    seconds = ", ".join(f"{name} {taken:.1f} s" for name, taken in report.seconds.items())
    say(f"{report.way}: {seconds}")


def _add_lines(table: Table, report: LoadReport, taken: str) -> None:
    """The lines of the source, each counted once."""
    table.add_row("read", f"{report.lines_read:,}", "")
    table.add_row(taken, f"{report.lines_taken:,}", f"{report.events:,} events")
    for code, refusals in report.refused.items():
        table.add_row(f"refused: {code}", f"{refusals.count:,}", _example(refusals.first))
    table.add_row("duplicates", f"{report.lines_repeated:,}", "")
    if report.lines_left_out:
        table.add_row("left out", f"{report.lines_left_out:,}", "by --from, --to or --limit")
    if report.lines_unaccounted:
        table.add_row("unaccounted", f"{report.lines_unaccounted:,}", "a defect: please report it")
    table.add_section()


def refuse_nothing(report: LoadReport) -> None:
    """A file that gave nothing at all is hardly what somebody wanted to load.

    Raises:
        BadInput: every line was refused, or every row of a catalogue that was loaded alone.
    """
    if report.lines_read and report.lines_refused == report.lines_read and not report.items:
        code, refusals = next(iter(report.refused.items()))
        raise BadInput(
            f"nothing of {report.source} was taken: all of its {report.lines_read:,} lines were refused, "
            f"{refusals.count:,} as {code!r}; is --mapping {report.mapping} the right one?",
            path="mapping",
            code="nothing_taken",
        )
    if not report.lines_read and report.items_refused and not report.items:
        code, refusals = next(iter(report.items_refused.items()))
        count = sum(each.count for each in report.items_refused.values())
        raise BadInput(
            f"nothing of {report.source} was taken: all of its {count:,} rows were refused, {refusals.count:,} as "
            f"{code!r}; docs/formats.md names the columns of a catalogue",
            path="items",
            code="nothing_taken",
        )


def write_report(report: LoadReport, file: Path) -> None:
    """The report as JSON."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def _example(example: Example) -> str:
    detail = f": {example.detail}" if example.detail else ""
    return escape(_cut(f"line {example.line}{detail}" if example.line else detail[2:]))


def _cut(text: str) -> str:
    """At a word's end, where it is long."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rpartition(' ')[0]} …"
