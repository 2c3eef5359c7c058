"""What is live: the namespace that each partition serves, and how far its logs are applied."""

from collections.abc import Mapping, Sequence

from redis.asyncio import Redis

from infra.keys import LIVE, ShardKeys
from infra.redis import address, told_as_away
from infra.settings import Settings


async def served(redis: Redis, partitions: Sequence[int], where: str) -> dict[int, str]:
    """The namespace that is served, by partition.

    Raises:
        RedisAway.
    """
    return await _named(redis, {p: ShardKeys(p).live for p in partitions}, where, LIVE)


async def served_before(redis: Redis, partitions: Sequence[int], where: str) -> dict[int, str]:
    """The namespace that was served before, by partition; empty where there was none.

    Raises:
        RedisAway.
    """
    return await _named(redis, {p: ShardKeys(p).before for p in partitions}, where, "")


async def all_fences(redis: Redis, namespaces: Mapping[int, str], where: str) -> dict[int, dict[str, int]]:
    """The last offset applied, by partition and log, of the namespace named for each.

    Raises:
        RedisAway.
    """
    pipe = redis.pipeline(transaction=False)
    for partition, namespace in namespaces.items():
        pipe.hgetall(ShardKeys(partition, namespace).fence)
    with told_as_away(where):
        found = await pipe.execute()
    return {
        partition: {log.decode(): int(at) for log, at in of_it.items()}
        for partition, of_it in zip(namespaces, found, strict=True)
    }


async def live_fences(redis: Redis, settings: Settings) -> dict[int, dict[str, int]]:
    """The last offset applied, by partition and log, of what is live.

    Raises:
        RedisAway.
    """
    where = address(settings.redis)
    return await all_fences(redis, await served(redis, range(settings.partition_count), where), where)


async def _named(redis: Redis, keys: Mapping[int, str], where: str, missing: str) -> dict[int, str]:
    pipe = redis.pipeline(transaction=False)
    for key in keys.values():
        pipe.get(key)
    with told_as_away(where):
        found = await pipe.execute()
    return {p: missing if raw is None else raw.decode() for p, raw in zip(keys, found, strict=True)}
