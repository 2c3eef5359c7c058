"""Changes of the catalogue reach every partition of the events once in effect, whatever dies in between."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from features.catalog import Content, FacetRecord, Price, Stock, encode_record, key_of
from features.catalog_changes import FIRST_LOAD_MS
from features.catalog_news import CatalogNews
from features.catalog_store import CatalogStore
from features.events import decode
from features.items_changed import MAX_CHANGED, ItemsChanged
from features.online import OnlineWriter
from infra import keys
from infra.errors import KafkaAway, TooLarge
from infra.kafka import Follower, Outgoing, Producer, Record
from infra.kafka_admin import end_offsets
from infra.keys import LIVE, feast_project, partition_of, record_key
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import CATALOG, DEAD_LETTERS, EVENTS
from streams.batch import PartitionBatch
from streams.catalogue import CatalogueKeeper
from streams.direct import ArchivedRecord
from streams.draining import Blocked
from streams.inbox import Chunk, Inbox
from streams.pipeline import build_pipeline
from streams.telling import Teller
from tests.streams.shop import LOG as EVENTS_LOG
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


@pytest.fixture
async def make(redis: Redis, kafka: str) -> AsyncIterator[Callable[[], Catalogue]]:
    producer = Producer(kafka, embedded=True)
    await producer.start()
    yield lambda: Catalogue(redis, producer, kafka)
    producer.close()


async def test_a_lower_price_reaches_every_partition_once(make: Callable[[], Catalogue]) -> None:
    shop = make()
    shop.append(content(), price("9.50"), stock(20), at_ms=0)
    await shop.apply()
    assert await shop.waiting() == 0, "a first catalogue is no news"
    shop.append(price("8.00"), stock(3))
    await shop.apply()
    assert await shop.tell() == 1
    assert shop.told() == [[("tea", ("price_dropped",)), ("tea", ("low_stock",))]] * PARTITIONS
    assert {changed_in(of[0]).into: changed_in(of[0]).catalogue_partition for of in shop.on_log()} == dict.fromkeys(
        range(PARTITIONS), HOME
    )
    assert await shop.tell() == await shop.waiting() == 0
    assert 'daogou_item_changes_told_total{kind="price_dropped"} 1.0' in shop.measured.text().decode()


async def test_what_was_not_acknowledged_everywhere_comes_again_as_it_was(
    make: Callable[[], Catalogue], kafka: str, settings: Settings, redis: Redis
) -> None:
    shop = make()
    shop.append(content(), price("9.50"), at_ms=0)
    shop.append(price("8.00"))
    await shop.apply(2)
    await shop.apply()
    dying = Dying(kafka, embedded=True)
    await dying.start()
    with pytest.raises(KafkaAway):
        await shop.teller(dying).tell(HOME)
    dying.close()
    assert await shop.waiting() == 1
    shop.keeper = None
    await shop.apply()
    assert await shop.tell() == 1
    on_log = shop.on_log()
    assert [len(of) for of in on_log] == [2] * Dying.left + [1] * (PARTITIONS - Dying.left)
    assert all(len(set(of)) == 1 for of in on_log)
    pipeline = build_pipeline(settings, redis)
    await pipeline.claim(range(PARTITIONS), EVENTS_LOG)
    counts = await pipeline.apply(
        [
            PartitionBatch(p, EVENTS_LOG, [ArchivedRecord(n, None, raw, 0) for n, raw in enumerate(of)])
            for p, of in enumerate(on_log)
        ]
    )
    assert (counts.changes, counts.duplicates) == ({"price_dropped": PARTITIONS}, Dying.left)


async def test_taken_away_is_only_what_was_told(make: Callable[[], Catalogue], redis: Redis) -> None:
    """Two workers believe that they have the partition: the slower one takes nothing of what follows."""
    shop, news = make(), CatalogNews(redis)
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    for amount in ("8.00", "7.00"):
        shop.append(price(amount))
        await shop.apply()
    first = await news.waiting(HOME)
    assert first is not None
    for _ in range(2):
        await news.told(HOME, first)
    assert await shop.waiting() == 1
    assert await news.waiting(HOME) != first


async def test_items_position_and_changes_are_written_together(make: Callable[[], Catalogue], redis: Redis) -> None:
    shop = make()
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    shop.append(price("8.00"))
    await shop.apply()
    waits = await redis.lrange(keys.changes(HOME), 0, -1)
    for _ in range(2):  # its answer was lost: the same call again, by it or by whoever follows
        shop.keeper = None
        await shop.apply()
    assert await redis.lrange(keys.changes(HOME), 0, -1) == waits != []


async def test_redis_that_goes_back_makes_the_same_changes_again(make: Callable[[], Catalogue], redis: Redis) -> None:
    shop = make()
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    saved = {key: await redis.dump(key) for key in await redis.keys("daogou:{c*")}
    shop.append(price("8.00"))
    await shop.apply()
    await shop.tell()
    for key in await redis.keys("daogou:{c*"):
        await redis.delete(key)
    for key, raw in saved.items():
        await redis.restore(key, 0, raw)
    shop.keeper = None
    await shop.apply()
    await shop.tell()
    assert all(len(of) == 2 and of[0] == of[1] for of in shop.on_log())


async def test_what_lies_on_a_log_that_is_read_first_is_no_news(make: Callable[[], Catalogue]) -> None:
    """Redis came back empty, or the shop had its catalogue in Kafka before: the log is read from its start."""
    shop = make()
    shop.append(content(), price("9.50"), price("8.00"), price("7.00"))
    keeper = await shop.started()
    await keeper.first_reading({HOME: 4})
    await shop.apply(2)
    shop.keeper = None  # it dies in the midst of it
    shop.append(price("6.00"))
    await shop.apply()
    await shop.tell()
    assert shop.told() == [[("tea", ("price_dropped",))]] * PARTITIONS
    assert changed_in(shop.on_log()[0][0]).items[0].price_before == Decimal("7.00")


async def test_a_new_item_of_an_old_catalogue_is_news(make: Callable[[], Catalogue]) -> None:
    shop = make()
    shop.append(content("tea"), at_ms=0)
    shop.append(*(facet for one in at_home(2) for facet in (content(one), price("3.00", one), stock(9, one))))
    await shop.apply()
    await shop.tell()
    assert shop.told() == [[(one, ("new_arrival",)) for one in at_home(2)]] * PARTITIONS


async def test_many_changes_go_in_events_of_five_hundred(make: Callable[[], Catalogue]) -> None:
    shop, items = make(), at_home(MAX_CHANGED + 20)
    shop.append(*(facet for one in items for facet in (content(one), price("9.50", one))), at_ms=0)
    await shop.apply()
    shop.append(*(price("8.00", one) for one in items))
    await shop.apply()
    assert await shop.waiting() == 2
    assert await shop.tell() == 2
    for of in shop.on_log():
        assert [len(changed_in(raw).items) for raw in of] == [MAX_CHANGED, 20]
        assert [one.item_id for raw in of for one in changed_in(raw).items] == items


class Recovering(Dying):
    """The same once; then it is back, and notes what the teller said meanwhile."""

    teller: Teller
    said: list[Blocked | None]

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        self.said.append(self.teller.blocked())
        if len(self.said) == 1:
            return await super().send_many(records)
        return await Producer.send_many(self, records)


async def test_kafka_is_waited_for_and_that_is_told(make: Callable[[], Catalogue], kafka: str) -> None:
    shop, producer = make(), Recovering(kafka, embedded=True)
    await producer.start()
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    shop.append(price("8.00"))
    await shop.apply()
    producer.teller, producer.said = shop.teller(producer), []
    producer.teller.note([HOME])
    running = asyncio.ensure_future(producer.teller.run())
    async with asyncio.timeout(30):
        await producer.teller.until_told()
    running.cancel()
    producer.close()
    assert producer.said == [None, Blocked((HOME,), "the brokers are away")]
    assert producer.teller.blocked() is None
    assert [len(set(of)) for of in shop.on_log()] == [1] * PARTITIONS


async def test_the_catalogue_waits_until_its_changes_are_told(make: Callable[[], Catalogue]) -> None:
    shop = make()
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    shop.append(price("8.00"))
    await shop.apply()
    teller = shop.teller()
    await teller.until_told()
    teller.note([HOME])
    waiting = asyncio.ensure_future(teller.until_told())
    running = asyncio.ensure_future(teller.run())
    async with asyncio.timeout(30):
        await waiting
    assert await shop.waiting() == 0
    running.cancel()


async def test_a_change_counts_once_though_redis_went_back_and_the_log_was_cut_otherwise(
    make: Callable[[], Catalogue], redis: Redis
) -> None:
    """Sold out was told alone; after Redis went back it is read together with what came next, and is net nothing."""
    shop = make()
    shop.append(content(), stock(20), at_ms=0)
    await shop.apply()
    saved = {key: await redis.dump(key) for key in await redis.keys("daogou:{c*")}
    shop.append(stock(0))
    await shop.apply()
    await shop.tell()
    for key in await redis.keys("daogou:{c*"):
        await redis.delete(key)
    for key, raw in saved.items():
        await redis.restore(key, 0, raw)
    shop.keeper = None
    shop.append(stock(20))
    await shop.apply()
    await shop.tell()
    first, again = (changed_in(raw).items for raw in shop.on_log()[0])
    assert again[0] == first[0]
    assert [(one.kinds, one.offset) for one in again] == [(("out_of_stock",), 2), (("back_in_stock",), 3)]


async def test_what_nobody_can_read_goes_to_the_dead_letters_and_the_next_is_told(
    make: Callable[[], Catalogue], redis: Redis
) -> None:
    shop = make()
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    page_view = b'{"event_name":"page_view","occurred_at":"2026-11-24T10:00:00Z","event_id":"e","user_id":"u"}'
    await redis.rpush(keys.changes(HOME), b"\xff", page_view)
    shop.append(price("8.00"))
    await shop.apply()
    before = end_offsets(shop.bootstrap, DEAD_LETTERS)
    assert await shop.tell() == 1
    assert await shop.waiting() == 0
    assert shop.told() == [[("tea", ("price_dropped",))]] * PARTITIONS
    letters = letters_since(shop.bootstrap, before, 2)
    assert [(one.value, dict(one.headers)["daogou-reason"]) for one in letters] == [
        (b"\xff", b"not_json"),
        (page_view, b"changed_required"),
    ]
    assert 'daogou_dead_letters_total{code="not_json",topic="shop.events.v1"} 1.0' in shop.measured.text().decode()


def letters_since(bootstrap: str, since: dict[int, int], many: int) -> list[Record]:
    follower = Follower(bootstrap, DEAD_LETTERS, since, embedded=True)
    found: list[Record] = []
    while len(found) < many:
        read = follower.read(many, 5.0)
        assert read, "they are there, or never will be"
        found += read
    follower.close()
    return found


class Narrow(Producer):
    """The topic of events takes no more than 500 bytes; keeps what it took."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap, embedded=True)
        self.took: list[Outgoing] = []

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        if any(len(one.value or b"") > 500 for one in records if one.topic == EVENTS):
            raise TooLarge("a record is larger than its topic allows")
        self.took += records
        return [0] * len(records)


async def test_a_change_that_its_topic_does_not_take_goes_to_the_dead_letters_and_the_next_is_told(
    make: Callable[[], Catalogue], kafka: str
) -> None:
    shop, items, narrow = make(), at_home(3), Narrow(kafka)
    shop.append(*(facet for one in items for facet in (content(one), price("9.50", one))), at_ms=0)
    await shop.apply()
    shop.append(*(price("8.00", one) for one in items))
    await shop.apply()
    shop.append(price("7.00", items[0]))
    await shop.apply()
    assert await shop.teller(narrow).tell(HOME) == 2
    assert await shop.waiting() == 0
    assert [one.topic for one in narrow.took] == [DEAD_LETTERS] * PARTITIONS + [EVENTS] * PARTITIONS
    assert [decode(one.value or b"").changed.into for one in narrow.took] == [*range(PARTITIONS)] * 2
    measured = shop.measured.text().decode()
    assert f'code="effect_too_large",topic="shop.events.v1"}} {PARTITIONS:.1f}' in measured
    assert 'daogou_item_changes_told_total{kind="price_dropped"} 1.0' in measured


async def test_a_pause_comes_to_rest_though_changes_wait_for_kafka(make: Callable[[], Catalogue], kafka: str) -> None:
    class Away(Producer):
        asked = asyncio.Event()

        async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
            self.asked.set()
            raise KafkaAway("the brokers are away")

    shop, away, inbox = make(), Away(kafka, embedded=True), Inbox(100)
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    keeper, teller = await shop.started(), shop.teller(away)
    keeper._teller = teller
    keeper.read_from({HOME: 2})
    shop.append(price("8.00"), price("7.00"))
    inbox.put(Chunk(CATALOG, HOME, shop.records[2:3]))
    running = [asyncio.ensure_future(teller.run()), asyncio.ensure_future(keeper.run(inbox, 1, shop.measured))]
    async with asyncio.timeout(30):
        await away.asked.wait()
    inbox.put(Chunk(CATALOG, HOME, shop.records[3:]))
    inbox.hold(True)
    assert inbox.at_rest
    assert (keeper.reached, inbox.waiting, await shop.waiting()) == ({HOME: 2}, 1, 1)
    for one in running:
        one.cancel()
    assert inbox.at_rest
