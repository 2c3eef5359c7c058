"""The loop that turns what was read from the log into micro-batches, and applies them one after the other."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from infra import metrics
from infra.clock import Clock
from infra.logs import logger
from infra.metrics import Metrics
from infra.topics import EVENTS
from streams.applied import Applied
from streams.batch import PartitionBatch
from streams.continuity import Continuity, NextOnLog
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

    `before_batch` waits for whoever must not be left behind; `applied` tells others how far a partition
    is.
    """

    next_on_log: NextOnLog
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
        self._order = Continuity(EVENTS, around.next_on_log)

    def begin(self, positions: Mapping[int, int]) -> None:
        """Reading begins anew at these offsets, in no other partition; what still waits is forgotten."""
        self._inbox.clear()
        self._order.begin(positions)

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
        # Taken before anything is waited for: what was read under this claim is not applied under another.
        owned, log, reading = dict(self._pipeline.owned), self._pipeline.log, self._order.reading
        records: dict[int, list[LogRecord]] = {}
        for chunk in chunks:
            if chunk.partition in owned and await self._order.follows(chunk, reading):
                records.setdefault(chunk.partition, []).extend(chunk.records)
        return [PartitionBatch(partition, log, of_it, owned[partition].epoch) for partition, of_it in records.items()]

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
        for what, number in counts.failed.items():
            count(metrics.DERIVED_FAILED, number, what=what)
        for kind, number in counts.changes.items():
            count(metrics.ITEM_CHANGES_HEARD, number, kind=kind)
        for (kind, interest), number in counts.reached.items():
            count(metrics.ITEM_CHANGE_WATCHERS, number, kind=kind, interest=interest)
        if counts.dead:
            _log.warning("records went to the dead letters", count=counts.dead, reasons=counts.reasons)
        for stage, seconds in counts.seconds.items():
            observe(metrics.BATCH_SECONDS, seconds, stage=stage)
        observe(metrics.BATCH_SECONDS, took_s, stage="all")
        observe(metrics.BATCH_RECORDS, sum(len(batch.records) for batch in batches))
        now_ms = self._around.clock.now_ms()
        for received in counts.received:
            observe(metrics.EVENT_TO_SHELF_SECONDS, max(0, now_ms - received) / 1000)
        for partition, fence in fences.items():
            self._around.metrics.set(metrics.FENCE_OFFSET, fence, partition=str(partition))
        for partition, offset in self._inbox.read.items():
            self._around.metrics.set(metrics.READ_OFFSET, offset, partition=str(partition))
