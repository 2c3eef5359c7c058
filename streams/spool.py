"""Events on their way in, put into the order of time: a load folds history as it happened, whatever the
file's order.

The events wait packed in a temporary file; in memory are 32 bytes an event, so that a hundred million need
3.2 GB. Events of one shopper with the same time, source and id are one event: every later one is a duplicate.
"""

import mmap
import tempfile
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from hashlib import blake2b
from typing import IO, Self

import numpy as np
import numpy.typing as npt

from features.events import Event, encode, shopper_id, to_ms
from infra.clock import DAY_MS


@dataclass(frozen=True, slots=True)
class Window:
    """Which of the events are loaded. `moved_to`: all times move by whole days, so that the newest is on that
    day.

    `since` (inclusive) and `until` (exclusive) are times after the move; `limit` takes the first so many of
    what is left, 0: all.
    """

    since: datetime | None = None
    until: datetime | None = None
    limit: int = 0
    moved_to: date | None = None


@dataclass(frozen=True, slots=True)
class Chosen:
    """The events of a window in the order of time, and what was left out, in lines of the file."""

    order: npt.NDArray[np.int64]
    moved_days: int
    lines: int
    duplicate_lines: int
    left_out_lines: int
    first_ms: int
    last_ms: int

    def __len__(self) -> int:
        return len(self.order)


class Spool:
    """A file of packed events that is gone when the process ends."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="daogou-load-")  # noqa: SIM115
        self._end = 0
        self._at = array("q")
        self._identity = array("q")
        self._begin = array("q")
        self._lines = array("q")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return len(self._at)

    def put(self, event: Event, lines: int) -> None:
        """Keep an event that was made from so many lines."""
        raw = encode(event)
        identity = "\x1f".join((shopper_id(event), event.source, event.event_id)).encode("utf-8", "replace")
        self._at.append(to_ms(event.occurred_at))
        self._identity.append(int.from_bytes(blake2b(identity, digest_size=8).digest(), "big", signed=True))
        self._begin.append(self._end)
        self._lines.append(lines)
        self._end += self._file.write(raw)

    def choose(self, window: Window) -> Chosen:
        """The events of the window, each once, in the order of time; ties in the order of the file."""
        at, lines = np.array(self._at, dtype=np.int64), np.array(self._lines, dtype=np.int64)
        again = self._again(at)
        days = _days_to(window.moved_to, at)
        at = at + days * DAY_MS
        within = ~again
        if window.since is not None:
            within &= at >= to_ms(window.since)
        if window.until is not None:
            within &= at < to_ms(window.until)
        order = np.argsort(at, kind="stable")
        order = order[within[order]]
        if window.limit:
            order = order[: window.limit]
        taken, repeated = int(lines[order].sum()), int(lines[again].sum())
        return Chosen(
            order=order.astype(np.int64),
            moved_days=days,
            lines=taken,
            duplicate_lines=repeated,
            left_out_lines=int(lines.sum()) - taken - repeated,
            first_ms=int(at[order[0]]) if len(order) else 0,
            last_ms=int(at[order[-1]]) if len(order) else 0,
        )

    def read(self, chosen: Chosen) -> Iterator[tuple[bytes, int]]:
        """The packed events and the lines of each."""
        if not len(chosen):
            return
        self._file.flush()
        ends = [*self._begin[1:], self._end]
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as packed:
            for index in chosen.order:
                yield packed[self._begin[index] : ends[index]], self._lines[index]

    def _again(self, at: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """Which events were there before, by time and identity."""
        identity = np.array(self._identity, dtype=np.int64)
        order = np.lexsort((np.arange(len(at)), identity, at))
        again = np.zeros(len(at), dtype=bool)
        if len(at) > 1:
            later, earlier = order[1:], order[:-1]
            again[later] = (at[later] == at[earlier]) & (identity[later] == identity[earlier])
        return again


def _days_to(day: date | None, at: npt.NDArray[np.int64]) -> int:
    if day is None or not len(at):
        return 0
    newest = date(1970, 1, 1) + timedelta(days=int(at.max()) // DAY_MS)
    return (day - newest).days
