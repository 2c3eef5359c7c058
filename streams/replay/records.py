"""What is known of each replay: where its events come from, how far they go, what became of them.

One hash in Redis holds them all, so that a list of replays needs no walk over millions of keys. How far a replay is
stands elsewhere: the fences of its namespace, which move with its rows.
"""

from typing import Final

import msgspec
from redis.asyncio import Redis

from features.archive_order import Window
from infra.errors import NotFound
from infra.keys import replays
from infra.redis import told_as_away
from streams.applied import Applied
from streams.batch import Rules

RUNNING: Final = "running"
SCORING: Final = "scoring"
DONE: Final = "done"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What a replay was asked for: all that its rows depend on. A replay goes on only with the same."""

    source: str
    mapping: str = ""
    since: str = ""
    until: str = ""
    code_label: str = ""
    partitions: int
    lateness_ms: int
    cart_abandoned_ms: int

    def differing(self, other: "Wanted") -> list[str]:
        """Each thing in which the other differs, in words."""
        return [
            f"{name.replace('_', '-')} {getattr(self, name)!r}, not {getattr(other, name)!r}"
            for name in self.__struct_fields__
            if getattr(self, name) != getattr(other, name)
        ]


class Replay(msgspec.Struct, kw_only=True):
    """One replay. `windows` are its records in the order in which they are applied, captured at its start."""

    name: str
    wanted: Wanted
    windows: list[Window]
    order: str = ""
    code: str = ""  # that made it, as `code_of_rows` tells it
    missing: int = 0  # offsets of the windows that the archive does not hold
    state: str = RUNNING
    stopped: str = ""  # why it did not go on, the last time; empty while it runs
    started_ms: int
    ended_ms: int = 0
    model: str = ""
    took_s: float = 0.0  # applying alone, all runs together
    counted: int = 0  # records that `applied` and the rest account for
    applied: int = 0
    duplicates: int = 0
    late: int = 0
    dead: int = 0
    reasons: dict[str, int] = msgspec.field(default_factory=dict)

    @property
    def total(self) -> int:
        """Offsets that it goes over."""
        return sum(window.last - window.first + 1 for window in self.windows)

    @property
    def skipped(self) -> int:
        """Offsets before the first that it goes over, in the logs that it reads."""
        firsts: dict[tuple[int, str], int] = {}
        for window in self.windows:
            place = (window.partition, window.log)
            firsts[place] = min(window.first, firsts.get(place, window.first))
        return sum(firsts.values())

    def count(self, counts: Applied) -> None:
        """Add what became of a batch."""
        self.counted += counts.applied + counts.duplicates + counts.late + counts.dead
        self.applied += counts.applied
        self.duplicates += counts.duplicates
        self.late += counts.late
        self.dead += counts.dead
        for code, number in counts.reasons.items():
            self.reasons[code] = self.reasons.get(code, 0) + number


class Records:
    """Reads and writes what is known of replays."""

    def __init__(self, redis: Redis, where: str) -> None:
        self._redis = redis
        self._where = where

    async def get(self, name: str) -> Replay | None:
        """One replay; None when there is none of that name.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hget(replays(), name)
        with told_as_away(self._where):
            [raw] = await pipe.execute()
        return None if raw is None else msgspec.json.decode(raw, type=Replay)

    async def known(self, name: str) -> Replay:
        """One replay that must be there.

        Raises:
            NotFound: there is none of that name (`no_replay`).
            RedisAway.
        """
        found = await self.get(name)
        if found is None:
            names = [one.name for one in await self.all()]
            there = f"there are {', '.join(names)}" if names else "there is none; make one: daogou replay run"
            raise NotFound(f"there is no replay {name!r}; {there}", path="name", code="no_replay")
        return found

    async def all(self) -> list[Replay]:
        """All replays, oldest first.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hvals(replays())
        with told_as_away(self._where):
            [raws] = await pipe.execute()
        found = [msgspec.json.decode(raw, type=Replay) for raw in raws]
        return sorted(found, key=lambda one: (one.started_ms, one.name))

    async def put(self, replay: Replay) -> None:
        """Keep it.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hset(replays(), mapping={replay.name: msgspec.json.encode(replay)})
        with told_as_away(self._where):
            await pipe.execute()

    async def remove(self, name: str) -> None:
        """Forget it.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hdel(replays(), name)
        with told_as_away(self._where):
            await pipe.execute()


def wanted_of(source: str, rules: Rules, *, mapping: str, since: str, until: str, code_label: str) -> Wanted:
    """What is asked for, under the rules of the settings."""
    return Wanted(
        source=source,
        mapping=mapping,
        since=since,
        until=until,
        code_label=code_label,
        partitions=rules.partitions,
        lateness_ms=rules.lateness_ms,
        cart_abandoned_ms=rules.cart_abandoned_ms,
    )
