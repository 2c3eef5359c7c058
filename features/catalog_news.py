"""Changes of the catalogue that wait in Redis to be told, and from where on a change is news at all."""

import hashlib
from collections.abc import Iterable, Mapping
from typing import Final

from redis.asyncio import Redis

from infra import keys

_FIRST: Final = "first:"  # before the id of a log: the offset at which its first reading ends

# KEYS[1] the changes that wait. ARGV: the digest of the first, which goes if it is still the first.
_TOLD: Final = """
local first = redis.call('LINDEX', KEYS[1], 0)
if first and redis.sha1hex(first) == ARGV[1] then redis.call('LPOP', KEYS[1]) end
return redis.call('LLEN', KEYS[1])
"""

# KEYS[1] when a tenant's catalogue began; ARGV: a time of one of its records, ms. Answers the earlier of both.
_BEGAN: Final = """
local began = tonumber(redis.call('GET', KEYS[1]))
if began and began <= tonumber(ARGV[1]) then return began end
redis.call('SET', KEYS[1], ARGV[1])
return tonumber(ARGV[1])
"""


class CatalogNews:
    """Reader of the family `changes`, which `CatalogStore` writes in one step with the items; owner of `began`.

    It keeps in `items_at`, for each log, where the first reading of it ends.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._told = redis.register_script(_TOLD)
        self._began = redis.register_script(_BEGAN)

    async def began(self, at_ms: Mapping[str, int]) -> dict[str, int]:
        """When the catalogue of each tenant began, ms: at the earliest time that was ever given here."""
        return {tenant: int(await self._began([keys.catalogue_began(tenant)], [at])) for tenant, at in at_ms.items()}

    async def waiting(self, partition: int) -> bytes | None:
        """The first change of a partition that waits to be told, as it lies there; None: all are told."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.lindex(keys.changes(partition), 0)
            found: list[bytes | None] = await pipe.execute()
        return found[0]

    async def told(self, partition: int, change: bytes) -> None:
        """It is on the log: take it away. A second time does nothing."""
        digest = hashlib.sha1(change, usedforsecurity=False).hexdigest()
        await self._told([keys.changes(partition)], [digest])

    async def begin_reading(self, log: str, ends: Mapping[int, int]) -> None:
        """A log is read for the first time, in these partitions: what it holds now, below its end, is no news."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition, end in ends.items():
                pipe.hsetnx(keys.items_at(partition), f"{_FIRST}{log}", str(end))
            await pipe.execute()

    async def first_readings(self, partitions: Iterable[int], log: str) -> dict[int, int]:
        """The offset from which on changes of a log are news, by partition, where it is not the log's start."""
        wanted = list(partitions)
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition in wanted:
                pipe.hget(keys.items_at(partition), f"{_FIRST}{log}")
            found: list[bytes | None] = await pipe.execute()
        return {partition: int(end) for partition, end in zip(wanted, found, strict=True) if end is not None}
