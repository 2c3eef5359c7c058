"""Loading without Kafka: archives first, then catalogue, then the worker's own pipeline over the archive.

A load is a log of its own, `load-<hash>`, with an offset for each event in its partition. The archive and
every fence count in it, so a load that was interrupted goes on where it was, and a second one finds all done.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import uuid4

import pyarrow as pa
from redis.asyncio import Redis

from features.archive import ArchiveRow, EventArchive, event_row
from features.catalog import FacetRecord
from features.catalog_archive import CatalogArchive
from features.catalog_store import CatalogStore
from features.events import Event, encode, record_key_of
from features.identity import with_links
from features.online import OnlineWriter
from infra.keys import LIVE, feast_project, partition_of
from infra.portions import portions
from infra.redis import address, told_as_away
from infra.settings import Settings
from streams.applied import Applied
from streams.batch import PartitionBatch
from streams.direct_catalogue import DirectCatalogue
from streams.holds import Held, Hold
from streams.interruption import step_done
from streams.pipeline import build_pipeline
from streams.progress import Phases
from streams.replay.order import note_begun

# A batch ends with either: the more events of a shopper are folded at once, the less often the row is packed;
# and the rows of a batch go to Redis in one call.
BATCH_EVENTS: Final = 10_000
BATCH_SHOPPERS: Final = 500
ARCHIVED_AT_ONCE: Final = 40_000


@dataclass(frozen=True, slots=True)
class ArchivedRecord:
    """A record as the pipeline reads it; `timestamp` is its time of receipt, ms."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


@dataclass(slots=True)
class Written:
    """What a direct load wrote: events in the archive, old and new, and what the pipeline made of them."""

    events: int = 0
    archived: int = 0
    applied: Applied = field(default_factory=Applied)

    def counts(self) -> dict[str, int]:
        """The events of the load by what became of them; all but the first add up to the load's events."""
        now = self.applied.records - self.applied.redelivered
        return {
            "archived": self.archived,
            "applied": self.applied.applied,
            "duplicates": self.applied.duplicates,
            "late": self.applied.late,
            "dead letters": self.applied.dead,
            "applied before": self.events - now,
        }


class DirectLoad:
    """Writes one load into the archive and the live namespace; it needs both for itself."""

    def __init__(self, settings: Settings, redis: Redis, log: str, phases: Phases, at_ms: int) -> None:
        """`log` names the load, `at_ms` is now: when its catalogue was received."""
        self._at_ms = at_ms
        self._settings = settings
        self._partitions = settings.partition_count
        self._redis = redis
        self._log = log
        self._phases = phases
        self._where = address(settings.redis)
        self._archive = EventArchive(settings.archive_at)
        self._catalogue_archive = CatalogArchive(settings.archive_at)
        self._held = Held(Hold(redis, LIVE, uuid4().hex, alone=True, where=self._where))

    async def run(self, records: Sequence[FacetRecord], events: Iterable[Event], total: int) -> Written:
        """Load; what became of the events, `total` at most.

        Raises:
            Refused: a worker runs, or another load (`held`).
            OwnershipLost: a worker took a partition all the same.
            RedisAway: the same load again goes on from here.
        """
        await self._held.take()
        try:
            written = await self._write_archive(events, total) if total else Written()
            catalogue = DirectCatalogue(self._log, records, self._partitions, self._at_ms)
            catalogue.archive(self._catalogue_archive)
            await self._write_catalogue(catalogue, len(records))
            if total:
                written.applied = await self._apply(written.events)
        finally:
            await self._held.release()
        return written

    async def _write_archive(self, events: Iterable[Event], total: int) -> Written:
        rows, written = _Numbered(self._log, self._partitions), Written()
        with self._phases.phase("archived", total, "events") as advance:
            for chunk in portions(map(rows.row, with_links(events)), ARCHIVED_AT_ONCE):
                written.archived += self._archive.write(chunk)
                written.events += len(chunk)
                advance(len(chunk))
                await self._step()
        self._say_known("in the archive", written.events - written.archived, written.events)
        return written

    def _say_known(self, where: str, known: int, events: int) -> None:
        if known:
            self._phases.say(f"{f'all {known:,}' if known == events else f'{known:,}'} of them were {where} before")

    async def _write_catalogue(self, catalogue: DirectCatalogue, total: int) -> None:
        store, online = CatalogStore(self._redis), OnlineWriter(self._redis, feast_project(LIVE))
        with self._phases.phase("catalogue", total, "records") as advance, told_as_away(self._where):

            async def done(facets: int) -> None:
                advance(facets)
                await self._step()

            await catalogue.apply(store, online, done)

    async def _apply(self, total: int) -> Applied:
        pipeline = build_pipeline(self._settings, self._redis)
        fences = await pipeline.claim(range(self._partitions), self._log)
        await note_begun(self._settings, self._redis, self._log, again=True)
        counts = Applied()
        with self._phases.phase("applied", total, "events") as advance:
            for batch in self._batches():
                if batch.records[-1].offset > fences[batch.partition].fence:
                    counts.add(await pipeline.apply([batch]))
                advance(len(batch.records))
                await self._step()
        self._say_known("applied", total - (counts.records - counts.redelivered), total)
        return counts

    async def _step(self) -> None:
        """Between two steps of long work: an end that is asked for, and the hold."""
        await step_done()
        await self._held.renew()

    def _batches(self) -> Iterator[PartitionBatch]:
        """This load's part of the archive, partition by partition."""
        columns = ("partition", "offset", "key", "value", "received_at")
        partition, records, shoppers = -1, list[ArchivedRecord](), set[bytes]()
        for table in self._archive.scan(columns=columns, log=self._log):
            *others, received_at = table.columns
            columns_of = [*others, received_at.cast(pa.int64())]
            for of, *record in zip(*(column.to_pylist() for column in columns_of), strict=True):
                full = len(records) == BATCH_EVENTS or len(shoppers) == BATCH_SHOPPERS
                if records and (of != partition or full):
                    yield PartitionBatch(partition, self._log, records)
                    records, shoppers = [], set()
                partition = of
                records.append(ArchivedRecord(*record))
                shoppers.add(record[1])
        if records:
            yield PartitionBatch(partition, self._log, records)


class _Numbered:
    """Gives each event its place in the load's log."""

    def __init__(self, log: str, partitions: int) -> None:
        self._log = log
        self._next = [0] * partitions

    def row(self, event: Event) -> ArchiveRow:
        key = record_key_of(event)
        partition = partition_of(key, len(self._next))
        offset = self._next[partition]
        self._next[partition] = offset + 1
        return event_row((self._log, partition, offset), event, key.encode(), encode(event))
