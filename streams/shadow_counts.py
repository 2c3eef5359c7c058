"""What became of the candidate that is tried: counts beside each model that was in service meanwhile, kept in Redis.

They are for a person to look at, so they are not fenced: a worker that is killed loses those of its last seconds, and
where the answer to a write is lost they may count twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Final

from redis.asyncio import Redis

from infra.clock import DAY_MS
from infra.keys import shadow
from infra.redis import told_as_away

_KEPT_MS: Final = 90 * DAY_MS
_Z: Final = 1.96


@dataclass(slots=True)
class Counts:
    """Of one candidate beside one model in service.

    Args:
        lists: that the candidate made.
        passed_over: that it would have made, had there been time.
        failed: that it could not make.
        shared: items that are among the first of both lists.
        places: items that could have been.
        judged: lists of which the shopper's next item is known.
        both: next items that both lists had, `live_alone` and `shadow_alone` those that one had.
        cpu_s: processor time of the candidate's lists; `live_cpu_s` of the `live_lists` of the model in service.
    """

    lists: float = 0
    passed_over: float = 0
    failed: float = 0
    shared: float = 0
    places: float = 0
    judged: float = 0
    both: float = 0
    live_alone: float = 0
    shadow_alone: float = 0
    cpu_s: float = 0
    live_lists: float = 0
    live_cpu_s: float = 0

    def add(self, other: "Counts") -> None:
        """Add the other's."""
        for one in fields(Counts):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))

    @property
    def overlap(self) -> float:
        """Share of the first items that both lists have."""
        return self.shared / self.places if self.places else 0.0

    @property
    def live_hits(self) -> float:
        """Share of the next items that were among the first of the list in service."""
        return (self.both + self.live_alone) / self.judged if self.judged else 0.0

    @property
    def shadow_hits(self) -> float:
        """Of the candidate's."""
        return (self.both + self.shadow_alone) / self.judged if self.judged else 0.0

    @property
    def lead(self) -> tuple[float, float]:
        """Where the candidate's lead in hits lies, 95 %; next items are taken as independent."""
        if not self.judged:
            return -1.0, 1.0
        apart, differ = self.shadow_alone - self.live_alone, self.shadow_alone + self.live_alone
        half = _Z * max(differ - apart**2 / self.judged, 0.0) ** 0.5 / self.judged
        return apart / self.judged - half, apart / self.judged + half


@dataclass(slots=True)
class ByModel:
    """Counts beside each model in service, by its version."""

    of: dict[str, Counts] = field(default_factory=dict)

    def beside(self, version: str) -> Counts:
        """Those beside this one."""
        return self.of.setdefault(version, Counts())

    def add(self, other: Mapping[str, Counts]) -> None:
        """Add the other's."""
        for version, counts in other.items():
            self.beside(version).add(counts)


class ShadowCounts:
    """Writer and reader of the family `shadow`."""

    def __init__(self, redis: Redis, where: str) -> None:
        self._redis = redis
        self._where = where

    async def add(self, order: str, counts: Mapping[str, Counts]) -> None:
        """Add what was counted.

        Raises:
            RedisAway: it may be added all the same.
        """
        key = shadow(order)
        pipe = self._redis.pipeline(transaction=True)
        for version, of_it in counts.items():
            for one in fields(Counts):
                if value := getattr(of_it, one.name):
                    pipe.hincrbyfloat(key, f"{one.name} {version}", value)
        pipe.pexpire(key, _KEPT_MS)
        with told_as_away(self._where):
            await pipe.execute()

    async def read(self, order: str) -> dict[str, Counts]:
        """What was counted, by the version in service.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hgetall(shadow(order))
        with told_as_away(self._where):
            answers: list[dict[bytes, bytes]] = await pipe.execute()
        known = {one.name for one in fields(Counts)}
        counts = ByModel()
        for name, value in answers[0].items():
            figure, _, version = name.decode().partition(" ")
            if figure in known:
                setattr(counts.beside(version), figure, float(value))
        return counts.of
