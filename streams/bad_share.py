"""A limit on the share of bad records: a broken producer stops the worker instead of filling the dead letters.

Of the newest records of each topic, so many at most may go to the dead letters. What is asked before a batch is
written: the batch that goes over stays on the log, whole.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from infra.errors import Refused

# Fewer records say nothing about a producer.
LEAST_SEEN: Final = 1000


@dataclass(frozen=True, slots=True)
class _Batch:
    seen: int
    reasons: Mapping[str, int]


@dataclass(slots=True)
class _Window:
    """The newest batches of a topic that hold the wanted number of records together."""

    batches: deque[_Batch] = field(default_factory=deque)
    seen: int = 0
    reasons: Counter[str] = field(default_factory=Counter)

    def copy(self) -> "_Window":
        return _Window(self.batches.copy(), self.seen, self.reasons.copy())

    def add(self, batch: _Batch, size: int) -> None:
        self.batches.append(batch)
        self.seen += batch.seen
        self.reasons.update(batch.reasons)
        while self.seen - self.batches[0].seen >= size:
            oldest = self.batches.popleft()
            self.seen -= oldest.seen
            self.reasons -= Counter(oldest.reasons)


@dataclass(frozen=True, slots=True)
class Excess:
    """More bad records than may be: `bad` of `seen`, most of them for `reason`."""

    topic: str
    seen: int
    bad: int
    reason: str

    @property
    def share(self) -> float:
        """Bad records per record."""
        return self.bad / self.seen

    def refusal(self, most: float) -> Refused:
        """What ends the worker, with what to do."""
        return Refused(
            f"{self.bad:,} of the last {self.seen:,} records of {self.topic} cannot be processed, most of them for "
            f"{self.reason!r}; the limit is {most:g} (DAOGOU_BAD_SHARE_MAX). Nothing of the last batch was taken, and "
            "a new start ends here again. Fix the producer (`daogou dead-letters list` shows what it sends), then "
            "raise the limit, to 1 for none, until what it left on the log is in the dead letters",
            code="too_many_bad",
        )


class BadShare:
    """Counts bad records of each topic, over the newest `window` of them; `most` of 1 is no limit."""

    def __init__(self, window: int, most: float) -> None:
        self.most = most
        self._size = window
        self._windows: dict[str, _Window] = {}

    def excess(self, topic: str, seen: int, reasons: Mapping[str, int]) -> Excess | None:
        """Whether a batch of so many records, bad for these reasons, would go over. Nothing is remembered of it."""
        if self.most >= 1 or not reasons:
            return None
        window = self._windows[topic].copy() if topic in self._windows else _Window()
        window.add(_Batch(seen, reasons), self._size)
        bad = window.reasons.total()
        if window.seen < LEAST_SEEN or bad <= self.most * window.seen:
            return None
        return Excess(topic, window.seen, bad, window.reasons.most_common(1)[0][0])

    def add(self, topic: str, seen: int, reasons: Mapping[str, int]) -> None:
        """A batch was written."""
        if seen:
            self._windows.setdefault(topic, _Window()).add(_Batch(seen, dict(reasons)), self._size)
