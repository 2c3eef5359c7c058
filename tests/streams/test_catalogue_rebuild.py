"""The catalogue comes back from archive and log as it was, and nothing that only Redis has is thrown away."""

import asyncio
from contextlib import suppress
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rich.console import Console

from features.catalog import FacetRecord, Item, Price, decode_record, encode_record, key_of, record_keys
from features.catalog_archive import CatalogArchive
from features.catalog_store import CatalogStore
from infra import redis as infra_redis
from infra.clock import ManualClock
from infra.errors import BadInput, Refused
from infra.kafka import Follower, Outgoing
from infra.keys import LIVE, ShardKeys, partition_of, record_key
from infra.settings import Settings
from infra.topics import CATALOG
from streams.catalogue_rebuild import Rebuilt, rebuild
from streams.holds import Hold
from streams.load import LoadRequest, load
from streams.load_report import print_report
from streams.progress import Phases
from tests.bulk import BulkProducer
from tests.streams.files import written
from tests.streams.loads import quietly
from tests.streams.shop import LOG, PARTITIONS

HEADER = "id,name,category,brand,price"
BEFORE = 1_000_000_000_000  # before anything that is on a log


@pytest.fixture
def shop(settings: Settings, broker: str) -> Settings:
    """With a log of its own."""
    return settings.model_copy(update={"kafka": broker, "embedded_log": LOG, "partitions": PARTITIONS})


def loaded(shop: Settings, path: Path, at_ms: int = BEFORE) -> None:
    with quietly() as phases:
        load(shop, LoadRequest(items=path, direct=True), phases, ManualClock(at_ms))


def put(shop: Settings, *records: tuple[str, bytes | None], item_id: str) -> None:
    home = partition_of(record_key("default", item_id), PARTITIONS)
    bulk = BulkProducer(shop.kafka, embedded=True)
    bulk.send_all([Outgoing(CATALOG, home, key, value) for key, value in records])
    bulk.close()


async def applied(shop: Settings, records: int) -> None:
    """As the worker does it: what is no facet is passed over, and the position moves on."""
    client = await infra_redis.connect(shop.redis, 5000)
    follower = Follower(shop.kafka, CATALOG, "start", embedded=True)
    while records > 0:
        for one in follower.read(100, 1.0):
            records -= 1
            with suppress(BadInput):
                facet = decode_record(one.key, one.value)
                await CatalogStore(client).apply(one.partition, [facet], LOG, one.offset)
            await CatalogStore(client).apply(one.partition, [], LOG, one.offset)
    follower.close()
    await client.aclose()


def stored(shop: Settings) -> dict[str, Item]:
    async def read() -> dict[str, Item]:
        client = await infra_redis.connect(shop.redis, 5000)
        try:
            return (await CatalogStore(client).load("default", range(PARTITIONS)))[0]
        finally:
            await client.aclose()

    return asyncio.run(read())


def rebuilt(shop: Settings) -> Rebuilt:
    with quietly() as phases:
        return rebuild(shop, phases)


def test_a_direct_load_comes_back_from_the_archive_alone(shop: Settings, empty: Redis, tmp_path: Path) -> None:
    loaded(shop, written(tmp_path, "a.csv", HEADER, "t1,Tea,Food > Tea,Leaf,3 EUR", "p1,Pot,Pots,Clay,9 EUR"))
    before = stored(shop)
    empty.flushall()
    alone = shop.model_copy(update={"kafka": ""})
    assert rebuilt(alone) == Rebuilt(facets=4, items=2)
    assert stored(shop) == before
    loaded(shop, tmp_path / "a.csv")
    assert stored(shop) == before, "the position came back, too: the same load changes nothing"


def test_what_came_over_the_log_later_counts_and_what_was_removed_is_gone(
    shop: Settings, empty: Redis, tmp_path: Path
) -> None:
    loaded(shop, written(tmp_path, "a.csv", HEADER, "t1,Tea,Food > Tea,Leaf,3 EUR", "p1,Pot,Pots,Clay,9 EUR"))
    dearer = FacetRecord(tenant="default", item_id="t1", price=Price(price=Decimal(4), currency="EUR"))
    put(shop, (key_of(dearer), encode_record(dearer)), ("k", b"no facet"), item_id="t1")
    put(shop, *((key, None) for key in record_keys("default", "p1")), item_id="p1")
    asyncio.run(applied(shop, records=5))
    before = stored(shop)
    assert set(before) == {"t1"}
    assert before["t1"].price == dearer.price
    empty.flushall()
    rebuilt(shop)
    assert stored(shop) == before
    rebuilt(shop)
    assert stored(shop) == before, "again, it is the same"


def test_items_that_only_redis_has_are_not_thrown_away(shop: Settings, empty: Redis, tmp_path: Path) -> None:
    """Loaded by a version that did not archive them."""
    loaded(shop, written(tmp_path, "a.csv", HEADER, "t1,Tea,Food > Tea,Leaf,3 EUR"))
    before = stored(shop)
    elsewhere = shop.model_copy(update={"data_dir": tmp_path / "another"})
    with pytest.raises(Refused, match="load its file again with --direct") as caught:
        rebuilt(elsewhere)
    assert caught.value.reason == "not_archived"
    assert stored(shop) == before
    loaded(elsewhere, tmp_path / "a.csv")
    assert CatalogArchive(elsewhere.archive_at).facets()
    rebuilt(elsewhere)
    assert stored(shop) == before


async def test_a_removed_tenants_items_are_gone_and_positions_are_kept(redis: AsyncRedis) -> None:
    store = CatalogStore(redis)
    tea = Item(item_id="tea", price=Price(price=Decimal(1), currency="EUR"))
    await store.apply(0, [FacetRecord(tenant="a", item_id="x", price=tea.price)], "log-1", 5)
    await store.replace(0, ["a", "b"], {("b", "tea"): tea}, {"log-1": 5, "log-2": 7}, {"b": 1})
    assert await store.logs([0, 1]) == {0: {"log-1": 5, "log-2": 7}, 1: {}}
    assert (await store.load("a", [0]))[0] == {}
    assert (await store.load("b", [0]))[0] == {"tea": tea}
    assert not await store.apply(0, [], "log-2", 7)


async def test_the_refusal_names_the_namespace_that_is_served(shop: Settings, redis: AsyncRedis) -> None:
    await Hold(redis, LIVE, "w", alone=False).take()
    for partition in range(PARTITIONS):
        await redis.set(ShardKeys(partition).live, "september")
    with pytest.raises(Refused, match="'september' is held by a worker") as refused, quietly() as phases:
        await asyncio.to_thread(rebuild, shop, phases)
    assert refused.value.reason == "held"


async def test_a_catalogue_alone_says_nothing_of_events(shop: Settings, redis: AsyncRedis, tmp_path: Path) -> None:
    file = written(tmp_path, "items.csv", HEADER, "tea,Tea,tea,b,1.50 EUR")
    told, table = StringIO(), StringIO()
    with Phases(Console(file=told)) as phases:
        request = LoadRequest(items=file, direct=True)
        report = await asyncio.to_thread(load, shop, request, phases, ManualClock(BEFORE))
    print_report(report, Console(file=table, width=100))
    assert "events" not in told.getvalue() + table.getvalue()
    assert "items taken" in table.getvalue()
    assert "duplicates" not in table.getvalue()
