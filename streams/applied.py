"""What became of a batch, and how long each stage of it took."""

from collections.abc import Callable
from dataclasses import dataclass, field

from streams.partition import RowRef


@dataclass(slots=True)
class Applied:
    """What became of a batch: each record is counted once in the first five."""

    applied: int = 0
    duplicates: int = 0
    late: int = 0
    dead: int = 0
    redelivered: int = 0
    scored: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    outbox: dict[int, int] = field(default_factory=dict)
    unscored: list[RowRef] = field(default_factory=list)
    received: list[int] = field(default_factory=list)  # of each shopper scored: its first live event, ms
    newest: dict[int, int] = field(default_factory=dict)  # newest live event time by partition, ms
    seconds: dict[str, float] = field(default_factory=dict)  # by stage
    changes: dict[str, int] = field(default_factory=dict)  # changes of items heard, by kind
    reached: dict[tuple[str, str], int] = field(default_factory=dict)  # watchers of those items, by kind and interest
    failed: dict[str, int] = field(default_factory=dict)  # shoppers whose `features` or `list` could not be made

    @property
    def records(self) -> int:
        """Records that the batch had."""
        return self.taken + self.redelivered

    @property
    def taken(self) -> int:
        """Records above the fence."""
        return self.applied + self.duplicates + self.late + self.dead

    def add(self, other: "Applied") -> None:
        """Count what another counted."""
        self.applied += other.applied
        self.duplicates += other.duplicates
        self.late += other.late
        self.dead += other.dead
        self.redelivered += other.redelivered
        self.scored += other.scored
        for what, count in other.failed.items():
            self.failed[what] = self.failed.get(what, 0) + count
        for code, count in other.reasons.items():
            self.reasons[code] = self.reasons.get(code, 0) + count


class Stages:
    """Says how long each stage of a batch took, one after the other."""

    def __init__(self, monotonic: Callable[[], float], seconds: dict[str, float]) -> None:
        self._monotonic = monotonic
        self._seconds = seconds
        self._since = monotonic()

    def ended(self, stage: str) -> None:
        """The stage that began when the last one ended."""
        now = self._monotonic()
        self._seconds[stage] = now - self._since
        self._since = now
