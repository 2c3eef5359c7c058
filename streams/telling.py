"""Changes of the catalogue that wait in Redis go onto the log of events: each into every partition, then it goes.

What waits was written in one step with the items, oldest first. One is taken at a time, and acknowledged in all
partitions before the next: so in each of them the first of each change comes in the order of the catalogue's log. A
crash between sending and taking away sends it again, with the same bytes; so does a second worker that believes it
still has the partition. What cannot be told, because nobody could read it or its topic does not take it, goes to the
dead letters, and the next one is told.
"""

import asyncio
from collections.abc import Iterable
from functools import partial

from features.catalog_changes import into
from features.catalog_news import CatalogNews
from features.events import Event, decode, encode, record_key_of
from features.items_changed import ITEMS_CHANGED
from infra import metrics
from infra.errors import BadInput, KafkaAway
from infra.kafka import Outgoing
from infra.keys import record_key
from infra.logs import logger
from infra.metrics import Metrics
from infra.redis import told_as_away
from infra.topics import CATALOG, EVENTS
from streams.burying import Sending, bury, sent_or_buried
from streams.dead_letters import EFFECT_TOO_LARGE, letters_of_effect
from streams.draining import Blocked
from streams.patience import KAFKA_PAUSES, for_good, patiently

_log = logger(__name__)


class Teller:
    """Knows in which partitions of the catalogue changes may wait, and tells them."""

    def __init__(self, news: CatalogNews, producer: Sending, partitions: int, measured: Metrics, where: str) -> None:
        """`partitions`: of the topic of events; `where` is Redis' address, for messages."""
        self._news = news
        self._producer = producer
        self._partitions = partitions
        self._metrics = measured
        self._where = where
        self._left: dict[int, None] = {}
        self._telling: int | None = None
        self._wake = asyncio.Event()
        self._done = asyncio.Event()
        self._done.set()
        self._trouble = ""  # what Kafka said when it took nothing the last time

    def blocked(self) -> Blocked | None:
        """Whether changes of these partitions of the catalogue wait for a Kafka that takes none of them."""
        if not self._trouble:
            return None
        now = () if self._telling is None else (self._telling,)
        return Blocked(tuple(sorted({*now, *self._left})), self._trouble)

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
        while True:
            await self._wake.wait()
            self._telling = next(iter(self._left))
            del self._left[self._telling]
            await for_good(partial(self.tell, self._telling), KafkaAway, self._away, KAFKA_PAUSES)
            self._telling, self._trouble = None, ""
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
            try:
                await self._tell(_read(waiting))
                told += 1
            except BadInput as error:
                await self._bury(partition, waiting, error)
            await patiently("taking away what was told", self._gone, partition, waiting)

    async def _tell(self, event: Event) -> None:
        copies = [into(event, each) for each in range(self._partitions)]
        too_large = await sent_or_buried(
            self._producer,
            [Outgoing(EVENTS, each, record_key_of(copy), encode(copy)) for each, copy in enumerate(copies)],
        )
        if too_large:
            count = too_large.total()
            _log.error("changes of items are too large for their topic; they went to the dead letters", count=count)
            self._metrics.count(metrics.DEAD_LETTERS, count, topic=EVENTS, code=EFFECT_TOO_LARGE)
            if count == len(copies):
                return
        for change in event.changed.items if event.changed is not None else ():
            for kind in change.kinds:
                self._metrics.count(metrics.ITEM_CHANGES_TOLD, kind=kind)

    async def _bury(self, partition: int, waiting: bytes, error: BadInput) -> None:
        """What this version cannot read was written by another one, or is damaged: it can be told by nobody."""
        effect = Outgoing(EVENTS, partition, record_key("", ITEMS_CHANGED), waiting)
        why = f"a change of items that waited in Redis (partition {partition} of {CATALOG}): {error.message}"
        await bury(self._producer, letters_of_effect(effect, error.reason, why))
        _log.error("a change of items cannot be told; it went to the dead letters", code=error.reason)
        self._metrics.count(metrics.DEAD_LETTERS, topic=EVENTS, code=error.reason)

    def _away(self, error: KafkaAway, pause_s: float) -> None:
        self._trouble = error.message
        _log.warning("changes of items wait for Kafka", in_s=pause_s, why=error.message)

    async def _first(self, partition: int) -> bytes | None:
        with told_as_away(self._where):
            return await self._news.waiting(partition)

    async def _gone(self, partition: int, change: bytes) -> None:
        with told_as_away(self._where):
            await self._news.told(partition, change)


def _read(waiting: bytes) -> Event:
    event = decode(waiting)
    if event.changed is None:
        raise BadInput(f"{ITEMS_CHANGED} needs what changed.", path="changed", code="changed_required")
    return event
