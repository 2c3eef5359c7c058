"""Letters counted: by reason and by what became of them, with the newest; and those that were left out."""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from streams.letters.letter import Letter
from streams.letters.marks import Mark

OPEN: Final = "open"
_EXAMPLES: Final = 5


@dataclass(slots=True)
class Census:
    """Counts by (reason, state); `newest` holds letters without their bytes, newest first."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    newest: list[tuple[Letter, str, int]] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All letters."""
        return self.counts.total()

    def reasons(self) -> list[str]:
        """The reasons, the most frequent first."""
        totals: Counter[str] = Counter()
        for (reason, _), count in self.counts.items():
            totals[reason] += count
        return [reason for reason, _ in totals.most_common()]


@dataclass(slots=True)
class LeftOut:
    """Letters that a command does not act on: how many, and the first few with the reason why."""

    count: int = 0
    examples: list[tuple[str, str]] = field(default_factory=list)

    def add(self, letter: Letter, why: str) -> None:
        """One more."""
        self.count += 1
        if len(self.examples) < _EXAMPLES:
            self.examples.append((letter.id, why))


def state_of(letter: Letter, marks: Mapping[str, Mark]) -> str:
    """What became of a letter: open, requeuing, requeued or discarded."""
    mark = marks.get(letter.id)
    return OPEN if mark is None else mark.state


def take(letters: Iterable[Letter], marks: Mapping[str, Mark], most: int) -> Census:
    """Count the letters and keep the newest `most` of them."""
    census = Census()
    heap: list[tuple[int, int, Letter, int]] = []
    for number, letter in enumerate(letters):
        census.counts[letter.reason, state_of(letter, marks)] += 1
        entry = (letter.at_ms, number, replace(letter, value=None), len(letter.value or b""))
        if len(heap) < most:
            heapq.heappush(heap, entry)
        elif most:
            heapq.heappushpop(heap, entry)
    census.newest = [
        (letter, state_of(letter, marks), size) for _, _, letter, size in sorted(heap, key=_newest_first, reverse=True)
    ]
    return census


def _newest_first(entry: tuple[int, int, Letter, int]) -> tuple[int, int]:
    return entry[:2]
