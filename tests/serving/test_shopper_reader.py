"""Page views read what is served, from the moment that another namespace is."""

import asyncio

from pydantic import SecretStr
from redis.asyncio import Redis

from features import shoppers
from features.links import Span, pack_link
from infra.keys import ShardKeys
from infra.redis_lane import RedisLane
from serving.shopper_reader import ShopperReader, ShopperRef

LOG, REF = "log", ShopperRef("default", "u-ann", 3)


async def put(redis: Redis, namespace: str, views: int, fence: int) -> None:
    keys, row = ShardKeys(3, namespace), shoppers.empty()
    row.state.views = views
    await redis.set(keys.row("default", "u-ann"), shoppers.encode(row))
    await redis.hset(keys.fence, LOG, str(fence))


async def reader_of(redis_url: str) -> tuple[RedisLane, ShopperReader]:
    lane = RedisLane(SecretStr(redis_url), 5000)
    await lane.start()
    return lane, ShopperReader(lane, 8, LOG)


async def test_the_row_and_the_fence_are_those_of_the_namespace_that_is_served(redis: Redis, redis_url: str) -> None:
    await put(redis, "live", 1, 7)
    await put(redis, "again", 2, 9)
    lane, reader = await reader_of(redis_url)
    told = []
    for namespace in (None, "again", "live"):
        if namespace:
            await redis.set(ShardKeys(3).live, namespace)
        known = await reader.read(REF)
        assert known.state is not None
        told.append((known.state.views, known.fence))
    assert told == [(1, 7), (2, 9), (1, 7)]
    await lane.close()


async def test_who_waits_for_a_fence_hears_of_it_in_another_namespace(redis: Redis, redis_url: str) -> None:
    await put(redis, "live", 1, 7)
    lane, reader = await reader_of(redis_url)
    waiting = asyncio.ensure_future(reader.wait_for(3, LOG, 8, 20_000))
    await asyncio.sleep(0)
    await put(redis, "again", 1, 8)
    await redis.set(ShardKeys(3).live, "again")
    assert await waiting
    await lane.close()


async def test_shoppers_to_try_are_those_that_are_served(redis: Redis, redis_url: str) -> None:
    await put(redis, "again", 1, 7)
    lane, reader = await reader_of(redis_url)
    assert await reader.some("default", 5) == []
    await redis.set(ShardKeys(3).live, "again")
    assert await reader.some("default", 5) == ["ann"]
    await lane.close()


async def test_links_are_those_of_the_namespace_that_is_served(redis: Redis, redis_url: str) -> None:
    device = ShopperRef("default", "a-phone", 3)
    lane, reader = await reader_of(redis_url)
    assert await reader.links([device]) == [None]
    await redis.set(
        ShardKeys(3, "again").link("default", "a-phone"), pack_link(Span(1_700_000_000_000, "a-link", "ann"))
    )
    await redis.set(ShardKeys(3).live, "again")
    assert [link and link.user_id for link in await reader.links([device, device])] == ["ann", "ann"]
    assert not await reader.has_absorbed(REF, device)
    await lane.close()
