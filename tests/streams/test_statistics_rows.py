"""Feast has rows of items of the catalogue and no others; whoever sends random ids makes neither it nor us grow."""

from collections.abc import Iterable, Sequence

from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from features.aggregates import ITEM_CONTENT, ITEM_STATISTICS
from features.catalog import Content, FacetRecord
from features.catalog_store import CatalogStore
from features.online import OnlineRow, OnlineWriter
from infra.keys import LIVE, ShardKeys, feast_project, partition_of, record_key
from infra.settings import Settings
from streams.statistics_merging import Merging
from streams.statistics_rows import StatisticsRows
from tests.features.online_reader import OnlineReader
from tests.streams.merging import applied, shoppers
from tests.streams.shop import PARTITIONS, event

NAMES = ["tea", "cup", "pot", "mat"]


def rows(number: int, *names: str, tenant: str = "default") -> list[OnlineRow]:
    return [
        OnlineRow(record_key(tenant, name), 1_000 + number, {"buyers": number}, "statistics", number) for name in names
    ]


async def there(redis: Redis, names: Iterable[str], tenant: str = "default") -> dict[str, object]:
    """The items that Feast has a row of, and their buyers."""
    wanted = list(names)
    keys = [record_key(tenant, name) for name in wanted]
    found = await OnlineReader(redis, feast_project(LIVE)).read(ITEM_STATISTICS, keys, ["buyers"])
    return {name: one["buyers"] for name, one in zip(wanted, found, strict=True) if one["buyers"] is not None}


async def counted(redis: Redis) -> set[bytes]:
    return set(await redis.smembers(ShardKeys(0).counted))


async def put_items(redis: Redis, *names: str, offset: int, content: bool = True) -> None:
    for name in names:
        at = partition_of(record_key("default", name), PARTITIONS)
        record = FacetRecord(tenant="default", item_id=name, content=Content(name=name) if content else None)
        await CatalogStore(redis).apply(at, [record], f"log-{name}", offset)


async def test_only_items_of_the_catalogue_have_rows(settings: Settings, redis: Redis) -> None:
    merging, log = Merging(redis, PARTITIONS), shoppers()
    log.append(*(event("mallory", "view_item", f"random-{n}", minute=n) for n in range(40)))
    await put_items(redis, "tea", "cup", "never-seen", offset=1)
    await applied(settings, redis, log)
    assert (await merging.merge())["default"].rows == 2
    assert set(await there(redis, ["tea", "cup", "i1", "random-1", "never-seen"])) == {"tea", "cup"}
    assert await counted(redis) == {b"default|tea", b"default|cup"}


async def test_an_item_that_comes_into_the_catalogue_later_gets_its_row_then_and_one_that_goes_loses_it(
    settings: Settings, redis: Redis
) -> None:
    merging = Merging(redis, PARTITIONS)
    await put_items(redis, "tea", offset=1)
    await applied(settings, redis, shoppers())
    await merging.merge()
    assert set(await there(redis, ["tea", "cup"])) == {"tea"}
    await put_items(redis, "cup", offset=1)
    assert (await merging.merge())["default"].rows == 1, "the catalogue alone has changed"
    assert set(await there(redis, ["tea", "cup"])) == {"tea", "cup"}
    await put_items(redis, "tea", offset=2, content=False)
    await merging.merge()
    assert set(await there(redis, ["tea", "cup"])) == {"cup"}
    assert await merging.merge() == {}


async def test_without_a_catalogue_the_items_of_the_snapshot_have_rows(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    made = (await Merging(redis, PARTITIONS).merge())["default"]
    assert set(await there(redis, [*made.snapshot.item_ids, "other"])) == set(made.snapshot.item_ids)


async def test_another_process_finds_what_there_is_to_remove(redis: Redis) -> None:
    await StatisticsRows(redis, LIVE).put("default", rows(1, "tea", "cup"))
    assert await StatisticsRows(redis, LIVE).put("default", rows(2, "tea")) == 1
    assert await there(redis, NAMES) == {"tea": 2}
    assert await counted(redis) == {b"default|tea"}


async def test_what_is_no_row_of_statistics_stays(redis: Redis) -> None:
    of_live = StatisticsRows(redis, LIVE)
    content = OnlineRow("default|tea", 1, {"category": "Tea"}, "catalogue", 1)
    await OnlineWriter(redis, feast_project(LIVE)).write(ITEM_CONTENT, [content])
    await of_live.put("default", rows(1, "tea"))
    await of_live.put("other", rows(1, "tea", tenant="other"))
    await of_live.put("default", [])
    [found] = await OnlineReader(redis, feast_project(LIVE)).read(ITEM_CONTENT, ["default|tea"], ["category"])
    assert found["category"] == "Tea"
    assert (await there(redis, ["tea"]), await there(redis, ["tea"], "other")) == ({}, {"tea": 1})
    await of_live.put("default", rows(1, "tea"))
    assert await there(redis, ["tea"]) == {"tea": 1}, "it comes back, whatever number it had"


@given(st.lists(st.tuples(st.lists(st.sampled_from(NAMES), unique=True), st.booleans()), max_size=8))
async def test_the_rows_are_those_of_the_last_pass_whoever_made_those_before(
    redis_url: str, passes: Sequence[tuple[list[str], bool]]
) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        process = StatisticsRows(redis, LIVE)
        for number, (names, anew) in enumerate(passes):
            process = StatisticsRows(redis, LIVE) if anew else process
            await process.put("default", rows(number, *names))
        last = dict.fromkeys(passes[-1][0], len(passes) - 1) if passes else {}
        assert await there(redis, NAMES) == last
        assert await counted(redis) == {record_key("default", name).encode() for name in last}
        assert len(process._told.get("default", {})) == len(last), "what is gone is not remembered"
