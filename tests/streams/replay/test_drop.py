"""A dropped namespace leaves nothing, and takes nothing else along."""

import pytest
from redis.asyncio import Redis

from infra.errors import NotFound, OwnershipLost, Refused
from infra.keys import ShardKeys
from infra.settings import Settings
from streams.replay.command import ReplayRequest, replay_with
from streams.replay.dropping import remove
from streams.replay.records import Records
from streams.replay.running import replay_pipeline
from streams.replay.wishes import Wish, Wishes
from tests.streams.replay.past import CLOCK, apply_live, archive, made, quietly
from tests.streams.shop import LOG, PARTITIONS


async def replayed(settings: Settings, *names: str) -> None:
    archive(settings, made(1, 150))
    for name in names:
        await replay_with(settings, ReplayRequest(name, score=False), quietly(), CLOCK)


async def everything(redis: Redis) -> dict[bytes, bytes]:
    return {key: await redis.dump(key) for key in await redis.keys("*")}


async def test_nothing_is_left_and_nothing_else_is_gone(settings: Settings, redis: Redis) -> None:
    await apply_live(settings, redis, made(1, 150))
    await replayed(settings, "a", "x-a", "x_a", "a2")
    before = await everything(redis)
    await replayed(settings, "again")
    added = (await everything(redis)).keys() - before.keys()
    assert await remove(settings, redis, "again", quietly()) == len(added)
    after = await everything(redis)
    changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
    assert changed <= {b"daogou:{replays}:_:_:replays"}
    assert [one.name for one in await Records(redis, "Redis").all()] == ["a", "a2", "x-a", "x_a"]


async def test_whoever_still_writes_it_is_shut_out(settings: Settings, redis: Redis) -> None:
    await replayed(settings, "again")
    pipeline = replay_pipeline(settings, redis, "again")
    await pipeline.claim(range(PARTITIONS), LOG)
    await remove(settings, redis, "again", quietly())
    with pytest.raises(OwnershipLost):
        await pipeline.apply(made(2, 250).batches())
    assert await redis.keys("daogou:*:again:*") == []


async def test_what_is_served_or_wanted_is_not_dropped(settings: Settings, redis: Redis) -> None:
    await replayed(settings, "again")
    await Wishes(redis, "Redis").put({3: Wish("again", "c1")})
    with pytest.raises(Refused) as error:
        await remove(settings, redis, "again", quietly())
    assert error.value.reason == "promoting"
    await redis.set(ShardKeys(3).live, "again")
    with pytest.raises(Refused) as error:
        await remove(settings, redis, "again", quietly())
    assert error.value.reason == "namespace_live"
    with pytest.raises(Refused):
        await remove(settings, redis, "live", quietly())


async def test_the_first_namespace_can_be_dropped_once_it_is_served_nowhere(settings: Settings, redis: Redis) -> None:
    await apply_live(settings, redis, made(1, 150))
    await replayed(settings, "again")
    for partition in range(PARTITIONS):
        await redis.mset({ShardKeys(partition).live: "again", ShardKeys(partition).before: "live"})
    await remove(settings, redis, "live", quietly())
    assert not await redis.keys("daogou:{p*}:live:*")
    assert not await redis.keys("daogou:{p*}:_:_:before")
    assert await redis.keys("daogou:{p*}:again:*:row:*")


async def test_a_name_that_nobody_knows(settings: Settings, redis: Redis) -> None:
    with pytest.raises(NotFound):
        await remove(settings, redis, "again", quietly())
