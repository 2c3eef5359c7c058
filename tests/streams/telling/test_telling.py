"""Changes of the catalogue reach every partition of the events once in effect, whatever dies in between."""

from collections.abc import Callable
from decimal import Decimal

import pytest
from redis.asyncio import Redis

from features.catalog_news import CatalogNews
from features.items_changed import MAX_CHANGED
from infra import keys
from infra.errors import KafkaAway
from infra.settings import Settings
from streams.batch import PartitionBatch
from streams.direct import ArchivedRecord
from streams.pipeline import build_pipeline
from tests.streams.shop import LOG as EVENTS_LOG
from tests.streams.shop import PARTITIONS
from tests.streams.telling.catalogue import HOME, Catalogue, Dying, at_home, changed_in, content, price, stock


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
