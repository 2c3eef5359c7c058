"""What a writer of partitions says and hears: what a batch changes, what fires, and who is meant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Claimed:
    """What a writer believes of a partition: its epoch and the last offset applied."""

    epoch: int
    fence: int


class Watcher(NamedTuple):
    """A shopper watches an item since `at` (event time, ms); None: not any more."""

    tenant: str
    shopper_id: str
    interest: str
    item_id: str
    at: int | None


@dataclass(frozen=True, slots=True)
class PartitionWrite:
    """All that one micro-batch changes in one partition.

    `expected` is the fence before, `fence` the one after; `timers` holds due times by member, None takes one
    away; `partials` holds packed statistics by the item's record key, None takes one away; `watchers` says who
    watches which item otherwise; `heard` up to where the catalogue's changes were taken, by its partition; `outbox`
    holds packed effects.
    """

    partition: int
    log: str
    epoch: int
    expected: int
    fence: int
    values: Mapping[str, bytes] = field(default_factory=dict)
    timers: Mapping[str, int | None] = field(default_factory=dict)
    outbox: Sequence[bytes] = ()
    partials: Mapping[str, bytes | None] = field(default_factory=dict)
    watchers: Sequence[Watcher] = ()
    heard: Mapping[str, str] = field(default_factory=dict)


class Due(NamedTuple):
    """A timer that is due."""

    partition: int
    member: str
    due_ms: int


@dataclass(frozen=True, slots=True)
class PartitionFire:
    """Timers of one partition that fire, each with its packed effect; None: it goes without one. `fence` is where the
    partition is applied to on `log`.
    """

    partition: int
    log: str
    epoch: int
    fence: int
    timers: Sequence[tuple[Due, bytes | None]]


@dataclass(frozen=True, slots=True)
class Fired:
    """How long the outbox is now, and for each timer whether this call took it."""

    outbox: int
    taken: Sequence[bool]


@dataclass(frozen=True, slots=True)
class RowRef:
    """One shopper of one partition."""

    partition: int
    tenant: str
    shopper_id: str
