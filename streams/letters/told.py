"""Letters on a terminal: the table of all of them, and one as a whole."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from streams.letters.census import Census
from streams.letters.choice import Choice
from streams.letters.letter import Letter
from streams.letters.marks import Mark, told
from streams.letters.requeue import Done
from streams.letters.words import SHOWN, one_line, readable, to_do

_HEADINGS: Final = ("written", "reason", "from", "tenant", "bytes", "state", "id")
_STATES: Final = ("open", "requeuing", "requeued", "discarded")


def census_lines(census: Census) -> Iterator[str]:
    """Counts by reason and state, then the newest letters with their positions."""
    yield f"{'reason':<24}" + "".join(f"{state:>12}" for state in _STATES)
    for reason in census.reasons():
        counts = "".join(f"{census.counts[reason, state]:>12,}" for state in _STATES)
        yield f"{one_line(reason):<24}{counts}"
    yield f"{'all':<24}{census.total:>12,} letters"
    yield from _newest(census)


def _newest(census: Census) -> Iterator[str]:
    """The newest letters as a table; the place of one, or its id, is what the other commands take."""
    rows = [
        (_time(one.at_ms), one_line(one.reason), one.place, one_line(one.tenant) or "?", f"{size:,}", state, one.id)
        for one, state, size in census.newest
    ]
    if not rows:
        return
    yield ""
    table = [_HEADINGS, *rows]
    widths = [max(len(row[column]) for row in table) for column in range(len(_HEADINGS))]
    for row in table:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def letter_lines(letter: Letter, mark: Mark | None, *, whole: bool) -> Iterator[str]:
    """One letter: its envelope, why it is here, what to do, its bytes (escaped; all of them if `whole`)."""
    yield f"id         {letter.id}"
    yield f"reason     {one_line(letter.reason)}: {one_line(letter.message)}"
    yield f"from       {letter.topic}, partition {letter.partition}, offset {letter.offset}"
    yield f"written    {_time(letter.at_ms)}"
    yield f"key        {one_line(letter.key.decode(errors='backslashreplace')) or '(none)'}"
    if letter.first:
        yield f"first      {letter.first}: it was requeued, and failed again"
    if mark is not None:
        yield f"state      {one_line(told(mark))}"
    yield f"to do      {to_do(letter)}"
    if not letter.whole:
        which = "the first" if letter.piece is None else "piece {} of {}".format(*letter.piece)
        yield f"cut        the record had {letter.cut_from:,} bytes, sha256 {letter.sha256}; these are {which}"
    if letter.value is None:
        yield "bytes      (none: a tombstone)"
        return
    yield f"bytes      {len(letter.value):,}"
    yield readable(letter.value, len(letter.value) if whole else SHOWN)


def write_report(file: Path, what: str, choice: Choice, done: Done | None) -> None:
    """What was chosen, and what became of it (nothing, if nothing was done), as JSON."""
    became = done or Done()
    report = {
        "what": what,
        "chosen": len(choice.ids),
        "older_than_lateness": choice.old,
        "changes_of_items": choice.news,
        "requeued": became.requeued,
        "on_the_log_already": became.found,
        "discarded": became.discarded,
        "left_out": choice.left_out.count + became.left_out.count,
    }
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")


def _time(ms: int) -> str:
    return f"{datetime.fromtimestamp(ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
