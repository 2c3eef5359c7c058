"""The catalogue's part of a worker: who keeps its items, tells of them, archives its log, and knows where that ends."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

from redis.asyncio import Redis

from features.catalog_archive import FOLDER
from features.catalog_store import CatalogStore
from features.online import OnlineWriter
from infra.kafka import Producer
from infra.kafka_admin import EndOffsets, end_offsets
from infra.keys import LIVE, feast_project
from infra.metrics import Metrics
from infra.redis import address
from infra.settings import Settings
from infra.topics import CATALOG
from streams.archive_turns import HOLD
from streams.archiver import Source, archiver_at
from streams.bad_stop import BadStop
from streams.catalogue import CatalogueKeeper
from streams.holds import Hold
from streams.inbox import Inbox
from streams.marketing.backlog import LogEnds
from streams.marketing.stocked import Stocked
from streams.patience import patiently
from streams.telling import Teller
from streams.worker.ends import Ends
from streams.worker.positions import Logs, after_fences, next_on_log, next_or_end
from streams.worker.watching import Catalogue, Log

# An inbox holds this many micro-batches, so that one is read while another is applied.
READ_AHEAD: Final = 4


class CatalogueSide:
    """Everything of one worker that reads `shop.catalog.v1`; what comes of it is put into `inbox`."""

    def __init__(
        self, settings: Settings, redis: Redis, producer: Producer, logs: Logs, measured: Metrics, token: str
    ) -> None:
        where, partitions = address(settings.redis), settings.partition_count
        self.store = CatalogStore(redis)
        self.inbox = Inbox(READ_AHEAD * settings.batch_events)
        self._logs = logs
        self._metrics = measured
        self._most = settings.batch_events
        self._began: Mapping[int, int] = {}
        self._bad_stop: BadStop | None = None
        self._ends = EndOffsets(logs.bootstrap, CATALOG)
        self._next_on_log = partial(next_on_log, logs, CATALOG)
        self._stocked = Stocked(self.store, logs.catalogue, partitions, where)
        self._teller = Teller(self.store.news, producer, partitions, measured, where)
        self._keeper = CatalogueKeeper(
            self.store,
            OnlineWriter(redis, feast_project(LIVE)),
            producer,
            self._next_on_log,
            partitions=partitions,
            where=where,
            teller=self._teller,
            low_stock=settings.low_stock,
        )
        self._archiver = archiver_at(
            settings.archive_at / FOLDER,
            Source(logs.bootstrap, logs.catalogue, logs.embedded, CATALOG),
            Hold(redis, f"{HOLD}-catalogue", token, alone=True, where=where),
            measured,
        )

    @property
    def stock(self) -> tuple[Stocked, LogEnds]:
        """How far the items are, and where their log ends, for whoever must not act on old ones."""
        ends = Ends(
            lambda partitions: asyncio.to_thread(self._ends.of, partitions),
            dict,
            lambda: self._stocked.after,
            partial(next_or_end, self._logs, CATALOG),
        )
        return self._stocked, ends.of

    @property
    def watched(self) -> Catalogue:
        """What is looked at for standing still."""
        log = Log(CATALOG, self._ends, lambda: self._began, self._next_on_log)
        return Catalogue(log, lambda: self._keeper.reached, self._teller.blocked)

    def judged_by(self, bad_stop: BadStop) -> None:
        """Too many bad records stop it."""
        self._bad_stop = self._keeper.bad_stop = bad_stop

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What runs until the worker ends; each ends only by failing."""
        return (
            self._keeper.run(self.inbox, self._most, self._metrics),
            self._teller.run(),
            self._archiver.run(),
        )

    async def check(self) -> None:
        """Compare Redis with what was left there.

        Raises:
            WentBack, RedisAway.
        """
        await self._keeper.check()

    async def settle(self) -> None:
        """Let the archiver reach what was applied."""
        await self._archiver.until_read(self._keeper.reached, behind=0)

    async def begin(self, partitions: Sequence[int]) -> dict[tuple[str, int], int]:
        """Take over these partitions; where to read on. What lies on a log that is read first is no news.

        Raises:
            Refused: too many of its records were bad.
            Unavailable: Redis or Kafka stayed away.
        """
        logs = self._logs
        if self._bad_stop is not None:
            await patiently("asking for a stop", self._bad_stop.begin, CATALOG, logs.catalogue)
        reached = await patiently("reading positions", self._keeper.begin, partitions, logs.catalogue)
        new = [partition for partition, offset in reached.items() if offset < 0]
        if new:
            ends = await patiently("reading offsets", asyncio.to_thread, end_offsets, logs.bootstrap, CATALOG)
            unread = {partition: ends[partition] for partition in new if ends[partition] > 0}
            await patiently("beginning with a catalogue", self._keeper.first_reading, unread)
        positions = await patiently("reading offsets", after_fences, logs, CATALOG, reached, self._metrics)
        self.inbox.clear()
        self._keeper.read_from(positions)
        self._began = positions
        return {(CATALOG, partition): offset for partition, offset in positions.items()}
