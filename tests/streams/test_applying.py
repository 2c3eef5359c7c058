"""The loop over micro-batches: nothing is passed over, and what is read under an old claim is left out."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest
from redis.asyncio import Redis

from infra.clock import SystemClock
from infra.errors import WentBack
from infra.kafka import Producer
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import EVENTS
from streams.applying import Applying, Around, Pace
from streams.batch import Applied, PartitionBatch
from streams.draining import Drainer
from streams.inbox import Chunk, Inbox
from streams.outbox import Outbox
from streams.pipeline import build_pipeline
from tests.streams.shop import LOG, PARTITIONS, Log, event, partition_of_event

HOME = partition_of_event(event("ann", "page_view"))


def chunk(start: int, stop: int) -> Chunk:
    log = Log()
    log.append(*(event("ann", "view_item", f"i{n}", minute=n) for n in range(20)))
    return Chunk(EVENTS, HOME, log.records[HOME][start:stop])


class Loop:
    """The loop over an inbox, on a real Redis; `on_log` is the first offset that the broker really has."""

    def __init__(self, settings: Settings, redis: Redis, on_log: int = 0) -> None:
        self.inbox = Inbox(100)
        self.pipeline = build_pipeline(settings, redis)
        self.counts = Applied()
        self._through: dict[int, int] = {}
        self._news = asyncio.Event()
        self._on_log = on_log
        self.meanwhile: Callable[[], Awaitable[None]] | None = None  # what happens while the broker is asked
        measured = Metrics()
        drainer = Drainer(self.pipeline, Outbox(redis, Producer(settings.kafka, embedded=True)), 100, measured)
        around = Around(self._next_on_log, self._before, self._applied, measured, SystemClock())
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
