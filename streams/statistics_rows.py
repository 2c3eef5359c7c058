"""Feast's rows of item statistics: written where they have changed, removed where they are not wanted any more.

Whoever sends random ids makes neither Feast nor this process grow: which items have a row is written down in Redis
(the set `counted` of the namespace) before the row is, so that another process finds out what there is to remove.
"""

from collections.abc import Sequence
from typing import Final

from redis.asyncio import Redis

from features.aggregates import ITEM_STATISTICS
from features.online import OnlineRow, OnlineWriter
from infra.keys import ShardKeys, feast_project, split_record_key
from infra.portions import portions

_AT_ONCE: Final = 1000


class StatisticsRows:
    """The rows of one namespace. It remembers what it has written of those that are wanted, and no more."""

    def __init__(self, redis: Redis, namespace: str) -> None:
        self._redis = redis
        self._key = ShardKeys(0, namespace).counted
        self._writer = OnlineWriter(redis, feast_project(namespace))
        self._there: dict[str, set[str]] | None = None  # record keys of items with a row, by tenant
        self._told: dict[str, dict[str, int]] = {}

    async def put(self, tenant: str, rows: Sequence[OnlineRow]) -> int:
        """Let the tenant have these rows and no others; how many were others than this process wrote last."""
        marks = {row.key: hash(tuple(row.values.values())) for row in rows}
        told = self._told.get(tenant, {})
        changed = [row for row in rows if told.get(row.key) != marks[row.key]]
        there = (await self._known()).setdefault(tenant, set())
        new = [row.key for row in changed if row.key not in there]
        for some in portions(new, _AT_ONCE):
            await self._command("SADD", some)
        there.update(new)
        await self._writer.write(ITEM_STATISTICS, changed)
        self._told[tenant] = marks
        gone = there - marks.keys()
        for some in portions(sorted(gone), _AT_ONCE):
            await self._writer.remove(ITEM_STATISTICS, some)
            await self._command("SREM", some)
        there -= gone
        return len(changed)

    async def _known(self) -> dict[str, set[str]]:
        if self._there is None:
            there: dict[str, set[str]] = {}
            async for raw in self._redis.sscan_iter(self._key, count=_AT_ONCE):
                key = raw.decode()
                there.setdefault(split_record_key(key)[0], set()).add(key)
            self._there = there
        return self._there

    async def _command(self, name: str, item_keys: Sequence[str]) -> None:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.execute_command(name, self._key, *item_keys)
            await pipe.execute()
