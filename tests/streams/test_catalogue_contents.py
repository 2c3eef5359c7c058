"""An item's features online are the last ones offline: the same values, known from the same moment."""

from decimal import Decimal

import pytest
from redis.asyncio import Redis

from features.aggregates import ITEM_CONTENT
from features.catalog import Content, FacetRecord, Price, Stock
from features.catalog_archive import Facet, contents
from features.catalog_store import CatalogStore
from features.online import OnlineWriter
from features.value_codec import encode_time, entity_key, time_field
from infra.keys import LIVE, feast_project, partition_of, record_key
from streams.catalogue import write_contents
from tests.features.online_reader import OnlineReader

PARTITIONS = 8
HOME = partition_of(record_key("default", "tea"), PARTITIONS)
NOW = 1_790_000_000_000
STEPS = (
    FacetRecord(tenant="default", item_id="tea", content=Content(name="Tea", category="drinks", brand="Leaf")),
    FacetRecord(tenant="default", item_id="tea", price=Price(price=Decimal("3.20"), currency="EUR")),
    FacetRecord(tenant="default", item_id="tea", stock=Stock(available=False)),
    FacetRecord(tenant="default", item_id="tea"),
    FacetRecord(tenant="default", item_id="tea", price=Price(price=Decimal(4), currency="EUR")),
)
FACETS = [Facet(NOW + 1000 * place, "log", HOME, place, record) for place, record in enumerate(STEPS)]


@pytest.mark.parametrize("size", [1, 2, 3, len(FACETS)])
async def test_however_the_log_is_cut_into_batches(redis: Redis, size: int) -> None:
    store, online = CatalogStore(redis), OnlineWriter(redis, feast_project(LIVE))
    key, names = record_key("default", "tea"), list(ITEM_CONTENT.fields)
    for begin in range(0, len(FACETS), size):
        batch = FACETS[begin : begin + size]
        await write_contents(store, online, batch, PARTITIONS)
        await store.apply(HOME, [facet.record for facet in batch], "log", batch[-1].offset)
        *_, last = contents(FACETS[: begin + size])
        found = await OnlineReader(redis, feast_project(LIVE)).read(ITEM_CONTENT, [key], names)
        assert found == [dict(last.values)]
        at = await redis.hget(entity_key("item", key, feast_project(LIVE)), time_field(ITEM_CONTENT.name))
        assert at == encode_time(last.at_ms)
