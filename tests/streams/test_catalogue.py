"""The catalogue's log becomes items and their features, each record once in effect."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from features.aggregates import ITEM_CONTENT
from features.catalog import Content, FacetRecord, Price, encode_record, key_of, record_keys
from features.catalog_store import CatalogStore
from features.online import OnlineWriter
from infra.errors import TooLarge, WentBack
from infra.kafka import Follower, Outgoing, Producer, Record
from infra.kafka_admin import end_offsets
from infra.keys import LIVE, feast_project, items, items_at, partition_of, record_key
from infra.metrics import Metrics
from infra.topics import CATALOG, DEAD_LETTERS
from streams.batch import PartitionBatch
from streams.catalogue import CatalogueKeeper
from streams.continuity import NextOnLog
from streams.inbox import Chunk, Inbox
from tests.features.online_reader import OnlineReader
from tests.streams.shop import PARTITIONS

LOG = "catalogue-of-the-test"
LIMIT_S = 30.0  # what has not happened by then never will
HOME = partition_of(record_key("default", "tea"), PARTITIONS)
CONTENT = FacetRecord(tenant="default", item_id="tea", content=Content(name="Tea", category="drinks"))
PRICE = FacetRecord(tenant="default", item_id="tea", price=Price(price=Decimal("3.20"), currency="EUR"))


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[Producer]:
    one = Producer(kafka, embedded=True)
    await one.start()
    yield one
    one.close()


@pytest.fixture
def keeper(redis: Redis, producer: Producer) -> CatalogueKeeper:
    online = OnlineWriter(redis, feast_project(LIVE))
    return CatalogueKeeper(CatalogStore(redis), online, producer, on_log(2), partitions=PARTITIONS)


def on_log(offset: int) -> NextOnLog:
    """A broker whose first record is that one."""

    async def next_on_log(partition: int, after: int) -> int:
        assert partition == HOME
        return max(offset, after)

    return next_on_log


def batch(*values: FacetRecord | bytes, start: int = 0) -> PartitionBatch:
    records = [
        Record(CATALOG, HOME, start + n, b"", value, 0)
        if isinstance(value, bytes)
        else Record(CATALOG, HOME, start + n, key_of(value).encode(), encode_record(value), 0)
        for n, value in enumerate(values)
    ]
    return PartitionBatch(HOME, LOG, records, topic=CATALOG)


async def features(redis: Redis) -> dict[str, object]:
    reader = OnlineReader(redis, feast_project(LIVE))
    [values] = await reader.read(ITEM_CONTENT, [record_key("default", "tea")], ["category", "price", "available"])
    return dict(values)


async def test_facets_become_items_and_features(redis: Redis, keeper: CatalogueKeeper) -> None:
    assert await keeper.begin(range(PARTITIONS), LOG) == dict.fromkeys(range(PARTITIONS), -1)
    assert await keeper.apply(batch(CONTENT, PRICE), Metrics()) == 2
    [item] = (await CatalogStore(redis).get("default", ["tea"], PARTITIONS)).values()
    assert (item.content, item.price) == (CONTENT.content, PRICE.price)
    assert await features(redis) == {"category": "drinks", "price": 3.2, "available": True}
    assert await keeper.apply(batch(CONTENT, PRICE), Metrics()) == 0
    assert (await keeper.begin([HOME], LOG))[HOME] == 1


async def test_a_removed_item_is_not_available(redis: Redis, keeper: CatalogueKeeper) -> None:
    await keeper.begin([HOME], LOG)
    await keeper.apply(batch(CONTENT, PRICE), Metrics())
    gone = [Record(CATALOG, HOME, 2 + n, key.encode(), None, 0) for n, key in enumerate(record_keys("default", "tea"))]
    assert await keeper.apply(PartitionBatch(HOME, LOG, gone, topic=CATALOG), Metrics()) == 3
    assert await CatalogStore(redis).get("default", ["tea"], PARTITIONS) == {}
    assert (await features(redis))["available"] is False


async def test_what_cannot_be_read_goes_to_the_dead_letters(kafka: str, keeper: CatalogueKeeper) -> None:
    await keeper.begin([HOME], LOG)
    since = end_offsets(kafka, DEAD_LETTERS)[HOME]
    elsewhere = FacetRecord(tenant="default", item_id="cup", content=Content(name="Cup"))
    assert partition_of(record_key("default", "cup"), PARTITIONS) != HOME
    assert await keeper.apply(batch(b"{", CONTENT, elsewhere, PRICE), Metrics()) == 2
    follower = Follower(kafka, DEAD_LETTERS, {HOME: since}, embedded=True)
    found: list[bytes | None] = []
    while len(found) < 2:
        found += [record.value for record in follower.read(10, 5.0)]
    follower.close()
    assert found == [b"{", encode_record(elsewhere)]


async def test_a_letter_that_its_topic_does_not_take_goes_there_in_pieces(redis: Redis, kafka: str) -> None:
    took: list[Outgoing] = []

    class Narrow(Producer):
        async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
            if any(len(one.value or b"") > 300_000 for one in records):
                raise TooLarge("larger than the topic allows")
            took.extend(records)
            return [0] * len(records)

    narrow = Narrow(kafka, embedded=True)
    online = OnlineWriter(redis, feast_project(LIVE))
    keeper = CatalogueKeeper(CatalogStore(redis), online, narrow, on_log(0), partitions=PARTITIONS)
    await keeper.begin([HOME], LOG)
    large = b"{" * 500_000
    assert await keeper.apply(batch(large, CONTENT), Metrics()) == 1
    assert {one.topic for one in took} == {DEAD_LETTERS}
    assert b"".join(one.value or b"" for one in took) == large


async def test_an_item_in_redis_that_cannot_be_read_stops_no_partition(redis: Redis, keeper: CatalogueKeeper) -> None:
    await keeper.begin([HOME], LOG)
    await redis.hset(items("default", HOME), "tea", b"\xff")
    assert await keeper.apply(batch(CONTENT, PRICE), Metrics()) == 2
    assert await features(redis) == {"category": "drinks", "price": 3.2, "available": True}


async def test_a_redis_from_the_past_is_noticed(redis: Redis, keeper: CatalogueKeeper) -> None:
    await keeper.begin([HOME], LOG)
    await keeper.apply(batch(CONTENT, PRICE), Metrics())
    await keeper.check()
    await redis.delete(items_at(HOME))
    with pytest.raises(WentBack):
        await keeper.check()


async def test_nothing_is_put_into_a_redis_from_the_past(redis: Redis, keeper: CatalogueKeeper) -> None:
    """Its position would say that all before is there: nobody would read it again."""
    await keeper.begin([HOME], LOG)
    await keeper.apply(batch(CONTENT), Metrics())
    await redis.flushall()
    with pytest.raises(WentBack):
        await keeper.apply(batch(PRICE, start=1), Metrics())
    assert await position(redis) == -1
    assert await features(redis) == {"category": None, "price": None, "available": None}
    assert await keeper.begin([HOME], LOG) == {HOME: -1}
    await keeper.apply(batch(CONTENT, PRICE), Metrics())
    assert await features(redis) == {"category": "drinks", "price": 3.2, "available": True}


async def position(redis: Redis) -> int:
    found = await CatalogStore(redis).positions([HOME], LOG)
    return found[HOME][1] if found else -1


async def read(redis: Redis, keeper: CatalogueKeeper, *batches: PartitionBatch) -> None:
    """What the loop makes of these chunks: it ends when it raises, or has applied them all."""
    inbox, measured = Inbox(100), Metrics()
    for one in batches:
        inbox.put(Chunk(CATALOG, HOME, one.records))
    through = batches[-1].records[-1].offset
    running = asyncio.create_task(keeper.run(inbox, 1, measured))
    async with asyncio.timeout(LIMIT_S):
        while await position(redis) < through and not running.done():
            await asyncio.wait({running}, timeout=0.01)
    if running.done():
        running.result()
    running.cancel()


async def test_a_hole_left_by_compaction_is_no_loss(redis: Redis, keeper: CatalogueKeeper) -> None:
    await keeper.begin([HOME], LOG)
    keeper.read_from({HOME: 0})
    await read(redis, keeper, batch(CONTENT, start=2), batch(PRICE, start=3))
    [item] = (await CatalogStore(redis).get("default", ["tea"], PARTITIONS)).values()
    assert (item.content, item.price) == (CONTENT.content, PRICE.price)


async def test_facets_passed_over_end_the_worker(redis: Redis, keeper: CatalogueKeeper) -> None:
    await keeper.begin([HOME], LOG)
    keeper.read_from({HOME: 0})
    with pytest.raises(WentBack, match="from 3 to 4 were passed over"):
        await read(redis, keeper, batch(CONTENT, start=2), batch(PRICE, start=5))
    assert await position(redis) == 2
