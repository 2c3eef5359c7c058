"""A message is fired once, whatever was lost on the way, and so many in a turn."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.asyncio import Redis

from infra.errors import RedisAway
from infra.keys import items, partition_of, record_key
from infra.settings import Settings
from streams.commit import PartitionStore
from streams.marketing.firing import PER_TURN
from streams.partition import Fired, PartitionFire
from streams.pipeline import Pipeline
from tests.streams.marketing.till import Till, messages, turn
from tests.streams.shop import PARTITIONS, Log, event


class AnswerLost(PartitionStore):
    """Loses the answer to the first call that fires."""

    lost = False

    async def fire(self, fires: Sequence[PartitionFire]) -> list[Fired]:
        fired = await super().fire(fires)
        if not self.lost:
            self.lost = True
            raise RedisAway("the answer was lost")
        return fired


async def test_a_message_whose_answer_was_lost_is_sent(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    shop.store = AnswerLost(redis)
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    with pytest.raises(RedisAway):
        await till.turn(60)
    assert await till.turn(60) == {}
    assert len(await messages(redis)) == 1
    waiting = asyncio.create_task(till.drainer.until_below_bound())
    done, _ = await asyncio.wait([waiting], timeout=0)
    assert not done  # the drainer knows that one effect waits: its bound is one
    waiting.cancel()


class Counting(PartitionStore):
    """Counts the calls that a turn makes."""

    fired: list[int]

    async def fire(self, fires: Sequence[PartitionFire]) -> list[Fired]:
        self.fired = [len(fire.timers) for fire in fires]
        return await super().fire(fires)


async def test_a_turn_is_bounded_over_all_partitions_and_fires_each_once(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    store = shop.store = Counting(redis)
    log, till = Log(), Till(shop, redis, settings)
    log.append(*(event(f"s{number}", "add_to_cart", "tea") for number in range(2 * PER_TURN + 10)))
    await shop.apply(log.batches())
    assert await till.turn(60) == {"ok": PER_TURN}
    assert len(store.fired) <= PARTITIONS
    assert sum(store.fired) == PER_TURN
    assert await till.turn(60) == {"ok": PER_TURN}
    assert await till.turn(60) == {"ok": 10}
    assert await till.turn(60) == {}
    assert len(await messages(redis)) == 2 * PER_TURN + 10


async def test_an_item_that_cannot_be_read_takes_only_its_own_message(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    broken = partition_of(record_key("default", "broken"), PARTITIONS)
    await redis.hset(items("default", broken), "broken", b"\xff")
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"), event("bob", "add_to_cart", "broken"))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 60) == {"ok": 1, "failed": 1}
