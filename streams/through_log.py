"""Loading through Kafka: catalogue first, then events, never further ahead than the consumers can follow.

What is on the log and not yet applied is bounded, in records and in bytes: the embedded broker forgets its
oldest records beyond 5 MiB of a partition without a word, and on a real one live events would wait behind all
of a backfill.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from features import catalog
from features.catalog import FacetRecord
from features.catalog_store import CatalogStore
from features.events import Event, encode, record_key_of
from features.identity import with_links
from infra.errors import KafkaAway
from infra.kafka import Outgoing, Producer, end_offsets, log_id
from infra.keys import partition_of, record_key
from infra.redis import address, told_as_away
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS
from streams.commit import PartitionStore
from streams.interruption import step_done
from streams.patience import patiently
from streams.pausing import Pause, Pauses
from streams.progress import Phases

_CHUNK_RECORDS: Final = 500
_CHUNK_BYTES: Final = 512 << 10
_POLL_S: Final = 0.05
_SILENT_S: Final = 5.0
_BEFORE_BYTES: Final = 1000  # what a record weighs that lay on the log before we came: not known, guessed

Applied = Callable[[], Awaitable[Mapping[int, int]]]
Paused = Callable[[], Awaitable[Pause | None]]


async def nobody() -> Pause | None:
    """Nobody has asked for a pause."""
    return None


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far the log may be ahead of its consumers, all partitions together."""

    records: int
    bytes_: int


# What live events wait behind while a load is on: about a second of one worker's work. It leaves half free of what
# the embedded broker holds of a single partition, which counts more bytes than the values have.
BOUND: Final = Ahead(20_000, 2 << 20)


class Gate:
    """Knows what is on the log and not yet applied, and holds the loader back.

    Without a bound it does neither, and remembers nothing: a real broker keeps whatever is put on it, and who does
    not wait for the worker does not want to be held back.
    """

    def __init__(
        self, topic: str, bound: Ahead | None, applied: Applied, phases: Phases, pause: Paused = nobody
    ) -> None:
        """`pause` tells of the pause in force, which is why nothing moves."""
        self._pause = pause
        self._topic = topic
        self._bound = bound
        self._applied = applied
        self._phases = phases
        self._open: dict[int, deque[tuple[int, int]]] = {}
        self._records = self._bytes = 0

    def note(self, partition: int, offset: int, size: int) -> None:
        """A record is on the log."""
        if self._bound is None:
            return
        self._open.setdefault(partition, deque()).append((offset, size))
        self._records += 1
        self._bytes += size

    async def room(self) -> None:
        """Wait until what is ahead is within the bound."""
        await self._wait(lambda: not self._full, lambda _: None)

    async def drained(self, advance: Callable[[int], None]) -> None:
        """Wait until everything is applied; `advance` hears of records."""
        await self._wait(lambda: not self.waiting, advance)

    @property
    def waiting(self) -> int:
        """Records on the log that are not applied."""
        return self._records

    @property
    def _full(self) -> bool:
        bound = self._bound
        return bound is not None and (self._records > bound.records or self._bytes > bound.bytes_)

    async def _wait(self, enough: Callable[[], bool], advance: Callable[[int], None]) -> None:
        moved_at, silent = self._phases.monotonic(), _SILENT_S
        while not enough():
            before = self.waiting
            await self._look()
            now = self._phases.monotonic()
            if self.waiting < before:
                advance(before - self.waiting)
                moved_at, silent = now, _SILENT_S
            elif now - moved_at > silent:
                await self._say_why(now - moved_at)
                silent += 6 * _SILENT_S
            if not enough():
                await step_done()
                await asyncio.sleep(_POLL_S)

    async def _say_why(self, silent_s: float) -> None:
        pause = await patiently("asking whether the workers are paused", self._pause)
        if pause is not None:
            why = f"the workers are paused {pause.told}; they go on with `daogou streams resume`"
        else:
            why = f"nothing consumes {self._topic} for {silent_s:.0f} s; start `daogou worker`"
        self._phases.say(f"{why} ({self.waiting:,} records wait for it)")

    async def _look(self) -> None:
        for partition, offset in (await patiently("asking how far the worker is", self._applied)).items():
            records = self._open.get(partition)
            while records and records[0][0] <= offset:
                self._bytes -= records.popleft()[1]
                self._records -= 1


class ThroughLog:
    """Produces one load; use it as a context of its own event loop."""

    def __init__(self, settings: Settings, redis: Redis, phases: Phases) -> None:
        self._settings = settings
        self._partitions = settings.partition_count
        self._store = PartitionStore(redis, where=address(settings.redis))
        self._items = CatalogStore(redis)
        self._pauses = Pauses(redis, self._store.where)
        self._phases = phases
        self._producer = Producer(settings.brokers, embedded=settings.embedded_kafka, timeout_ms=30_000)

    async def send(
        self, records: list[FacetRecord], events: Iterable[Event], total: int, *, wait: bool
    ) -> dict[str, int]:
        """Catalogue, then events; with `wait` it ends when the worker has applied them. What is on the log.

        Raises:
            KafkaAway: says how far it came; loading again is safe.
            RedisAway.
        """
        await self._producer.start()
        try:
            bound = BOUND if wait or self._settings.embedded_kafka else None
            items = await self._gate(CATALOG, self._catalogue_positions, bound)
            outgoing = (self._facet(record) for record in records)
            await self._send("catalogue sent", items, outgoing, len(records))
            if wait:
                await self._drain("catalogue applied", items)
            if not total:
                return {"catalogue records": len(records), "events sent": 0}
            gate = await self._gate(EVENTS, self._fences, bound)
            sent = await self._send("events sent", gate, map(self._event, with_links(events)), total)
            if wait:
                await self._drain("events applied", gate)
        finally:
            self._producer.close()
        return {"catalogue records": len(records), "events sent": sent}

    async def _send(self, what: str, gate: Gate, outgoing: Iterable[Outgoing], total: int) -> int:
        sent = 0
        with self._phases.phase(what, total, "records") as advance:
            for chunk in chunks(outgoing):
                await gate.room()
                try:
                    offsets = await self._producer.send_many(chunk)
                except KafkaAway as error:
                    raise KafkaAway(
                        f"{error.message}. {what}: {sent:,} of {total:,}; run the same load again, "
                        "what is there already is not taken twice"
                    ) from None
                for record, offset in zip(chunk, offsets, strict=True):
                    gate.note(record.partition, offset, _size(record))
                sent += len(chunk)
                advance(len(chunk))
                await step_done()
        return sent

    async def _drain(self, what: str, gate: Gate) -> None:
        with self._phases.phase(what, gate.waiting, "records") as advance:
            await gate.drained(advance)

    async def _gate(
        self, topic: str, positions: Callable[[str], Awaitable[Mapping[int, int]]], bound: Ahead | None
    ) -> Gate:
        """A gate that knows what lay on the log before."""
        bootstrap = self._settings.brokers
        log = await asyncio.to_thread(log_id, bootstrap, topic, self._settings.embedded_log)
        gate = Gate(topic, bound, lambda: positions(log), self._phases, self._pauses.now)
        if bound is None:
            return gate
        applied = await positions(log)
        for partition, end in (await asyncio.to_thread(end_offsets, bootstrap, topic)).items():
            behind = end - 1 - applied.get(partition, -1)
            if behind > 0:
                gate.note(partition, end - 1, behind * _BEFORE_BYTES)
        return gate

    async def _fences(self, log: str) -> Mapping[int, int]:
        return await self._store.fences(range(self._partitions), log)

    async def _catalogue_positions(self, log: str) -> Mapping[int, int]:
        with told_as_away(self._store.where):
            found = await self._items.positions(range(self._partitions), log)
        return {partition: offset for partition, (_, offset) in found.items()}

    def _event(self, event: Event) -> Outgoing:
        key = record_key_of(event)
        return Outgoing(EVENTS, partition_of(key, self._partitions), key, encode(event))

    def _facet(self, record: FacetRecord) -> Outgoing:
        of_item = record_key(record.tenant, record.item_id)
        partition = partition_of(of_item, self._partitions)
        return Outgoing(CATALOG, partition, catalog.key_of(record), catalog.encode_record(record))


def chunks(outgoing: Iterable[Outgoing]) -> Iterator[list[Outgoing]]:
    """What is produced before anybody looks again how far the consumers are: few records, or few bytes."""
    chunk, weight = list[Outgoing](), 0
    for record in outgoing:
        chunk.append(record)
        weight += _size(record)
        if len(chunk) == _CHUNK_RECORDS or weight >= _CHUNK_BYTES:
            yield chunk
            chunk, weight = [], 0
    if chunk:
        yield chunk


def _size(record: Outgoing) -> int:
    return len(record.value or b"") + len(record.key)
