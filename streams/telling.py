"""Changes of the catalogue that wait in Redis go onto the log of events: each into every partition, then it goes.

What waits was written in one step with the items, oldest first. One is taken at a time, and acknowledged in all
partitions before the next: so in each of them the first of each change comes in the order of the catalogue's log. A
crash between sending and taking away sends it again, with the same bytes; so does a second worker that believes it
still has the partition.
"""

import asyncio
from collections.abc import Iterable
from typing import Final

from features.catalog_changes import into
from features.catalog_store import CatalogStore
from features.events import decode, encode, record_key_of
from infra import metrics
from infra.errors import KafkaAway
from infra.kafka import Outgoing, Producer
from infra.logs import logger
from infra.metrics import Metrics
from infra.redis import told_as_away
from infra.topics import EVENTS
from streams.patience import patiently

_log = logger(__name__)

_LONGEST_PAUSE_S: Final = 5.0


class Teller:
    """Knows in which partitions of the catalogue changes may wait, and tells them."""

    def __init__(self, store: CatalogStore, producer: Producer, partitions: int, measured: Metrics, where: str) -> None:
        """`partitions`: of the topic of events; `where` is Redis' address, for messages."""
        self._store = store
        self._producer = producer
        self._partitions = partitions
        self._metrics = measured
        self._where = where
        self._left: dict[int, None] = {}
        self._wake = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()
        self._trouble = False

    @property
    def blocked(self) -> bool:
        """Whether changes wait because Kafka took none of them the last time."""
        return self._trouble

    def note(self, partitions: Iterable[int]) -> None:
        """Something may wait in these."""
        self._left |= dict.fromkeys(partitions)
        if self._left:
            self._done.clear()
            self._wake.set()

    async def until_told(self) -> None:
        """Wait until nothing waits any more: the catalogue goes on no faster than its changes are told."""
        await self._done.wait()

    async def run(self) -> None:
        """Tell what waits until cancelled; while Kafka is away it is tried again for good.

        Raises:
            Unavailable: Redis stayed away.
        """
        pause = 0.0
        while True:
            await self._wake.wait()
            partition = next(iter(self._left))
            del self._left[partition]
            try:
                await self.tell(partition)
                pause, self._trouble = 0.0, False
            except KafkaAway as error:
                self.note([partition])
                self._trouble = True
                pause = min(_LONGEST_PAUSE_S, 2 * pause + 0.1)
                _log.warning("changes of items wait for Kafka", in_s=pause, why=error.message)
                await asyncio.sleep(pause)
            if not self._left:
                self._wake.clear()
                self._done.set()

    async def tell(self, partition: int) -> int:
        """Tell all that waits in one partition of the catalogue; how many events that were, each in every partition.

        Raises:
            KafkaAway: what was not acknowledged and taken away stays.
            Unavailable: Redis stayed away.
        """
        told = 0
        while True:
            waiting = await patiently("reading changes of items", self._first, partition)
            if waiting is None:
                return told
            event = decode(waiting)
            copies = [into(event, each) for each in range(self._partitions)]
            await self._producer.send_many(
                [Outgoing(EVENTS, each, record_key_of(copy), encode(copy)) for each, copy in enumerate(copies)]
            )
            await patiently("taking away what was told", self._gone, partition, waiting)
            told += 1
            for change in event.changed.items if event.changed is not None else ():
                for kind in change.kinds:
                    self._metrics.count(metrics.ITEM_CHANGES_TOLD, kind=kind)

    async def _first(self, partition: int) -> bytes | None:
        with told_as_away(self._where):
            return await self._store.waiting(partition)

    async def _gone(self, partition: int, change: bytes) -> None:
        with told_as_away(self._where):
            await self._store.told(partition, change)
