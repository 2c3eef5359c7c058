"""A timer waits until its partition has reached the end that the log had when it was due."""

from redis.asyncio import Redis

from infra.settings import Settings
from streams.pipeline import Pipeline
from tests.streams.marketing.till import BOB, HOME, Till, messages
from tests.streams.shop import LOG, PARTITIONS, Log, event


async def test_a_purchase_that_waits_on_the_log_stops_the_message(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    log.append(event("ann", "purchase", "tea", minute=20))
    till.ends = {HOME: len(log.records[HOME])}
    assert await till.turn(90) == {}
    await shop.apply(log.batches())
    assert await till.turn(90) == {}
    assert await messages(redis) == []


async def test_a_cart_fires_once_its_partition_has_reached_the_end(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    log.append(event(BOB, "view_item", "cup", minute=20))
    till.ends = {HOME: 2}
    assert await till.turn(90) == {}
    assert await till.turn(90) == {}
    assert till.asked == [[HOME]]
    await shop.apply(log.batches())
    assert await till.turn(90.01) == {"ok": 1}
    assert till.asked == [[HOME]]


async def test_an_end_asked_for_long_ago_is_asked_for_anew(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till.ends = {HOME: 2}
    assert await till.turn(90) == {}
    log.append(event(BOB, "view_item", "cup", minute=20), event("ann", "purchase", "tea", minute=95))
    till.ends = {HOME: 3}
    assert await till.turn(96) == {}
    await shop.apply(log.batches(stop=2))
    assert await till.turn(96) == {}
    await shop.apply(log.batches())
    assert await till.turn(96) == {}
    assert await messages(redis) == []


async def test_a_timer_set_after_the_end_was_asked_for_waits_for_the_next(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till.ends = {HOME: 2}
    assert await till.turn(90) == {}
    log.append(event(BOB, "view_item", "cup", minute=-5), event(BOB, "add_to_cart", "tea"))
    await shop.apply(log.batches())
    log.append(event(BOB, "purchase", "tea", minute=30))
    till.ends = {HOME: 4}
    assert await till.turn(90) == {"ok": 1}
    assert await till.turn(90) == {}
    await shop.apply(log.batches())
    assert [made.shopper_id for made in await messages(redis)] == ["u-ann"]


async def test_nobody_is_asked_when_nothing_is_due(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    till = Till(shop, redis, settings)
    assert await till.turn(90) == {}
    assert till.asked == []


async def test_with_kafka_away_messages_wait(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till.away = True
    assert await till.turn(90) == {}
    till.away = False
    assert await till.turn(90) == {"ok": 1}


async def test_a_claim_meanwhile_asks_anew(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till.ends = {HOME: 2}
    assert await till.turn(90) == {}
    await shop.claim(range(PARTITIONS), LOG)
    till.ends = {HOME: 1}
    assert await till.turn(90) == {"ok": 1}
