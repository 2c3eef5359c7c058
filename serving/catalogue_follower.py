"""Keeps the catalogue of this process up to date: from Redis at first, then record by record from the log."""

import asyncio
from collections.abc import Mapping
from typing import Final

from features import catalog
from features.catalog import FacetRecord
from features.catalog_store import CatalogStore
from infra.errors import BadInput
from infra.kafka import Follower, Record
from infra.logs import logger
from infra.metrics import CATALOG_ITEMS, CATALOG_RECORDS, CATALOG_UNREADABLE, Metrics
from infra.redis import told_as_away
from serving.catalogue import Catalogue
from serving.following import PAUSE_S, Following
from serving.topic import Topic, read

_READ_MOST: Final = 200  # records applied in one go: pages wait meanwhile
_READ_S: Final = 0.2
_CHECK_LOADS_EVERY: Final = 25  # reads

_log = logger(__name__)


class CatalogueFollower:
    """`load` once, then `run` until cancelled."""

    def __init__(
        self,
        catalogue: Catalogue,
        store: CatalogStore,
        topic: Topic,
        tenant: str,
        *,
        where: str,
        metrics: Metrics,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`where` is Redis' address, for messages; `pause_s` is waited after trouble."""
        self._where = where
        self._catalogue = catalogue
        self._store = store
        self._topic = topic
        self._tenant = tenant
        self._metrics = metrics
        self._partitions = range(0)
        self._follower: Follower | None = None
        self._loads: dict[int, tuple[str, int]] = {}
        self._ends: dict[int, int] = {}
        self._rounds = 0
        self._following = Following("the catalogue", self._once, self.load, pause_s=pause_s)

    @property
    def trouble(self) -> str:
        """Why changes of items do not arrive at this moment; empty when they do."""
        return self._following.trouble

    @property
    def caught_up(self) -> bool:
        """Whether the items contain everything that was on the log when they were loaded."""
        reached = self._catalogue.positions
        return all(reached.get(partition, -1) + 1 >= end for partition, end in self._ends.items())

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self._catalogue)

    async def load(self) -> None:
        """All items as Redis has them, without those that cannot be read, and a reader from there on.

        Raises:
            RedisAway, KafkaAway.
        """
        starts = await asyncio.to_thread(self._topic.starts)
        self._ends = {
            partition: end
            for partition, end in (await asyncio.to_thread(self._topic.ends)).items()
            if end > starts[partition]
        }
        self._partitions = range(len(starts))
        self._loads = await self._foreign_loads()
        unreadable: list[str] = []
        with told_as_away(self._where):
            items, stands = await self._store.load(
                self._tenant, self._partitions, self._topic.log, unreadable=unreadable
            )
        # A position before the log's start has nothing behind it but what was compacted or forgotten.
        positions = {
            partition: max(start, stands[partition][1] + 1) if partition in stands else start
            for partition, start in starts.items()
        }
        self._catalogue.replace_all(items, {partition: at - 1 for partition, at in positions.items()})
        self._follow(positions)
        self._metrics.set(CATALOG_ITEMS, len(self._catalogue))
        self._metrics.set(CATALOG_UNREADABLE, len(unreadable))

    async def run(self) -> None:
        """Apply records as they come; after trouble, load anew. Ends only when cancelled."""
        try:
            await self._following.run()
        finally:
            self._end_follower()

    async def _once(self) -> None:
        assert self._follower is not None, "load() comes first"
        records = await read(self._follower, _READ_MOST, _READ_S)
        for record in records:
            self._apply(record)
        if records:
            self._metrics.set(CATALOG_ITEMS, len(self._catalogue))
        self._rounds += 1
        if self._rounds % _CHECK_LOADS_EVERY == 0 and await self._foreign_loads() != self._loads:
            await self.load()

    def _apply(self, record: Record) -> None:
        try:
            facet: FacetRecord = catalog.decode_record(record.key, record.value)
            if facet.tenant == self._tenant:
                self._catalogue.apply(facet, record.offset)
                self._metrics.count(CATALOG_RECORDS)
        except BadInput as error:  # the worker keeps it as a dead letter
            _log.warning("a catalogue record was passed over", code=error.reason, offset=record.offset)
        except Exception:  # one record may not keep all that come after it away
            _log.exception("a catalogue record was passed over", partition=record.partition, offset=record.offset)
        self._catalogue.positions[record.partition] = record.offset

    async def _foreign_loads(self) -> dict[int, tuple[str, int]]:
        """What was last written by loads that did not go through the log."""
        with told_as_away(self._where):
            last = await self._store.positions(self._partitions)
        return {partition: at for partition, at in last.items() if at[0] != self._topic.log}

    def _follow(self, positions: Mapping[int, int]) -> None:
        self._end_follower()
        self._follower = self._topic.follow(positions)

    def _end_follower(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None
