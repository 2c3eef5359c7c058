"""What an operator is told of an item's watchers."""

import asyncio
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from features.catalog import Content, FacetRecord, Price, Stock
from features.catalog_store import CatalogStore
from features.events import to_ms
from infra.errors import NotFound
from infra.keys import partition_of, record_key
from infra.settings import Settings
from streams.item_watching import watchers_told
from streams.pipeline import build_pipeline
from tests.streams.shop import LOG, PARTITIONS, T0, Log, event

SINCE = to_ms(T0)


async def test_item_counts_and_shoppers_are_told(settings: Settings, redis: Redis) -> None:
    log, pipeline = Log(), build_pipeline(settings, redis)
    await pipeline.claim(range(PARTITIONS), LOG)
    log.append(
        event("ann", "add_to_cart", "tea", minute=1),
        event("bob", "add_to_wishlist", "tea", minute=2),
        event("eve", "view_item", "tea", minute=-5),
    )
    await pipeline.apply(log.batches())
    facets = [
        FacetRecord(tenant="default", item_id="tea", content=Content(name="Green tea")),
        FacetRecord(tenant="default", item_id="tea", price=Price(price=Decimal("9.50"), currency="EUR")),
        FacetRecord(tenant="default", item_id="tea", stock=Stock(available=False, quantity=0)),
    ]
    home = partition_of(record_key("default", "tea"), PARTITIONS)
    await CatalogStore(redis).apply(home, facets, "items", 2)
    lines = await asyncio.to_thread(watchers_told, settings, "tea", SINCE, 3)
    assert lines[0] == "tea  Green tea, 9.50 EUR, 0 pieces, cannot be bought"
    assert " ".join(lines[1].split()) == "partition in the cart on the wish list looked at it"
    total = next(line for line in lines if line.lstrip().startswith("all"))
    assert total.split() == ["all", "1", "1", "2"]
    assert [line.split("  ")[1:] for line in lines[-3:]] == [
        ["u-bob", "on the wish list"],
        ["u-bob", "looked at it"],
        ["u-ann", "looked at it"],
    ]


async def test_an_item_that_nobody_knows_is_refused(settings: Settings, redis: Redis) -> None:
    del redis
    with pytest.raises(NotFound, match="no item 'nothing'"):
        await asyncio.to_thread(watchers_told, settings, "nothing", 0, 0)
