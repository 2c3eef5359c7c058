"""Faust's Kafka transport, with two changes: one message carries many records, and reading begins at our
fences.

Stock Faust makes a message, and a task, of every record; here one message is what a fetch brought of one
partition. And where stock Faust goes on from the group's commit, this goes on from what Redis says was
applied: the commits are for displays of lag only. It overrides private methods of Faust 0.15.3, which is
pinned; tests/streams covers them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiokafka
import faust
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, ConsumerMessage

from streams.inbox import Chunk, Inbox

# The next offset to read, by (topic, partition).
Positions = Mapping[tuple[str, int], int]

_FETCH_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Reading:
    """How the log is read.

    Where an assignment begins, how long a fetch may wait at the broker, who takes the chunks.
    """

    positions: Callable[[list[tuple[str, int]]], Awaitable[Positions]]
    revoked: Callable[[], Awaitable[None]]
    fetch_wait_ms: int
    inboxes: Mapping[str, Inbox]


class Consumer(driver.Consumer):
    """Gives one message for each partition of a fetch; seeks to the fences."""

    transport: "Transport"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._applied: dict[TP, int] = {}

    def note_applied(self, topic: str, partition: int, offset: int) -> None:
        """Records up to `offset` have been applied: the group's next commit says so."""
        self._applied[TP(topic, partition)] = offset + 1

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        """A rebalance begins: the batch under way is finished, no other begins."""
        await self.transport.reading.revoked()
        await super().on_partitions_revoked(revoked)

    async def perform_seek(self) -> None:
        """Go to the first record that is not applied yet, in every partition assigned."""
        await super().perform_seek()
        assigned = [(tp.topic, tp.partition) for tp in self.assignment()]
        positions = {TP(*tp): at for tp, at in (await self.transport.reading.positions(assigned)).items()}
        await self.seek_wait(positions)
        for tp, offset in positions.items():
            self._committed_offset[tp] = offset
            self._applied.pop(tp, None)

    async def getmany(self, timeout: float = _FETCH_S) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """What one fetch brings, a message for each partition of it, once the inboxes have room."""
        for inbox in self.transport.reading.inboxes.values():
            if not inbox.room.is_set():
                await self.wait_first(inbox.room.wait(), self.suspend_flow.wait())
        records, active = await self._wait_next_records(timeout)
        generation = self.app.consumer_generation_id
        if not records or self.should_stop:
            return
        if not self.flow_active:  # a rebalance began while the fetch was under way
            await self.perform_seek()
            return
        for tp, fetched in records.items():
            if not self.flow_active or self.app.consumer_generation_id != generation:
                return
            if tp in (active or ()) or tp in self._buffered_partitions:
                yield TP(tp.topic, tp.partition), self._message(tp, fetched, generation)

    def _message(self, tp: TP, fetched: list[Any], generation: int) -> ConsumerMessage:
        last = fetched[-1]
        # Faust hands the value on to the schema below unseen, whatever its type says.
        chunk: Any = Chunk(tp.topic, tp.partition, fetched)
        return ConsumerMessage(
            tp.topic,
            tp.partition,
            last.offset,
            last.timestamp / 1000.0,
            last.timestamp_type,
            None,
            None,
            chunk,
            None,
            tp=TP(tp.topic, tp.partition),
            generation_id=generation,
        )

    def _new_consumer_thread(self) -> "ConsumerThread":
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:  # noqa: ARG002
        return iter(list(self._applied))

    def _filter_committable_offsets(self, tps: Iterable[TP]) -> dict[TP, int]:
        return {tp: self._applied[tp] for tp in tps if self._applied[tp] > (self._committed_offset[tp] or 0)}

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """A message stands for all records up to its offset: there is no gap before it."""


class ConsumerThread(driver.AIOKafkaConsumerThread):
    """Sets what Faust has hard-coded."""

    consumer: Consumer

    def _create_worker_consumer(self, transport: driver.Transport) -> aiokafka.AIOKafkaConsumer:
        consumer = super()._create_worker_consumer(transport)
        consumer._fetch_max_wait_ms = self.consumer.transport.reading.fetch_wait_ms
        # As the archiver and a replay read: what a producer took back must not be in live rows alone.
        consumer._isolation_level = "read_committed"
        return consumer


class Transport(driver.Transport):
    """The transport of the worker's app."""

    Consumer = Consumer
    reading: Reading


class ChunkSchema(faust.Schema[Any, Any]):
    """Hands chunks on as they are: decoding is the pipeline's work."""

    def compile(self, app: Any, **_: Any) -> Callable[..., Awaitable[Any]]:
        """The decoder that Faust calls for each message."""

        async def decode(message: Any, **_: Any) -> Any:
            return app.create_event(None, message.value, (), message)

        return decode
