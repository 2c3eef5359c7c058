"""The brake of a load: how far the log may be ahead of whoever consumes it."""

import asyncio
from collections.abc import Mapping
from io import StringIO

from rich.console import Console

from infra.errors import RedisAway
from infra.kafka import Outgoing
from infra.topics import EVENTS
from streams.pausing import Pause
from streams.progress import Phases
from streams.through_log import Ahead, Gate, chunks


class Consumer:
    """Applies what the test says; each look at it is counted."""

    def __init__(self) -> None:
        self.applied: dict[int, int] = {}
        self.looked_at = asyncio.Event()
        self.away_for = 0

    async def positions(self) -> Mapping[int, int]:
        self.looked_at.set()
        if self.away_for:
            self.away_for -= 1
            raise RedisAway("Redis is started again")
        return self.applied

    def gate(self, records: int, bytes_: int) -> Gate:
        return self.gate_of(Ahead(records, bytes_))

    def gate_of(self, bound: Ahead | None) -> Gate:
        return Gate(EVENTS, bound, self.positions, Phases(Console(file=StringIO())))

    async def holds_back(self, gate: Gate) -> "asyncio.Task[None]":
        """A loader that waits for room."""
        waiting = asyncio.ensure_future(gate.room())
        await self.looked_at.wait()
        assert not waiting.done()
        return waiting


async def test_records_of_all_partitions_count() -> None:
    consumer = Consumer()
    gate = consumer.gate(records=3, bytes_=1000)
    for partition in range(4):
        await gate.room()
        gate.note(partition, 7, 10)
    waiting = await consumer.holds_back(gate)
    consumer.applied[2] = 7
    await waiting
    assert gate.waiting == 3


async def test_bytes_count_until_they_are_applied() -> None:
    consumer = Consumer()
    gate = consumer.gate(records=100, bytes_=1000)
    gate.note(0, 0, 600)
    gate.note(1, 0, 600)
    waiting = await consumer.holds_back(gate)
    consumer.applied[1] = 0
    await waiting
    gate.note(0, 1, 100)
    consumer.applied[0] = 1
    told: list[int] = []
    await gate.drained(told.append)
    assert told == [2]


async def test_a_load_outlives_a_redis_that_is_started_again() -> None:
    consumer = Consumer()
    consumer.away_for = 2
    gate = consumer.gate(records=100, bytes_=1000)
    gate.note(0, 0, 10)
    consumer.applied[0] = 0
    await gate.drained(lambda _: None)
    assert (gate.waiting, consumer.away_for) == (0, 0)


async def test_without_a_bound_nothing_is_remembered_and_nobody_asked() -> None:
    """A load of hundreds of millions that does not wait: the gate stays as small as it was."""
    consumer = Consumer()
    gate = consumer.gate_of(None)
    for offset in range(1000):
        gate.note(0, offset, 1 << 60)
        await gate.room()
    assert gate.waiting == 0
    await gate.drained(lambda _: None)
    assert not consumer.looked_at.is_set()


def test_a_chunk_is_few_records_or_few_bytes() -> None:
    small, large = (Outgoing(EVENTS, 0, "k", b"x" * size) for size in (10, 300_000))
    assert [len(chunk) for chunk in chunks([small] * 1100)] == [500, 500, 100]
    assert [len(chunk) for chunk in chunks([large] * 5)] == [2, 2, 1]
    assert list(chunks([])) == []


async def test_a_paused_worker_is_named_with_the_way_to_go_on() -> None:
    async def pause() -> Pause:
        return Pause(0, "ann", "a new index")

    consumer, told, now = Consumer(), StringIO(), iter(range(0, 10_000, 6))
    phases = Phases(Console(file=told), monotonic=lambda: float(next(now)))
    gate = Gate(EVENTS, Ahead(1, 1000), consumer.positions, phases, pause)
    gate.note(0, 0, 10)
    gate.note(1, 0, 10)
    waiting = asyncio.ensure_future(gate.room())
    while not told.getvalue():
        await asyncio.sleep(0)
    consumer.applied = {0: 0, 1: 0}
    await waiting
    assert told.getvalue().startswith(
        "the workers are paused since 1970-01-01T00:00:00Z by ann: a new index; they go on with `daogou streams "
        "resume` (2 records wait for it)"
    )
