"""`daogou replay drop`: everything of a namespace goes, in steps that leave Redis free for others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis

from features.value_codec import project_of
from infra.errors import Refused
from infra.keys import LIVE, ReplayKeys, ShardKeys, feast_project, namespace_pattern
from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from streams.holds import Held, Hold
from streams.progress import Phases
from streams.replay.live import served, served_before
from streams.replay.names import held_as
from streams.replay.records import Records
from streams.replay.wishes import Wishes

_REDIS_TIMEOUT_MS: Final = 30_000
_SCAN: Final = 2000
_AT_ONCE: Final = 500


def drop(settings: Settings, name: str, phases: Phases) -> int:
    """Remove a namespace: its keys, its rows in Feast's store, its record; how many keys went.

    Raises:
        NotFound: there is nothing of that name.
        Refused: it is served, or wanted, or another process runs it (`namespace_live`, `promoting`, `held`).
        RedisAway: the same again goes on.
    """
    return asyncio.run(_drop(settings, name, phases))


async def _drop(settings: Settings, name: str, phases: Phases) -> int:
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        return await remove(settings, redis, name, phases)
    finally:
        await redis.aclose()


async def remove(settings: Settings, redis: Redis, name: str, phases: Phases) -> int:
    """The same with a client that is there.

    Raises:
        NotFound, Refused, RedisAway: as `drop`.
    """
    where, partitions = address(settings.redis), range(settings.partition_count)
    records = Records(redis, where)
    if name != LIVE:
        await records.known(name)
    await _refuse_served(redis, name, partitions, where)
    held = Held(Hold(redis, held_as(name), uuid4().hex, alone=True, where=where))
    await held.take()
    try:
        with told_as_away(where):
            removed = await _shut(redis, name, partitions)
            await _refuse_served(redis, name, partitions, where)
            with phases.phase("dropped", 0, "keys") as advance:
                for keys in (_of_namespace(redis, name), _of_feast(redis, name)):
                    async for chunk in keys:
                        await redis.unlink(*chunk)
                        removed += len(chunk)
                        advance(len(chunk))
                        await held.renew()
            await records.remove(name)
    finally:
        await held.release()
    return removed


async def _refuse_served(redis: Redis, name: str, partitions: range, where: str) -> None:
    live = [p for p, namespace in (await served(redis, partitions, where)).items() if namespace == name]
    if live:
        raise Refused(
            f"the namespace {name!r} is live in {len(live)} partitions: promote another, or roll back, first",
            code="namespace_live",
        )
    if any(wish.namespace == name for wish in (await Wishes(redis, where).of(partitions)).values()):
        raise Refused(f"the namespace {name!r} is just being promoted; wait for it, or give it up", code="promoting")


async def _shut(redis: Redis, name: str, partitions: range) -> int:
    """Nobody may write it any more; and what is live has no `before` any more, if it was this. How many keys went."""
    before = await served_before(redis, partitions, "Redis")
    pipe = redis.pipeline(transaction=False)
    for partition in partitions:
        pipe.delete(ReplayKeys(partition, name).replaying)
        if before[partition] == name:
            pipe.delete(ShardKeys(partition).before)
    return sum(await pipe.execute())


async def _of_namespace(redis: Redis, name: str) -> AsyncIterator[list[bytes]]:
    async for chunk in _chunks(redis, namespace_pattern(name)):
        yield chunk


async def _of_feast(redis: Redis, name: str) -> AsyncIterator[list[bytes]]:
    project = feast_project(name)
    async for chunk in _chunks(redis, f"*{project}"):
        mine = [key for key in chunk if project_of(key) == project]
        if mine:
            yield mine


async def _chunks(redis: Redis, pattern: str) -> AsyncIterator[list[bytes]]:
    chunk: list[bytes] = []
    async for key in redis.scan_iter(pattern, count=_SCAN):
        chunk.append(key)
        if len(chunk) == _AT_ONCE:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
