"""The catalogue in a real Redis."""

import asyncio
from decimal import Decimal

import msgspec
import pytest
from redis.asyncio import Redis

from features.catalog import Content, FacetRecord, Item, Price, Stock
from features.catalog_changes import FIRST_LOAD_MS, Place, Telling
from features.catalog_store import CatalogStore
from infra.keys import items as items_key
from infra.keys import partition_of, record_key

PARTITIONS = 4


def content(item_id: str, name: str, tenant: str = "default") -> FacetRecord:
    return FacetRecord(tenant=tenant, item_id=item_id, content=Content(name=name))


def price(item_id: str, amount: int) -> FacetRecord:
    return FacetRecord(tenant="default", item_id=item_id, price=Price(price=Decimal(amount), currency="EUR"))


async def test_records_become_items_that_load_finds_with_their_position(redis: Redis) -> None:
    store = CatalogStore(redis)
    assert await store.apply(2, [content("a", "A"), price("a", 3), content("b", "B")], "log", 7)
    items, positions = await store.load("default", range(PARTITIONS))
    assert items == {
        "a": Item(item_id="a", content=Content(name="A"), price=Price(price=Decimal(3), currency="EUR")),
        "b": Item(item_id="b", content=Content(name="B")),
    }
    assert positions == {2: ("log", 7)}


async def test_a_later_batch_adds_to_what_is_there_and_removes(redis: Redis) -> None:
    store = CatalogStore(redis)
    await store.apply(0, [content("a", "A"), content("b", "B")], "log", 1)
    await store.apply(0, [price("a", 3), FacetRecord(tenant="default", item_id="b")], "log", 2)
    items, _ = await store.load("default", [0])
    assert items == {"a": Item(item_id="a", content=Content(name="A"), price=Price(price=Decimal(3), currency="EUR"))}


async def test_a_facet_of_an_item_that_cannot_be_read_begins_it_anew(redis: Redis) -> None:
    store = CatalogStore(redis)
    await store.apply(0, [content("a", "A"), content("b", "B")], "log", 1)
    await redis.hset(items_key("default", 0), "a", b"\xff")
    left: list[str] = []
    assert set((await store.load("default", [0], unreadable=left))[0]) == {"b"}
    assert left == ["a"]
    await redis.hset(items_key("default", partition_of(record_key("default", "a"), PARTITIONS)), "a", b"\xff")
    assert await store.get("default", ["a"], PARTITIONS, unreadable=left) == {}
    assert left == ["a", "a"]
    with pytest.raises(msgspec.DecodeError):
        await store.get("default", ["a"], PARTITIONS)
    assert await store.apply(0, [price("a", 3), price("b", 4)], "log", 2)
    items, _ = await store.load("default", [0])
    assert (items["a"].price, items["a"].content) == (Price(price=Decimal(3), currency="EUR"), None)
    assert items["b"].content == Content(name="B")


async def test_what_was_applied_is_not_applied_again(redis: Redis) -> None:
    store = CatalogStore(redis)
    await store.apply(0, [content("a", "old")], "log", 1)
    await store.apply(0, [content("a", "new")], "log", 2)
    assert not await store.apply(0, [content("a", "old")], "log", 1)
    assert not await store.apply(0, [content("a", "old")], "log", 2)
    assert (await store.load("default", [0]))[0]["a"].content == Content(name="new")


async def test_each_log_has_its_own_position(redis: Redis) -> None:
    store = CatalogStore(redis)
    await store.apply(0, [content("a", "by kafka")], "kafka", 100)
    assert await store.apply(0, [content("a", "by load")], "load", 0)
    assert await store.positions([0, 1]) == {0: ("load", 0)}
    assert await store.positions([0, 1], "kafka") == {0: ("kafka", 100)}
    assert not await store.apply(0, [content("a", "by kafka")], "kafka", 100)
    assert (await store.load("default", [0]))[0]["a"].content == Content(name="by load")


async def test_two_writers_at_once_lose_nothing(redis: Redis) -> None:
    store = CatalogStore(redis)
    stock = FacetRecord(tenant="default", item_id="a", stock=Stock(quantity=3))
    await asyncio.gather(
        store.apply(0, [content("a", "A")], "one", 0),
        store.apply(0, [price("a", 3)], "two", 0),
        store.apply(0, [stock], "three", 0),
    )
    assert (await store.load("default", [0]))[0] == {
        "a": Item(
            item_id="a",
            content=Content(name="A"),
            price=Price(price=Decimal(3), currency="EUR"),
            stock=Stock(quantity=3),
        )
    }


async def test_a_batch_without_records_moves_the_position(redis: Redis) -> None:
    store = CatalogStore(redis)
    assert await store.apply(3, [], "log", 9)
    assert await store.positions([3]) == {3: ("log", 9)}


async def test_tenants_do_not_see_each_other(redis: Redis) -> None:
    store = CatalogStore(redis)
    await store.apply(0, [content("a", "mine"), content("a", "theirs", tenant="other")], "log", 0)
    assert (await store.load("default", [0]))[0]["a"].content == Content(name="mine")
    assert (await store.load("other", [0]))[0]["a"].content == Content(name="theirs")


async def test_get_finds_items_where_their_partition_is(redis: Redis) -> None:
    store = CatalogStore(redis)
    ids = [f"item {n} 茶" for n in range(20)]
    for offset, item_id in enumerate(ids):
        partition = partition_of(record_key("default", item_id), PARTITIONS)
        await store.apply(partition, [content(item_id, item_id)], "log", offset)
    found = await store.get("default", [*ids, "unknown"], PARTITIONS)
    assert {item_id: item.content.name for item_id, item in found.items() if item.content} == dict(
        zip(ids, ids, strict=True)
    )
    assert await store.get("default", [], PARTITIONS) == {}


async def test_load_finds_thousands_of_items(redis: Redis) -> None:
    store = CatalogStore(redis)
    await store.apply(1, [content(str(n), f"item {n}") for n in range(3000)], "log", 3000)
    items, _ = await store.load("default", range(PARTITIONS))
    assert len(items) == 3000


async def test_a_catalogue_began_with_its_earliest_record_whoever_read_it_when(redis: Redis) -> None:
    """The partition that is read first holds what is two days younger than the shop's first item."""
    store = CatalogStore(redis)

    async def told(partition: int, offset: int, record: FacetRecord, at_ms: int) -> bool:
        telling = Telling("log", partition, 5, [Place(offset, at_ms)])
        times = {record.tenant: at_ms}
        await store.apply(partition, [record], "log", offset, at_ms=times, telling=telling)
        return await store.news.waiting(partition) is not None

    assert not await told(1, 0, content("b", "B"), 2 * FIRST_LOAD_MS)
    assert not await told(0, 0, content("a", "A"), 0)
    assert await told(1, 1, content("c", "C"), 2 * FIRST_LOAD_MS + 1)


async def test_each_tenants_catalogue_has_a_beginning_of_its_own(redis: Redis) -> None:
    store = CatalogStore(redis)
    times = {"default": 0, "other": 2 * FIRST_LOAD_MS}
    await store.apply(0, [content("a", "A"), content("a", "A", "other")], "log", 1, at_ms=times)
    assert await store.news.began(dict.fromkeys(times, 3 * FIRST_LOAD_MS)) == times
