"""A catalogue whose changes are told: its log, its keeper, and what each partition of the events got."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from redis.asyncio import Redis

from features.catalog import Content, FacetRecord, Price, Stock, encode_record, key_of
from features.catalog_changes import FIRST_LOAD_MS
from features.catalog_news import CatalogNews
from features.catalog_store import CatalogStore
from features.events import decode
from features.items_changed import ItemsChanged
from features.online import OnlineWriter
from infra import keys
from infra.errors import KafkaAway
from infra.kafka import Follower, Outgoing, Producer, Record
from infra.kafka_admin import end_offsets
from infra.keys import LIVE, feast_project, partition_of, record_key
from infra.metrics import Metrics
from infra.topics import CATALOG, EVENTS
from streams.batch import PartitionBatch
from streams.catalogue import CatalogueKeeper
from streams.telling import Teller
from tests.streams.shop import PARTITIONS

LOG = "catalogue-of-the-test"
HOME = partition_of(record_key("default", "tea"), PARTITIONS)
LATER = FIRST_LOAD_MS + 1


def content(item_id: str = "tea") -> FacetRecord:
    return FacetRecord(tenant="default", item_id=item_id, content=Content(name="Tea"))


def price(amount: str, item_id: str = "tea") -> FacetRecord:
    return FacetRecord(tenant="default", item_id=item_id, price=Price(price=Decimal(amount), currency="EUR"))


def stock(quantity: int, item_id: str = "tea") -> FacetRecord:
    return FacetRecord(tenant="default", item_id=item_id, stock=Stock(quantity=quantity, available=quantity > 0))


def at_home(many: int) -> list[str]:
    """So many items of the partition."""
    found = (f"tea-{n}" for n in range(100_000))
    return [
        next(one for one in found if partition_of(record_key("default", one), PARTITIONS) == HOME) for _ in range(many)
    ]


@dataclass
class Catalogue:
    """The catalogue's log, a worker that keeps it and may die, and the log of events behind its start."""

    redis: Redis
    producer: Producer
    bootstrap: str
    records: list[Record] = field(default_factory=list)
    keeper: CatalogueKeeper | None = None
    measured: Metrics = field(default_factory=Metrics)

    def __post_init__(self) -> None:
        self.since = end_offsets(self.bootstrap, EVENTS)

    def append(self, *facets: FacetRecord, at_ms: int = LATER) -> None:
        for facet in facets:
            key, value = key_of(facet).encode(), encode_record(facet)
            self.records.append(Record(CATALOG, HOME, len(self.records), key, value, at_ms))

    async def started(self) -> CatalogueKeeper:
        if self.keeper is None:
            self.keeper = CatalogueKeeper(
                CatalogStore(self.redis),
                OnlineWriter(self.redis, feast_project(LIVE)),
                self.producer,
                nowhere,
                partitions=PARTITIONS,
            )
            await self.keeper.begin([HOME], LOG)
        return self.keeper

    async def apply(self, stop: int | None = None) -> None:
        """Apply what is not applied yet, without telling it."""
        keeper = await self.started()
        batch = PartitionBatch(HOME, LOG, self.records[:stop], topic=CATALOG)
        await keeper.apply(batch, self.measured)

    def teller(self, producer: Producer | None = None) -> Teller:
        return Teller(CatalogNews(self.redis), producer or self.producer, PARTITIONS, self.measured, "Redis")

    async def tell(self) -> int:
        return await self.teller().tell(HOME)

    async def waiting(self) -> int:
        return await self.redis.llen(keys.changes(HOME))

    def on_log(self) -> list[list[bytes]]:
        """What each partition of the events has got since."""
        ends = end_offsets(self.bootstrap, EVENTS)
        found: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
        left = sum(ends.values()) - sum(self.since.values())
        follower = Follower(self.bootstrap, EVENTS, self.since, embedded=True)
        while left > 0:
            for record in follower.read(1000, 5.0):
                left -= 1
                found[record.partition].append(record.value or b"")
        follower.close()
        return found

    def told(self) -> list[list[tuple[str, tuple[str, ...]]]]:
        """(item, kinds) in each partition, in order."""
        return [[(one.item_id, one.kinds) for raw in of for one in changed_in(raw).items] for of in self.on_log()]


def changed_in(raw: bytes) -> ItemsChanged:
    changed = decode(raw).changed
    assert changed is not None
    return changed


async def nowhere(partition: int, offset: int) -> int:
    return offset


class Dying(Producer):
    """Kafka is gone after so many records of one call: they are on the log, and nobody heard of it."""

    left = 3

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        await super().send_many(records[: self.left])
        raise KafkaAway("the brokers are away")
