"""A message says what its items are called: it waits for a catalogue that lacks some."""

from collections.abc import Sequence

from redis.asyncio import Redis

from features.catalog import Content, FacetRecord
from features.catalog_store import CatalogStore
from infra import keys
from infra.keys import partition_of, record_key
from infra.settings import Settings
from streams.marketing.stocked import Stocked
from streams.pipeline import Pipeline
from tests.streams.marketing.till import Till, messages
from tests.streams.shop import PARTITIONS, Log, event

TEA, CUP = (partition_of(record_key("default", item), PARTITIONS) for item in ("tea", "cup"))


async def ends(partitions: Sequence[int]) -> dict[int, int]:
    assert TEA != CUP
    return {partition: {TEA: 1, CUP: 2}.get(partition, 0) for partition in partitions}


async def test_a_message_waits_until_the_catalogue_is_whole(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    stocked = Stocked(CatalogStore(redis), "items", PARTITIONS)
    log, till = Log(), Till(shop, redis, settings, (stocked, ends))
    log.append(event("ann", "add_to_cart", "tea", "cup", minute=1))
    await shop.apply(log.batches())
    await redis.delete(keys.items("default", TEA), keys.items_at(TEA))
    assert await till.turn(100) == {}
    assert await stocked.behind() == [TEA]
    assert await messages(redis) == []
    tea = FacetRecord(tenant="default", item_id="tea", content=Content(name="Tea"))
    await CatalogStore(redis).apply(TEA, [tea], "items", 0)
    assert await till.turn(100) == {"ok": 1}
    [message] = await messages(redis)
    assert {item.item_id for item in message.items} == {"tea", "cup"}
