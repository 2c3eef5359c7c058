"""Where a replay's records come from: the topic, the archive, or a file read through a mapping."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa

from features.archive import EventArchive, Segment
from features.archive_order import Window
from features.events import Event, encode, record_key_of, to_ms
from infra.errors import KafkaAway
from infra.kafka import Follower, Record
from infra.keys import partition_of
from infra.settings import Settings
from infra.topics import EVENTS
from streams.batch import PartitionBatch
from streams.direct import BATCH_EVENTS, BATCH_SHOPPERS, ArchivedRecord

# A batch of several partitions is smaller: it is folded while the next is read.
_KAFKA_BATCH: Final = 5000
_READ_S: Final = 0.5
_SILENT_S: Final = 30.0

Batches = AsyncGenerator[list[PartitionBatch], None]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Records of one log, of some partitions; `read` gives those above the fences, in micro-batches."""

    log: str
    partitions: Sequence[int]
    read: Callable[[Mapping[int, int]], Batches]


@dataclass(frozen=True, slots=True)
class Size:
    """How large a micro-batch may be."""

    events: int = BATCH_EVENTS
    shoppers: int = BATCH_SHOPPERS


def from_kafka(settings: Settings, windows: Sequence[Window], size: Size) -> list[Stretch]:
    """The records of the topic."""
    if not windows:
        return []
    ends = {window.partition: window for window in windows}

    def read(fences: Mapping[int, int]) -> Batches:
        return _followed(settings, windows[0].log, ends, fences, min(size.events, _KAFKA_BATCH))

    return [Stretch(windows[0].log, sorted(ends), read)]


async def _followed(
    settings: Settings, log: str, ends: Mapping[int, Window], fences: Mapping[int, int], most: int
) -> Batches:
    positions = {p: max(window.first, fences[p] + 1) for p, window in ends.items() if fences[p] < window.last}
    if not positions:
        return
    follower = Follower(settings.brokers, EVENTS, positions, embedded=settings.embedded_kafka)
    loop = asyncio.get_running_loop()
    reading = asyncio.ensure_future(asyncio.to_thread(follower.read, most, _READ_S))
    heard = loop.time()
    try:
        while positions:
            records = [record for record in await asyncio.shield(reading) if record.partition in positions]
            for record in records:
                if record.offset >= ends[record.partition].last:
                    positions.pop(record.partition, None)
            if positions:  # the next are read while these are applied
                reading = asyncio.ensure_future(asyncio.to_thread(follower.read, most, _READ_S))
            if records:
                heard = loop.time()
                yield by_partition(log, records, ends)
            elif loop.time() - heard > _SILENT_S:
                raise KafkaAway(
                    f"Kafka at {settings.kafka} gave no record of {EVENTS} for {_SILENT_S:.0f} s; start it, then run "
                    "the same replay again: it goes on where it was"
                )
    finally:
        await asyncio.gather(reading, return_exceptions=True)
        await asyncio.to_thread(follower.close)


def by_partition(log: str, records: Sequence[Record], ends: Mapping[int, Window]) -> list[PartitionBatch]:
    """The records within their windows, as one batch of each partition."""
    shares: dict[int, list[ArchivedRecord]] = {}
    for record in records:
        if record.offset <= ends[record.partition].last:
            one = ArchivedRecord(record.offset, record.key, record.value, record.timestamp)
            shares.setdefault(record.partition, []).append(one)
    return [PartitionBatch(partition, log, share) for partition, share in sorted(shares.items())]


def from_archive(archive: EventArchive, windows: Sequence[Window], size: Size) -> list[Stretch]:
    """The records of the archive, window by window: the order in which they were applied."""
    segments: dict[tuple[str, int], list[Segment]] = {}
    for segment in archive.segments():
        segments.setdefault((segment.log, segment.partition), []).append(segment)

    def stretch(window: Window) -> Stretch:
        def read(fences: Mapping[int, int]) -> Batches:
            after = max(window.first - 1, fences[window.partition])
            of_it = segments.get((window.log, window.partition), [])
            return _archived(archive, of_it, window, after, size)

        return Stretch(window.log, (window.partition,), read)

    return [stretch(window) for window in windows]


async def _archived(
    archive: EventArchive, segments: Sequence[Segment], window: Window, after: int, size: Size
) -> Batches:
    for records in _cut(_records(archive, segments, after, window.last), size):
        yield [PartitionBatch(window.partition, window.log, records)]


def _records(archive: EventArchive, segments: Sequence[Segment], after: int, last: int) -> Iterator[ArchivedRecord]:
    """The records in (after, last], each once, in the order of their offsets."""
    for segment in segments:
        if segment.last <= after or segment.first > last:
            continue
        for batch in archive.read(segment, ("offset", "key", "value", "received_at")):
            for record in map(ArchivedRecord, *_columns(batch)):
                if after < record.offset <= last:
                    after = record.offset
                    yield record


def _columns(batch: Any) -> list[list[Any]]:
    offset, key, value = (batch.column(name).to_pylist() for name in ("offset", "key", "value"))
    return [offset, key, value, batch.column("received_at").cast(pa.int64()).to_pylist()]


def _cut(records: Iterator[ArchivedRecord], size: Size) -> Iterator[list[ArchivedRecord]]:
    """Many events of few shoppers, or few of many: whichever bound is reached first ends a batch."""
    cut, shoppers = list[ArchivedRecord](), set[bytes | None]()
    for record in records:
        if cut and (len(cut) >= size.events or len(shoppers) >= size.shoppers):
            yield cut
            cut, shoppers = [], set()
        cut.append(record)
        shoppers.add(record.key)
    if cut:
        yield cut


def from_events(events: Callable[[], Iterator[Event]], log: str, partitions: int, size: Size) -> list[Stretch]:
    """Events of a file, numbered in their partitions as a direct load numbers them."""

    def read(fences: Mapping[int, int]) -> Batches:
        return _numbered(events(), log, partitions, fences, size)

    return [Stretch(log, range(partitions), read)]


async def _numbered(
    events: Iterator[Event], log: str, partitions: int, fences: Mapping[int, int], size: Size
) -> Batches:
    following, count = [0] * partitions, 0
    shares: dict[int, list[ArchivedRecord]] = {}
    for event in events:
        key = record_key_of(event)
        partition = partition_of(key, partitions)
        offset = following[partition]
        following[partition] = offset + 1
        if offset <= fences[partition]:
            continue
        at = event.occurred_at if event.received_at is None else event.received_at
        shares.setdefault(partition, []).append(ArchivedRecord(offset, key.encode(), encode(event), to_ms(at)))
        count += 1
        if count >= min(size.events, _KAFKA_BATCH):
            yield [PartitionBatch(p, log, share) for p, share in sorted(shares.items())]
            shares, count = {}, 0
    if shares:
        yield [PartitionBatch(p, log, share) for p, share in sorted(shares.items())]
