"""The loop that turns what was read from the log into micro-batches, and applies them one after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from infra import metrics
from infra.clock import Clock
from infra.errors import WentBack
from infra.logs import logger
from infra.metrics import Metrics
from infra.topics import EVENTS
from streams.batch import Applied, PartitionBatch
from streams.dead_letters import LogRecord
from streams.draining import Drainer
from streams.inbox import Chunk, Inbox
from streams.patience import patiently
from streams.pipeline import Pipeline

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Pace:
    """When a batch begins: so many records wait, or the last one began so many milliseconds ago."""

    events: int
    ms: int


@dataclass(frozen=True, slots=True)
class Around:
    """What the loop works with beside the pipeline.

    `next_on_log(partition, offset)` is the offset of the first record at or after that one, as the broker has
    it. `before_batch` waits for whoever must not be left behind; `applied` tells others how far a partition
    is.
    """

    next_on_log: Callable[[int, int], Awaitable[int]]
    before_batch: Callable[[Sequence[PartitionBatch]], Awaitable[None]]
    applied: Callable[[Mapping[int, int], Applied], None]
    metrics: Metrics
    clock: Clock


class Applying:
    """Takes chunks from the inbox, makes one batch of all partitions at a time, and applies it."""

    def __init__(self, pipeline: Pipeline, inbox: Inbox, drainer: Drainer, pace: Pace, around: Around) -> None:
        self._pipeline = pipeline
        self._inbox = inbox
        self._drainer = drainer
        self._pace = pace
        self._around = around
        self._next: dict[int, int] = {}

    def begin(self, positions: Mapping[int, int]) -> None:
        """Reading begins anew at these offsets; what still waits is forgotten."""
        self._inbox.clear()
        self._next = dict(positions)

    async def run(self) -> None:
        """Apply batches until cancelled.

        Raises:
            OwnershipLost: the process must end and start again.
            Unavailable: Redis stayed away.
        """
        loop = asyncio.get_running_loop()
        started = 0.0
        while True:
            await self._inbox.some()
            wait_s = started + self._pace.ms / 1000 - loop.time()
            if wait_s > 0:
                await self._inbox.fill(wait_s)
            await self._drainer.until_below_bound()
            started = loop.time()
            batches = await self._batches(self._inbox.take(self._pace.events))
            if not batches:
                continue
            await self._around.before_batch(batches)
            applied = await patiently("applying a batch", self._pipeline.apply, batches)
            self._account(batches, applied, loop.time() - started)

    async def _batches(self, chunks: Sequence[Chunk]) -> list[PartitionBatch]:
        """One batch of each partition that is owned; each follows the one before without a hole."""
        records: dict[int, list[LogRecord]] = {}
        for chunk in chunks:
            if chunk.partition in self._pipeline.owned and chunk.partition in self._next:
                await self._follow(chunk)
                records.setdefault(chunk.partition, []).extend(chunk.records)
        owned = self._pipeline.owned
        return [
            PartitionBatch(partition, self._pipeline.log, of_it, owned[partition].epoch)
            for partition, of_it in records.items()
            if partition in owned
        ]

    async def _follow(self, chunk: Chunk) -> None:
        """See that the chunk goes on where the one before ended, or that the log itself has a hole there."""
        partition, first, after = chunk.partition, chunk.records[0].offset, self._next[chunk.partition]
        if first > after:
            there = await self._around.next_on_log(partition, after)
            if there < first:
                raise WentBack(f"partition {partition}: the records from {there} to {first - 1} were passed over")
            _log.warning("the log has a hole", topic=EVENTS, partition=partition, first=after, last=first - 1)
        self._next[partition] = max(self._next.get(partition, 0), chunk.records[-1].offset + 1)

    def _account(self, batches: Sequence[PartitionBatch], counts: Applied, took_s: float) -> None:
        self._drainer.note(counts.outbox)
        fences = {
            b.partition: self._pipeline.owned[b.partition].fence for b in batches if b.partition in self._pipeline.owned
        }
        self._around.applied(fences, counts)
        count, observe = self._around.metrics.count, self._around.metrics.observe
        for metric, number in (
            (metrics.EVENTS_APPLIED, counts.applied),
            (metrics.EVENTS_DUPLICATE, counts.duplicates),
            (metrics.EVENTS_LATE, counts.late),
            (metrics.EVENTS_REDELIVERED, counts.redelivered),
            (metrics.SHOPPERS_SCORED, counts.scored),
        ):
            if number:
                count(metric, number)
        for code, number in counts.reasons.items():
            count(metrics.DEAD_LETTERS, number, topic=EVENTS, code=code)
        if counts.dead:
            _log.warning("records went to the dead letters", count=counts.dead, reasons=counts.reasons)
        observe(metrics.BATCH_SECONDS, took_s, stage="all")
        oldest = min(getattr(batch.records[0], "timestamp", 0) for batch in batches)
        observe(metrics.EVENT_TO_SHELF_SECONDS, max(0, self._around.clock.now_ms() - oldest) / 1000)
        for partition, fence in fences.items():
            self._around.metrics.set(metrics.FENCE_OFFSET, fence, partition=str(partition))
        for partition, offset in self._inbox.read.items():
            self._around.metrics.set(metrics.READ_OFFSET, offset, partition=str(partition))
