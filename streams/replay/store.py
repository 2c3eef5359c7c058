"""The partitions of a namespace that is not live: the live store's own script, under a guard of the namespace.

The script of a commit compares an epoch and the name of the namespace that may be written. For a replay both keys lie
inside its namespace: `epoch` counts who took it up, and `replaying` holds its name as long as it may be written. So a
replay can neither touch live state nor, once it is promoted or dropped, its own. Nothing goes into an outbox.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from redis.asyncio import Redis

from infra.errors import Refused
from infra.keys import ReplayKeys, ShardKeys, all_rows_pattern
from streams.commit import PartitionStore
from streams.lua import Call, Script, run_scripts
from streams.partition import PartitionWrite, RowRef

# KEYS live, replaying · ARGV namespace · → the namespace that is served
_OPEN: Final = Script("""
local live = redis.call('GET', KEYS[1]) or 'live'
if live ~= ARGV[1] then redis.call('SET', KEYS[2], ARGV[1]) end
return live
""")


class ReplayStore(PartitionStore):
    """Reads and writes the partitions of a replay's namespace."""

    def __init__(self, redis: Redis, namespace: str, *, where: str = "Redis") -> None:
        super().__init__(redis, where=where)
        self._name = namespace

    def namespace(self, partition: int) -> str:  # noqa: ARG002
        """The one namespace of all partitions."""
        return self._name

    async def look(self, partitions: Iterable[int]) -> None:
        """Nothing: what is served makes no difference here."""

    async def scan_rows(self, cursor: int, about: int) -> tuple[int, list[RowRef]]:
        """Shoppers with a row in this namespace, as `PartitionStore.scan_rows`.

        Raises:
            RedisAway.
        """
        return await self._scan(all_rows_pattern(self._name), cursor, about)

    def keys(self, partition: int) -> ReplayKeys:
        """The keys of a partition in this namespace, its guard among them."""
        return ReplayKeys(partition, self._name)

    async def open(self, partitions: Iterable[int]) -> None:
        """Let this namespace be written.

        Raises:
            Refused: it is live (`namespace_live`).
            RedisAway.
        """
        wanted = list(partitions)
        calls: list[Call] = [(_OPEN, (ShardKeys(p).live, self.keys(p).replaying), (self._name,)) for p in wanted]
        for partition, live in zip(wanted, await run_scripts(self._redis, self.where, calls), strict=True):
            if live.decode() == self._name:
                raise Refused(
                    f"the namespace {self._name!r} is live in partition {partition}: replay into another name",
                    code="namespace_live",
                )

    async def commit(self, writes: Sequence[PartitionWrite]) -> dict[int, int]:
        """Write the partitions as the live store does, but no effects.

        Raises:
            WentBack, Fenced, RedisAway: as `PartitionStore.commit`.
        """
        return await super().commit([replace(write, outbox=()) for write in writes])
