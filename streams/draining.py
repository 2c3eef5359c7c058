"""The loop that empties the outboxes, and the brake for when Kafka does not take what they hold."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from infra import metrics
from infra.errors import Fenced, KafkaAway
from infra.logs import logger
from infra.metrics import Metrics
from streams.dead_letters import EFFECT_TOO_LARGE
from streams.outbox import Outbox
from streams.patience import KAFKA_PAUSES, for_good, patiently
from streams.pipeline import Pipeline

_log = logger(__name__)


class Blocked(NamedTuple):
    """Nothing is applied: effects of these partitions wait for a Kafka that takes none of them, as `why` says."""

    partitions: tuple[int, ...]
    why: str


class Drainer:
    """Knows how long the outboxes of the owned partitions are and keeps them short."""

    def __init__(self, pipeline: Pipeline, outbox: Outbox, bound: int, measured: Metrics) -> None:
        self._pipeline = pipeline
        self._outbox = outbox
        self._bound = bound
        self._metrics = measured
        self._lengths: dict[int, int] = {}
        self._wake = asyncio.Event()
        self._below = asyncio.Event()
        self._below.set()
        self._trouble = ""  # what Kafka said when it took nothing the last time

    async def look(self) -> None:
        """Learn what the owned partitions have left to send: they were just claimed, or an answer was lost.

        Raises:
            RedisAway.
        """
        await self._read(None)

    def note(self, lengths: Mapping[int, int]) -> None:
        """Outboxes have these lengths now."""
        if any(lengths.values()) or any(self._lengths.get(p) for p in lengths):
            self._lengths.update(lengths)
            self._signal()

    def blocked(self) -> Blocked | None:
        """Whether the outboxes are full and stay so: a new start of the worker would not change that."""
        full = self._full()
        return Blocked(tuple(sorted(full)), self._trouble) if full and self._trouble else None

    async def until_below_bound(self) -> None:
        """Wait while an outbox is over its bound."""
        if not self._below.is_set():
            _log.warning("nothing is applied: effects wait for Kafka", waiting=self._full(), bound=self._bound)
            await self._below.wait()
            _log.info("applying again: Kafka has taken what waited")

    async def run(self) -> None:
        """Send what waits until cancelled; while Kafka is away it is tried again for good.

        Raises:
            Fenced: a partition has another owner.
            Unavailable: Redis stayed away.
        """
        while True:
            await self._wake.wait()
            await for_good(self._drain_all, KafkaAway, self._away, KAFKA_PAUSES)
            self._trouble = ""

    async def _drain_all(self) -> None:
        for partition in [p for p, length in self._lengths.items() if length]:
            await self._drain(partition)

    def _away(self, error: KafkaAway, pause_s: float) -> None:
        self._trouble = error.message
        _log.warning("effects wait for Kafka", in_s=pause_s, why=error.message)

    async def _drain(self, partition: int) -> None:
        owned = self._pipeline.owned.get(partition)
        if owned is None:
            self.note({partition: 0})
            return
        try:
            refused = await patiently("emptying an outbox", self._empty, partition, owned.epoch)
        except Fenced:
            if self._pipeline.owned.get(partition) != owned:
                return  # claimed anew by this very process meanwhile: the next round goes on
            raise
        if isinstance(refused, KafkaAway):  # waited for in `run`, which says so
            raise refused
        for topic, count in refused.items():
            _log.error("effects too large for their topic went to the dead letters", topic=topic, count=count)
            self._metrics.count(metrics.DEAD_LETTERS, count, topic=topic, code=EFFECT_TOO_LARGE)
        await patiently("reading an outbox", self._read, partition)

    async def _empty(self, partition: int, epoch: int) -> Counter[str] | KafkaAway:
        """How many of each topic were too large, or that Kafka takes none."""
        try:
            return (await self._outbox.drain(partition, epoch))[1]
        except KafkaAway as error:
            return error

    async def _read(self, partition: int | None) -> None:
        """Read one length, or all. Under the lock: a commit in between would have its length overwritten."""
        async with self._pipeline.lock:
            if partition is None:
                self._lengths = await self._outbox.lengths(list(self._pipeline.owned))
                self._signal()
            else:
                self.note(await self._outbox.lengths([partition]))

    def _full(self) -> dict[int, int]:
        return {partition: length for partition, length in self._lengths.items() if length >= self._bound}

    def _signal(self) -> None:
        lengths = self._lengths.values()
        (self._wake.set if any(lengths) else self._wake.clear)()
        (self._below.set if max(lengths, default=0) < self._bound else self._below.clear)()
        for partition, length in self._lengths.items():
            self._metrics.set(metrics.OUTBOX_RECORDS, length, partition=str(partition))
        self._metrics.set(metrics.OUTBOX_FULL, len(self._full()))
