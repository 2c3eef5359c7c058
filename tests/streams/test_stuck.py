"""A partition that stands still though records wait is told, and ends the worker; a still log or a pause is neither."""

import asyncio
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from infra.clock import ManualClock
from infra.errors import KafkaAway, Unavailable
from infra.kafka_admin import EndOffsets
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS
from streams.draining import Blocked
from streams.pausing import Gate, Pause, Pauses
from streams.pipeline import build_pipeline
from streams.worker.health import Health
from streams.worker.progress import Progress
from streams.worker.stuck import Standing
from streams.worker.watching import Catalogue, Log, Watching

LIMIT_S = 120


class Watched:
    """A watcher whose times, ends and fences a test says; only `there` partitions have a record behind the fence."""

    def __init__(self, settings: Settings, redis: Redis, there: tuple[int, ...] = (0, 1)) -> None:
        pipeline = build_pipeline(settings, redis)
        self.measured, self.began, self.now_s = Metrics(), dict[int, int](), 0.0
        self.pauses = Pauses(redis, "Redis")
        gate = Gate(self.pauses, pipeline, [], "w", self.measured)
        self.health = Health(lambda: self.now_s, LIMIT_S)
        self.health.begun = True
        self._there = there
        ends = EndOffsets(settings.brokers, "no-topic")
        log, items = (Log(topic, ends, lambda: self.began, self._next) for topic in (EVENTS, CATALOG))
        self.untold: Blocked | None = None
        progress = Progress(ManualClock(0), self.measured)
        self.blocked: Blocked | None = None
        catalogue = Catalogue(items, dict, lambda: self.untold)
        self.watching = Watching(pipeline, gate, self.health, progress, log, LIMIT_S, lambda: self.blocked, catalogue)

    async def at(self, now_s: float, ends: Mapping[int, int], fences: Mapping[int, int]) -> bool:
        """Look at that moment; whether the worker is ready then."""
        self.now_s = now_s
        self.health.turned()
        await self.watching.judge(now_s, ends, fences, self.measured)
        return self.health.ready()[0]

    async def items_at(self, now_s: float, ends: Mapping[int, int], reached: Mapping[int, int]) -> bool:
        """The same of the catalogue."""
        self.now_s = now_s
        self.health.turned()
        await self.watching.judge_catalogue(now_s, ends, reached, self.measured)
        return self.health.ready()[0]

    async def turn(self) -> None:
        """One round of what is told every second."""
        turning = asyncio.create_task(self.watching.turn({}, self.measured))
        await asyncio.sleep(0)
        turning.cancel()

    async def _next(self, partition: int, offset: int) -> int:
        if partition not in self._there:
            raise KafkaAway("nothing can be read there")
        return offset


async def test_it_is_said_once_and_then_ends_the_worker(settings: Settings, redis: Redis) -> None:
    one = Watched(settings, redis)
    assert await one.at(0, {0: 10, 1: 10}, {0: 4, 1: 4})
    assert await one.at(100, {0: 20, 1: 10}, {0: 4, 1: 5})
    assert not await one.at(120, {0: 20, 1: 10}, {0: 4, 1: 5})
    assert one.health.ready()[1]["partitions"] == [0]
    assert 'daogou_standing_seconds{partition="0",topic="shop.events.v1"} 120' in one.measured.text().decode()
    with pytest.raises(
        Unavailable, match=r"partitions 0 of shop.events.v1 are stuck: records wait behind offset 4.*120 s"
    ) as stuck:
        await one.at(125, {0: 20, 1: 10}, {0: 4, 1: 5})
    assert stuck.value.reason == "partition_stuck"


async def test_a_stuck_partition_of_the_catalogue_is_said_and_ends_the_worker(settings: Settings, redis: Redis) -> None:
    one = Watched(settings, redis)
    for now_s in (0, 60):
        assert await one.at(now_s, {0: 10}, {0: 9})
        assert await one.items_at(now_s, {0: 10, 1: 10}, {0: -1, 1: 9})
    assert not await one.items_at(120, {0: 10, 1: 12}, {0: -1, 1: 10})
    said = one.health.ready()[1]
    assert (said["status"], said["topic"], said["partitions"]) == ("stuck", "shop.catalog.v1", [0])
    assert 'daogou_standing_seconds{partition="0",topic="shop.catalog.v1"} 120' in one.measured.text().decode()
    assert not await one.at(120, {0: 10}, {0: 9}), "what moves does not hide what stands"
    with pytest.raises(Unavailable, match=r"partitions 0 of shop.catalog.v1 are stuck: records wait behind offset -1"):
        await one.items_at(125, {0: 10, 1: 12}, {0: -1, 1: 10})


async def test_a_catalogue_whose_changes_wait_for_kafka_or_that_is_paused_is_not_stuck(
    settings: Settings, redis: Redis
) -> None:
    one = Watched(settings, redis)
    one.untold = Blocked((0, 2), "Kafka at k:1 did not acknowledge; start it")
    for now_s in (0, 200, 400):
        await one.turn()
        assert not await one.items_at(now_s, {0: 10}, {0: 4}), "it does not end, and is not ready"
    status = one.health.ready()[1]
    assert (status["status"], status["partitions"]) == ("changes_wait", [0, 2])
    assert "until Kafka takes the changes of partitions 0, 2: Kafka at k:1 did not" in str(status["why"])
    one.untold = None
    await one.turn()
    await one.pauses.begin(Pause(1_000, "ann", "moving"))
    await one.watching.look()
    assert await one.items_at(600, {0: 10}, {0: 4})
    await one.pauses.end(Pause(1_000, "ann", "moving"))
    await one.watching.look()
    assert await one.items_at(700, {0: 10}, {0: 4})
    assert not await one.items_at(720, {0: 10}, {0: 4})


async def test_a_compacted_end_of_the_catalogue_is_not_stuck(settings: Settings, redis: Redis) -> None:
    one = Watched(settings, redis, there=())
    for now_s in (0, 200, 400):
        assert await one.items_at(now_s, {0: 10}, {0: 4})


async def test_one_that_moves_at_last_is_ready_again(settings: Settings, redis: Redis) -> None:
    one = Watched(settings, redis)
    await one.at(0, {0: 10}, {0: 4})
    assert not await one.at(120, {0: 10}, {0: 4})
    assert await one.at(125, {0: 10}, {0: 5})
    assert await one.at(240, {0: 10}, {0: 5})


async def test_nothing_to_apply_is_not_stuck(settings: Settings, redis: Redis) -> None:
    one = Watched(settings, redis, there=())
    one.began = {1: 10}
    for now_s in (0, 200, 400, 600):  # 0: all applied; 1: retention took the rest; 2: marks of transactions only
        assert await one.at(now_s, {0: 5, 1: 10, 2: 7}, {0: 4, 1: 3, 2: 5})


async def test_a_pause_is_not_stuck_and_says_who_asked(settings: Settings, redis: Redis) -> None:
    one = Watched(settings, redis)
    await one.pauses.begin(Pause(1_000, "ann", "moving"))
    await one.watching.look()
    for now_s in (0, 200, 400):
        assert await one.at(now_s, {0: 10}, {0: 4})
    assert one.health.ready()[1] == {"status": "paused", "since_ms": 1_000, "by": "ann", "why": "moving"}
    await one.pauses.end(Pause(1_000, "ann", "moving"))
    await one.watching.look()
    assert await one.at(500, {0: 10}, {0: 4})
    assert not await one.at(620, {0: 10}, {0: 4})


async def test_a_full_outbox_is_not_stuck_and_says_what_it_waits_for(settings: Settings, redis: Redis) -> None:
    one = Watched(settings, redis)
    assert await one.at(0, {0: 10}, {0: 4})
    one.blocked = Blocked((0, 3), "Kafka at k:1 did not acknowledge; start it")
    for now_s in (120, 300, 600):
        await one.turn()
        assert not await one.at(now_s, {0: 10}, {0: 4}), "it does not end, and is not ready"
    status = one.health.ready()[1]
    assert (status["status"], status["partitions"]) == ("outbox_full", [0, 3])
    assert "until Kafka takes the effects of partitions 0, 3: Kafka at k:1 did not" in str(status["why"])
    one.blocked = None
    await one.turn()
    assert await one.at(605, {0: 10}, {0: 4})
    assert not await one.at(725, {0: 10}, {0: 4}), "from then on the time counts anew"


async def test_a_loop_that_does_not_turn_lives_no_more(settings: Settings, redis: Redis) -> None:
    one = Watched(settings, redis)
    one.health.turned()
    one.now_s = LIMIT_S + 1
    assert one.health.live() == (False, {"status": "stuck", "why": "the event loop has not turned for 121 s"})
    assert not one.health.ready()[0]


@given(st.lists(st.tuples(st.floats(0.1, 50), st.booleans(), st.integers(0, 2)), max_size=30))
def test_it_has_stood_since_it_moved_last_or_had_nothing_to_do(steps: list[tuple[float, bool, int]]) -> None:
    standing, now_s, fence, since = Standing(), 0.0, 0, 0.0
    first = True
    for later, moves, behind in steps:
        now_s += later
        fence += moves
        if first or moves or not behind:
            since = now_s
        first = False
        assert standing.look(now_s, {0: behind}, {0: fence}) == {0: now_s - since}
