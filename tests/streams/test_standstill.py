"""A pause holds all that writes: lists made anew, promotions, the merging of statistics. What is under way ends."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis

from infra.clock import ManualClock
from infra.keys import LIVE
from infra.metrics import Metrics
from infra.settings import Settings
from streams.holds import Hold
from streams.pausing import Pauses
from streams.pipeline import Pipeline
from streams.replay.promotion import Followed, Promotion
from streams.rescoring import Rescoring
from streams.standstill import Standstill
from streams.statistics_job import HOLD, StatisticsJob
from tests.streams.merging import ended
from tests.streams.models import Popular
from tests.streams.replay.running_shop import RunningShop
from tests.streams.shop import LOG, PARTITIONS
from tests.streams.test_applying import Loop
from tests.streams.test_pausing import PAUSE, gate_of
from tests.streams.test_rescoring import SHOPPERS, Shop, ref_of, shop_of

Opened = Callable[[str], Pipeline]


class Watched(Standstill):
    """Says when somebody waits at it, and how often somebody looked whether it is held."""

    def __init__(self, held: bool = True) -> None:
        super().__init__()
        self.came, self.looks = asyncio.Event(), 0
        self.hold(held)

    @property
    def held(self) -> bool:
        self.looks += 1
        return super().held

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        self.came.set()
        async with super().passage():
            yield


async def test_it_holds_what_comes_and_lets_what_is_under_way_end() -> None:
    beside, done = Standstill(), list[int]()

    async def piece(number: int, until: asyncio.Event) -> None:
        async with beside.passage():
            await until.wait()
            done.append(number)

    first, second = asyncio.Event(), asyncio.Event()
    second.set()
    under_way = asyncio.create_task(piece(1, first))
    await asyncio.sleep(0)
    beside.hold(True)
    waiting = asyncio.create_task(piece(2, second))
    await asyncio.sleep(0)
    assert (beside.at_rest, done) == (False, [])
    first.set()
    await under_way
    assert (beside.at_rest, done) == (True, [1])
    beside.hold(False)
    beside.hold(True)  # before whoever waits has its turn
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (beside.at_rest, done) == (True, [1])
    beside.hold(False)
    await waiting
    assert done == [1, 2]


async def test_work_that_fails_or_is_ended_is_under_way_no_more() -> None:
    beside = Standstill()
    with pytest.raises(RuntimeError, match="it failed"):
        async with beside.passage():
            raise RuntimeError("it failed")
    beside.hold(True)
    waiting = asyncio.create_task(beside.passage().__aenter__())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert beside.at_rest


async def test_a_worker_rests_only_when_nothing_beside_is_under_way(settings: Settings, redis: Redis) -> None:
    await Hold(redis, LIVE, "w1", alone=False).take()
    pauses, gate = Pauses(redis, "Redis"), gate_of(redis, Loop(settings, redis))
    async with gate.beside.passage():
        await pauses.begin(PAUSE)
        await gate.look()
        assert gate.beside.held
        assert await pauses.workers(PAUSE) == (1, 0)
    await gate.look()
    assert await pauses.workers(PAUSE) == (1, 1)
    await pauses.end(PAUSE)
    await gate.look()
    assert not gate.beside.held


async def test_no_list_is_made_anew_until_the_end_of_the_pause(settings: Settings, redis: Redis) -> None:
    shop, beside = await shop_of(settings, redis), Watched()
    shop.pipeline.derived.scorer = Popular("v1")
    rescoring = Rescoring(shop.pipeline, Metrics(), beside=beside)
    rescoring.add([ref_of(one) for one in SHOPPERS])
    running = asyncio.create_task(rescoring.run())
    await beside.came.wait()
    assert await versions(shop) == {None}
    beside.hold(False)
    async with asyncio.timeout(30):
        while await versions(shop) != {"v1"}:
            await asyncio.sleep(0)
    await ended(running)


async def versions(shop: Shop) -> set[str | None]:
    return {await shop.version_of(one) for one in SHOPPERS}


def promotion_of(shop: RunningShop, redis: Redis, broker: str, beside: Standstill, opened: Opened) -> Promotion:
    followed = Followed(broker, LOG, embedded=True)
    return Promotion(shop.pipeline, redis, followed, opened, lambda: None, shop.measured, ManualClock(0), beside)


async def test_no_namespace_is_promoted_until_the_end_of_the_pause(
    settings: Settings, redis: Redis, broker: str
) -> None:
    shop, beside = RunningShop(settings, redis, broker), Watched()
    promotion = promotion_of(shop, redis, broker, beside, shop.replaying)
    shop.produce(1, 100)
    await shop.replay("again")
    async with shop.running():
        await shop.caught_up()
        await shop.wish("again")
        turning = asyncio.create_task(promotion.turn())
        await beside.came.wait()
        assert await shop.served() == {"live"}
        beside.hold(False)
        assert await turning == PARTITIONS
    assert await shop.served() == {"again"}


async def test_a_promotion_that_has_begun_stops_and_begins_anew(settings: Settings, redis: Redis, broker: str) -> None:
    """Live is far ahead of the namespace: without the pause it would be followed, and served."""
    shop, beside = RunningShop(settings, redis, broker), Watched(held=False)
    shop.produce(1, 100)
    await shop.replay("again", through=3)
    async with shop.running():
        await shop.caught_up()
    await shop.wish("again")

    def held_when_opened(name: str) -> Pipeline:
        beside.hold(True)
        return shop.replaying(name)

    assert await promotion_of(shop, redis, broker, beside, held_when_opened).turn() == 0
    assert await shop.served() == {"live"}


async def test_no_statistics_are_merged_until_the_end_of_the_pause(redis: Redis) -> None:
    beside, passes = Watched(), Passes()

    async def reached() -> object:
        return "somewhere"

    job = StatisticsJob(Hold(redis, HOLD, "one", alone=True), passes, reached, Metrics(), every_s=0.001, beside=beside)
    running = asyncio.create_task(job.run(asyncio.get_running_loop().time))
    async with asyncio.timeout(20):
        while beside.looks < 3:  # it comes back, and keeps the job
            await asyncio.sleep(0.001)
    assert not passes.merged.is_set()
    beside.hold(False)
    async with asyncio.timeout(20):
        await passes.merged.wait()
    await ended(running)


class Passes:
    """Passes that say only that they were made."""

    def __init__(self) -> None:
        self.merged = asyncio.Event()

    async def merge(self) -> None:
        self.merged.set()

    def forget(self) -> None:
        pass
