"""The loop over micro-batches: nothing is passed over, and what is read under an old claim is left out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from features.events import to_ms
from infra.clock import ManualClock
from infra.errors import WentBack
from infra.kafka import Producer
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import EVENTS
from streams.applied import Applied
from streams.applying import Applying, Around, Pace
from streams.batch import PartitionBatch
from streams.draining import Drainer
from streams.inbox import Chunk, Inbox
from streams.outbox import Outbox
from streams.pipeline import build_pipeline
from streams.worker.progress import Progress
from tests.streams.models import Popular
from tests.streams.shop import LOG, PARTITIONS, T0, Log, event, partition_of_event

LIMIT_S = 30.0  # what has not happened by then never will
HOME = partition_of_event(event("ann", "page_view"))


def chunk(start: int, stop: int) -> Chunk:
    log = Log()
    log.append(*(event("ann", "view_item", f"i{n}", minute=n) for n in range(20)))
    return Chunk(EVENTS, HOME, log.records[HOME][start:stop])


class Loop:
    """The loop over an inbox, on a real Redis; `on_log` is the first offset that the broker really has."""

    def __init__(self, settings: Settings, redis: Redis, on_log: int = 0, outbox_max: int = 100) -> None:
        self.inbox = Inbox(100)
        self.pipeline = build_pipeline(settings, redis)
        self.counts = Applied()
        self._through: dict[int, int] = {}
        self._news = asyncio.Event()
        self._on_log = on_log
        self.meanwhile: Callable[[], Awaitable[None]] | None = None  # what happens while the broker is asked
        self.measured = measured = Metrics()
        drainer = Drainer(self.pipeline, Outbox(redis, Producer(settings.kafka, embedded=True)), outbox_max, measured)
        around = Around(self._next_on_log, self._before, self._applied, measured, ManualClock(to_ms(T0) + 60_000))
        self.applying = Applying(self.pipeline, self.inbox, drainer, Pace(100, 1), around)

    async def begin(self) -> None:
        claimed = await self.pipeline.claim(range(PARTITIONS), LOG)
        self.applying.begin({p: owned.fence + 1 for p, owned in claimed.items()})

    async def until(self, offset: int) -> None:
        """Run until an offset is applied.

        Raises:
            Whatever the loop raises.
        """
        running = asyncio.create_task(self.applying.run())
        async with asyncio.timeout(LIMIT_S):
            while self._through.get(HOME, -1) < offset and not running.done():
                news = asyncio.create_task(self._news.wait())
                await asyncio.wait({running, news}, return_when=asyncio.FIRST_COMPLETED)
                self._news.clear()
                news.cancel()
        if running.done():
            running.result()
        running.cancel()

    async def _next_on_log(self, partition: int, offset: int) -> int:
        if self.meanwhile is not None:
            await self.meanwhile()
        return max(offset, self._on_log)

    async def _before(self, batches: Sequence[PartitionBatch]) -> None:
        assert batches

    def _applied(self, fences: Mapping[int, int], counts: Applied) -> None:
        self._through |= fences
        self.counts.add(counts)
        self._news.set()


async def test_chunks_become_batches(settings: Settings, redis: Redis) -> None:
    loop = Loop(settings, redis)
    await loop.begin()
    for start in range(0, 20, 4):
        loop.inbox.put(chunk(start, start + 4))
    await loop.until(19)
    assert (loop.counts.applied, loop.counts.redelivered) == (20, 0)


async def test_records_that_come_twice_are_skipped(settings: Settings, redis: Redis) -> None:
    loop = Loop(settings, redis)
    await loop.begin()
    loop.inbox.put(chunk(0, 10))
    loop.inbox.put(chunk(5, 20))
    await loop.until(19)
    assert (loop.counts.applied, loop.counts.redelivered) == (20, 5)


async def test_records_passed_over_end_the_worker(settings: Settings, redis: Redis) -> None:
    loop = Loop(settings, redis)
    await loop.begin()
    loop.inbox.put(chunk(0, 5))
    loop.inbox.put(chunk(8, 20))
    with pytest.raises(WentBack, match="from 5 to 7 were passed over"):
        await loop.until(19)


async def test_a_hole_of_the_log_itself_is_no_loss(settings: Settings, redis: Redis) -> None:
    loop = Loop(settings, redis, on_log=8)
    await loop.begin()
    loop.inbox.put(chunk(8, 20))
    await loop.until(19)
    assert loop.counts.applied == 12


async def test_a_new_assignment_forgets_what_waits(settings: Settings, redis: Redis) -> None:
    loop = Loop(settings, redis)
    await loop.begin()
    loop.inbox.put(chunk(10, 20))
    await loop.begin()
    loop.inbox.put(chunk(0, 20))
    await loop.until(19)
    assert (loop.counts.applied, loop.counts.redelivered) == (20, 0)


async def test_the_inbox_has_room_below_its_bound() -> None:
    inbox = Inbox(10)
    inbox.put(chunk(0, 6))
    assert inbox.room.is_set()
    inbox.put(chunk(6, 12))
    assert not inbox.room.is_set()
    assert [len(one.records) for one in inbox.take(7)] == [6]
    assert inbox.room.is_set()
    assert [len(one.records) for one in inbox.take(1)] == [6]
    assert inbox.take(5) == []


async def test_what_was_read_before_a_rebalance_is_not_applied_after_it(settings: Settings, redis: Redis) -> None:
    loop = Loop(settings, redis, on_log=8)
    await loop.begin()

    async def rebalance() -> None:
        loop.meanwhile = None
        await loop.begin()
        loop.inbox.put(chunk(0, 20))

    loop.meanwhile = rebalance
    loop.inbox.put(chunk(8, 10))
    loop.inbox.put(chunk(10, 12))
    await loop.until(19)
    assert (loop.counts.applied, loop.counts.redelivered) == (20, 0)


def samples(measured: Metrics, name: str) -> dict[str, float]:
    """The samples of a family, by their labels as text."""
    return {
        str(sample.labels) if sample.labels else "": sample.value
        for family in text_string_to_metric_families(measured.text().decode())
        for sample in family.samples
        if sample.name == name
    }


async def test_the_way_to_the_list_is_measured_for_lists_that_were_made(settings: Settings, redis: Redis) -> None:
    loop = Loop(settings, redis)
    await loop.begin()
    loop.inbox.put(chunk(0, 1))
    await loop.until(0)
    assert samples(loop.measured, "daogou_event_to_shelf_seconds_count") == {"": 0}
    loop.pipeline.derived.scorer = Popular("v1")
    history = Log()
    history.records[HOME] = list(chunk(0, 1).records)
    history.append(event("ann", "purchase", "tea", load_id="load-1"), event("ann", "view_item", "cup", minute=0.5))
    loop.inbox.put(Chunk(EVENTS, HOME, history.records[HOME][1:2]))
    await loop.until(1)
    assert samples(loop.measured, "daogou_event_to_shelf_seconds_count") == {"": 0}
    loop.inbox.put(Chunk(EVENTS, HOME, history.records[HOME][2:]))
    await loop.until(2)
    assert samples(loop.measured, "daogou_event_to_shelf_seconds_count") == {"": 1}
    assert samples(loop.measured, "daogou_event_to_shelf_seconds_sum") == {"": 30}


async def test_each_stage_of_a_batch_is_measured(settings: Settings, redis: Redis) -> None:
    loop = Loop(settings, redis)
    await loop.begin()
    loop.inbox.put(chunk(0, 20))
    await loop.until(19)
    stages = ("decode", "read", "fold", "count", "features", "score", "commit", "all")
    assert samples(loop.measured, "daogou_batch_seconds_count") == {str({"stage": stage}): 1 for stage in stages}


def test_lag_and_delay_are_told_of_owned_partitions() -> None:
    measured, clock = Metrics(), ManualClock(100_000)
    progress = Progress(clock, measured)
    progress.applied(Applied(newest={3: 40_000, 5: 90_000}))
    progress.applied(Applied(newest={3: 30_000}))
    progress.measure({3: 10, 5: 7}, {3: 4, 5: 6})
    labels = [str({"partition": partition}) for partition in "35"]
    assert samples(measured, "daogou_lag_records") == dict(zip(labels, (5, 0), strict=True))
    assert samples(measured, "daogou_watermark_delay_seconds") == dict(zip(labels, (60, 10), strict=True))
    clock.move_ms(10_000)
    progress.measure({5: 9}, {5: 6})
    assert samples(measured, "daogou_lag_records") == dict(zip(labels, (0, 2), strict=True))
    assert samples(measured, "daogou_watermark_delay_seconds") == dict(zip(labels, (0, 20), strict=True))
