"""The loop that keeps the items in Redis as the catalogue's log says, and their features in Feast's store."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from features.aggregates import ITEM_CONTENT
from features.catalog import FacetRecord, Item, decode_record
from features.catalog_archive import Facet, contents
from features.catalog_changes import LOW_STOCK, Place, Telling
from features.catalog_store import CatalogStore, catalogue_went_back
from features.online import OnlineRow, OnlineWriter
from infra import metrics
from infra.errors import BadInput, TooLarge
from infra.kafka import Producer
from infra.keys import partition_of, record_key
from infra.logs import logger
from infra.metrics import Metrics
from infra.redis import told_as_away
from infra.topics import CATALOG
from streams.bad_stop import BadStop
from streams.batch import PartitionBatch
from streams.burying import sent_or_buried
from streams.continuity import NOTHING_READ, Continuity, NextOnLog
from streams.dead_letters import MAX_RECORD, letter
from streams.inbox import Inbox
from streams.patience import patiently
from streams.telling import Teller

_log = logger(__name__)


class CatalogueKeeper:
    """Applies facets in log order. The store skips what it has seen, so a repeat, or two keepers, do no
    harm.
    """

    def __init__(
        self,
        store: CatalogStore,
        online: OnlineWriter,
        producer: Producer,
        next_on_log: NextOnLog,
        *,
        partitions: int,
        where: str = "Redis",
        teller: Teller | None = None,
        low_stock: int = LOW_STOCK,
    ) -> None:
        """`teller` hears of each partition in which changes may wait; `low_stock`: so many pieces are few."""
        self._store = store
        self._online = online
        self._producer = producer
        self._partitions = partitions
        self._where = where
        self._teller = teller
        self._low_stock = low_stock
        self._reached: dict[int, int] = {}
        self._news_from: dict[int, int] = {}
        self._lock = asyncio.Lock()
        self._order = Continuity(CATALOG, next_on_log)
        self.log = ""
        self.bad_stop: BadStop | None = None

    @property
    def reached(self) -> Mapping[int, int]:
        """The last offset applied of each partition that this one keeps; -1: none."""
        return dict(self._reached)

    async def begin(self, partitions: Sequence[int], log: str) -> Mapping[int, int]:
        """Take over these partitions; the last offset of `log` applied in each (-1: none).

        Raises:
            RedisAway.
        """
        async with self._lock:
            self._order.begin(NOTHING_READ)
            self.log = log
            self._reached = dict.fromkeys(partitions, -1) | await self._positions(partitions)
            with told_as_away(self._where):
                self._news_from = await self._store.news.first_readings(partitions, log)
            if self._teller is not None:
                self._teller.note(partitions)
            return dict(self._reached)

    async def first_reading(self, ends: Mapping[int, int]) -> None:
        """Nothing of the log was applied in these partitions yet: what it holds up to here, below `ends`, is no news.

        Raises:
            RedisAway.
        """
        async with self._lock:
            with told_as_away(self._where):
                await self._store.news.begin_reading(self.log, ends)
                self._news_from |= await self._store.news.first_readings(list(ends), self.log)

    def read_from(self, positions: Mapping[int, int]) -> None:
        """Reading goes on at these offsets."""
        self._order.begin(positions)

    async def run(self, inbox: Inbox, most: int, measured: Metrics) -> None:
        """Apply what comes until cancelled.

        Raises:
            WentBack: records were passed over.
            Unavailable: Redis or Kafka stayed away.
        """
        while True:
            await inbox.some()
            if self._teller is not None:
                # With nothing taken: whoever waits for Kafka here stands still as a pause wants it.
                await self._teller.until_told()
            reading = self._order.reading
            for chunk in inbox.take(most):
                if not await self._order.follows(chunk, reading):
                    continue
                batch = PartitionBatch(chunk.partition, self.log, chunk.records, topic=CATALOG)
                done = await patiently("applying facets", self.apply, batch, measured)
                if self._teller is not None:
                    self._teller.note([chunk.partition])
                measured.count(metrics.CATALOG_RECORDS, done)

    async def apply(self, batch: PartitionBatch, measured: Metrics) -> int:
        """Apply records of one partition; how many. What cannot be read goes to the dead letters first.

        Raises:
            RedisAway, KafkaAway: the same call again is harmless.
            WentBack: Redis holds older items than this process left there; nothing was written.
            Refused: with these too many records would be bad, where `bad_stop` is set; none of them is taken.
        """
        async with self._lock:
            if batch.partition not in self._reached or batch.log != self.log:
                return 0
            new = [r for r in batch.records if r.offset > self._reached[batch.partition]]
            if not new:
                return 0
            facets, letters, reasons = [], [], Counter[str]()
            for record in new:
                try:
                    facet = self._read(batch.partition, record.key, record.value)
                    facets.append(Facet(record.timestamp, batch.log, batch.partition, record.offset, facet))
                except BadInput as error:
                    letters.append(letter(batch, record, error.reason, error.message))
                    reasons[error.reason] += 1
            if self.bad_stop is not None:
                await self.bad_stop.judge(CATALOG, self.log, len(new), reasons)
            for reason, count in reasons.items():
                measured.count(metrics.DEAD_LETTERS, count, topic=CATALOG, code=reason)
            if letters:
                _log.warning("catalogue records went to the dead letters", count=len(letters))
                await sent_or_buried(self._producer, letters)
            with told_as_away(self._where):
                # The features first: after a crash in between they come again, for the position has not
                # moved.
                offset = new[-1].offset

                async def still_there() -> None:
                    await self._compare([batch.partition])

                await write_contents(self._store, self._online, facets, self._partitions, still_there)
                await self._apply(batch.partition, batch.log, facets, offset)
            self._reached[batch.partition] = offset
            if self.bad_stop is not None:
                self.bad_stop.note(CATALOG, len(new), reasons)
            return len(facets)

    async def _apply(self, partition: int, log: str, facets: Sequence[Facet], offset: int) -> None:
        """Into the items, and what is told of it beside them; the rest of a first reading is no news."""
        news_from = self._news_from.get(partition, 0)
        old = [facet for facet in facets if facet.offset < news_from]
        new = facets[len(old) :]
        after = self._reached[partition]
        if old:
            through = old[-1].offset if new else offset
            records = [one.record for one in old]
            await self._store.apply(partition, records, log, through, at_ms=_first_times(old), after=after)
        if new or not old:
            telling = Telling(log, partition, self._low_stock, [Place(one.offset, one.at_ms) for one in new])
            records = [one.record for one in new]
            times = _first_times(new)
            await self._store.apply(partition, records, log, offset, at_ms=times, telling=telling, after=after)

    async def check(self) -> None:
        """Compare the positions in Redis with what this process applied.

        Raises:
            WentBack: Redis holds older items than this process left there.
            RedisAway.
        """
        async with self._lock:
            await self._compare(list(self._reached))

    async def _compare(self, partitions: Sequence[int]) -> None:
        found = await self._positions(partitions)
        for partition in partitions:
            if found.get(partition, -1) < self._reached[partition]:
                raise catalogue_went_back(partition, found.get(partition, -1), self._reached[partition])

    def _read(self, partition: int, key: bytes | None, value: bytes | None) -> FacetRecord:
        if value is not None and len(value) > MAX_RECORD:
            raise TooLarge(f"the record has {len(value):,} bytes, a facet at most {MAX_RECORD:,}")
        record = decode_record(key, value)
        right = partition_of(record_key(record.tenant, record.item_id), self._partitions)
        if right != partition:
            raise BadInput(f"the item belongs to partition {right}", code="wrong_partition")
        return record

    async def _positions(self, partitions: Sequence[int]) -> dict[int, int]:
        with told_as_away(self._where):
            found = await self._store.positions(partitions, self.log)
        return {partition: offset for partition, (_, offset) in found.items()}


def _first_times(facets: Sequence[Facet]) -> dict[str, int]:
    """When the first record of each tenant was written, ms."""
    first: dict[str, int] = {}
    for one in facets:
        first[one.record.tenant] = min(one.at_ms, first.get(one.record.tenant, one.at_ms))
    return first


async def write_contents(
    store: CatalogStore,
    online: OnlineWriter,
    facets: Sequence[Facet],
    partitions: int,
    still_there: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Write the features of items as they will be when these facets, of one log and in its order, are applied.

    `still_there` is asked once the items are read, and raises where they are not what was left in Redis.
    """
    of: dict[str, list[str]] = {}
    for facet in facets:
        of.setdefault(facet.record.tenant, []).append(facet.record.item_id)
    before: dict[tuple[str, str], Item] = {}
    for tenant, item_ids in of.items():
        # What cannot be read begins anew, as it does where the items are written, which says so.
        found = await store.get(tenant, list(dict.fromkeys(item_ids)), partitions, unreadable=[])
        before |= {(tenant, item_id): item for item_id, item in found.items()}
    if still_there is not None:
        await still_there()
    last = {row.key: row for row in contents(facets, before)}
    rows = [OnlineRow(*row, facets[-1].log, facets[-1].offset) for row in last.values()]
    await online.write(ITEM_CONTENT, rows)
