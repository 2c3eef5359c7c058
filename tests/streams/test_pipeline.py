"""The pipeline on a real Redis: what becomes of records, whatever the batches and the crashes."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from redis.asyncio import Redis

from features import shoppers
from features.events import encode, record_key_of
from infra.errors import Fenced, WentBack
from infra.keys import ShardKeys
from infra.settings import Settings
from infra.topics import DEAD_LETTERS
from serving import shelf
from streams.outbox import unpack
from streams.pipeline import Pipeline, build_pipeline
from tests.streams.models import Popular
from tests.streams.shop import LOG, PARTITIONS, Log, event, partition_of_event

OWNED = range(PARTITIONS)


async def pipeline_of(settings: Settings, redis: Redis) -> Pipeline:
    pipeline = build_pipeline(settings, redis)
    await pipeline.claim(OWNED, LOG)
    return pipeline


async def rows_of(redis: Redis) -> dict[bytes, bytes]:
    keys = sorted([key async for key in redis.scan_iter("daogou:*:row:*")])
    return {key: await redis.get(key) for key in keys}


async def letters_of(redis: Redis) -> list[dict[str, bytes]]:
    found = []
    for partition in OWNED:
        for raw in await redis.lrange(ShardKeys(partition).outbox, 0, -1):
            record = unpack(raw)
            assert record.topic == DEAD_LETTERS
            found.append({**dict(record.headers), "value": record.value or b""})
    return found


def visits() -> Log:
    log = Log()
    for minute in range(12):
        log.append(
            event("ann", "view_item", f"tea-{minute}", minute=minute),
            event("bob", "add_to_cart", f"cup-{minute % 3}", minute=minute),
            event(f"guest-{minute}", "page_view", minute=minute),
        )
    log.append(event("bob", "purchase", "cup-0", "cup-1", minute=30))
    return log


async def test_events_become_rows(settings: Settings, redis: Redis) -> None:
    pipeline, log = await pipeline_of(settings, redis), visits()
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.dead, counts.redelivered) == (37, 0, 0)
    ann = event("ann", "page_view")
    row = await redis.get(ShardKeys(partition_of_event(ann)).row("default", "u-ann"))
    seen = shoppers.decode_state(row)
    assert [each.item_id for each in seen.interactions] == [f"tea-{minute}" for minute in range(12)]
    assert len(await rows_of(redis)) == 14


async def test_what_was_applied_is_skipped_when_it_comes_again(settings: Settings, redis: Redis) -> None:
    pipeline, log = await pipeline_of(settings, redis), visits()
    await pipeline.apply(log.batches())
    before = await rows_of(redis)
    counts = await pipeline.apply(log.batches())
    assert (counts.redelivered, counts.records) == (37, 37)
    assert await rows_of(redis) == before


async def test_a_restart_goes_on_from_the_fence(settings: Settings, redis: Redis) -> None:
    log = visits()
    whole = await pipeline_of(settings, redis)
    await whole.apply(log.batches())
    expected = await rows_of(redis)
    await redis.flushall()

    first = await pipeline_of(settings, redis)
    await first.apply(log.batches(stop=3))
    second = await pipeline_of(settings, redis)
    assert {owned.fence for owned in second.owned.values()} <= {-1, 0, 1, 2}
    counts = await second.apply(log.batches())
    assert counts.redelivered > 0
    assert await rows_of(redis) == expected
    with pytest.raises(Fenced):
        await first.apply(log.batches(start=3))


@tries(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, 24), max_size=6))
async def test_rows_do_not_depend_on_the_batches(settings: Settings, redis: Redis, cuts: list[int]) -> None:
    log = visits()
    await redis.flushall()
    await (await pipeline_of(settings, redis)).apply(log.batches())
    expected = await rows_of(redis)
    await redis.flushall()
    pipeline = await pipeline_of(settings, redis)
    bounds = [0, *sorted(cuts), 100]
    for start, stop in pairwise(bounds):
        await pipeline.apply(log.batches(start, stop))
    assert await rows_of(redis) == expected


async def test_bad_records_go_to_the_dead_letters_and_stop_nothing(settings: Settings, redis: Redis) -> None:
    pipeline, log = await pipeline_of(settings, redis), Log()
    good = event("ann", "view_item", "tea")
    home = partition_of_event(good)
    log.append_raw(home, b"\xff not json")
    log.append_raw(home, None, b"key")
    log.append_raw((home + 1) % PARTITIONS, encode(good))
    log.append_raw(home, encode(good).replace(b"view_item", b"teleport"))
    log.append_raw(home, b"{" + b" " * 1_000_000)
    log.append(good)
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.dead) == (1, 5)
    letters = await letters_of(redis)
    assert sorted(x["daogou-id"].decode() for x in letters) == sorted(
        [f"{LOG}/{home}/{offset}" for offset in (0, 1, 2, 3)] + [f"{LOG}/{(home + 1) % PARTITIONS}/0"]
    )
    reasons = {x["daogou-reason"] for x in letters}
    assert {b"wrong_partition", b"empty", b"unknown_event"} <= reasons
    [raw] = [x for x in letters if x["value"].startswith(b"\xff")]
    assert (raw["value"], raw["daogou-topic"], raw["daogou-offset"]) == (
        b"\xff not json",
        b"shop.events.v1",
        b"0",
    )


async def test_a_row_that_cannot_be_read_stops_its_shopper_alone(settings: Settings, redis: Redis) -> None:
    pipeline, log = await pipeline_of(settings, redis), Log()
    ann = event("ann", "view_item", "tea")
    key = ShardKeys(partition_of_event(ann)).row("default", "u-ann")
    await redis.set(key, b"rubbish")
    log.append(ann, event("bob", "view_item", "tea"))
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.reasons) == (1, {"row_unreadable": 1})
    assert await redis.get(key) == b"rubbish"


async def test_a_batch_read_under_an_earlier_claim_is_left_out(settings: Settings, redis: Redis) -> None:
    pipeline, log = await pipeline_of(settings, redis), visits()
    epochs = {partition: owned.epoch for partition, owned in pipeline.owned.items()}
    old = [replace(batch, epoch=epochs[batch.partition]) for batch in log.batches(start=1)]
    await pipeline.claim(OWNED, LOG)
    assert (await pipeline.apply(old)).records == 0
    assert await rows_of(redis) == {}


async def test_redis_from_the_past_ends_the_writer(settings: Settings, redis: Redis) -> None:
    pipeline, log = await pipeline_of(settings, redis), visits()
    await pipeline.apply(log.batches(stop=2))
    await pipeline.check()
    for partition in OWNED:
        await redis.hset(ShardKeys(partition).fence, LOG, "0")
    with pytest.raises(WentBack):
        await pipeline.check()
    with pytest.raises(WentBack):
        await pipeline.apply(log.batches(start=2))


async def test_shelves_are_written_with_the_rows(settings: Settings, redis: Redis) -> None:
    pipeline, log = await pipeline_of(settings, redis), Log()
    log.append(event("ann", "view_item", "tea"))
    assert (await pipeline.apply(log.batches())).scored == 0
    pipeline.derived.scorer = Popular("v1")
    log.append(
        event("ann", "view_item", "cup", minute=5),
        event("old", "purchase", "pot", load_id="load-1"),
    )
    counts = await pipeline.apply(log.batches())
    assert (counts.scored, [ref.shopper_id for ref in counts.unscored]) == (1, ["u-old"])
    home = partition_of_event(event("ann", "page_view"))
    made = shelf.decode(await redis.get(ShardKeys(home).shelf("default", "u-ann")))
    assert (made.model_version, made.log, made.offset) == ("v1", LOG, 1)
    assert [each.item_id for each in made.candidates] == ["tea", "cup"]
    assert await pipeline.rescore(counts.unscored) == 1
    old = event("old", "page_view")
    raw = await redis.get(ShardKeys(partition_of_event(old)).shelf("default", "u-old"))
    assert shelf.decode(raw).model_version == "v1"


async def test_features_are_written_where_feast_reads_them(settings: Settings, redis: Redis) -> None:
    from features.aggregates import SHOPPER_BEHAVIOUR
    from features.online import OnlineReader
    from infra.keys import LIVE, feast_project

    pipeline, log = await pipeline_of(settings, redis), visits()
    await pipeline.apply(log.batches())
    reader = OnlineReader(redis, feast_project(LIVE))
    key = record_key_of(event("ann", "page_view"))
    [values] = await reader.read(SHOPPER_BEHAVIOUR, [key], ["views", "recent_items"])
    assert values["views"] == 12
