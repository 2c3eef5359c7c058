"""Statistics of items on a real Redis: what the log alone decides, whatever the batches, crashes and bounds."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from msgspec.structs import replace
from redis.asyncio import Redis

from features.events import Event
from features.item_partials import Partial, decode
from infra.errors import RedisAway
from infra.keys import LIVE, ShardKeys
from infra.settings import Settings
from streams.batch import PartitionBatch
from streams.pipeline import Pipeline, build_pipeline
from streams.replay.store import ReplayStore
from streams.statistics import ItemStatistics
from tests.streams.shop import LOG, PARTITIONS, Log, event

OWNED = range(PARTITIONS)


async def pipeline_of(settings: Settings, redis: Redis, max_items: int = 200_000, kept_bytes: int = 10_000) -> Pipeline:
    pipeline = build_pipeline(settings, redis)
    pipeline.statistics = ItemStatistics(pipeline.store, max_items, kept_bytes)
    await pipeline.claim(OWNED, LOG)
    return pipeline


async def partials_of(redis: Redis, namespace: str = LIVE) -> dict[int, dict[str, bytes]]:
    found = {}
    for partition in OWNED:
        of_it = await redis.hgetall(ShardKeys(partition, namespace).partials)
        found[partition] = {key.decode(): raw for key, raw in of_it.items()}
    return found


async def total_of(redis: Redis, item: str) -> dict[str, Any]:
    """The counts of an item over all partitions."""
    of = [decode(each[f"default|{item}"]) for each in (await partials_of(redis)).values() if f"default|{item}" in each]
    return {
        "buyers": sum(one.buyers for one in of),
        "ratings": sum(one.ratings for one in of),
        "stars": sum(one.stars for one in of),
        "viewed": sum(one.views > 0 for one in of),
        "seen": {other for one in of for other in one.seen_with},
        "bought": {other for one in of for other in one.bought_with},
    }


def day() -> Log:
    """Shoppers look, buy, give back and rate; some of it comes twice or late."""
    log, events = Log(), list[Event]()
    for minute in range(40):
        who = f"s{minute % 5}"
        events.append(event(who, "view_item", f"i{minute % 7}", minute=minute))
        if minute % 4 == 0:
            events.append(event(who, "purchase", f"i{minute % 7}", f"i{minute % 3 + 7}", minute=minute + 0.5))
        if minute % 9 == 0:
            events.append(event(who, "refund", f"i{minute % 7}", minute=minute + 0.7))
        if minute % 6 == 0:
            review = event(who, "review_item", f"i{minute % 7}", minute=minute + 0.8)
            events.append(replace(review, rating=minute % 5 + 1))
    late = [event("s1", "view_item", "i5", minute=3.3), event("s2", "purchase", "i2", minute=1.1)]
    log.append(*events, *late, *events[:9], event("s1", "view_item", "i1", minute=2000))
    return log


async def test_what_shoppers_do_is_counted_for_items(settings: Settings, redis: Redis) -> None:
    log = Log()
    rated = replace(event("bob", "review_item", "tea", minute=9), rating=4)
    log.append(
        event("ann", "view_item", "tea", minute=1),
        event("ann", "view_item", "pot", minute=2),
        event("ann", "purchase", "tea", "cup", minute=3),
        event("bob", "purchase", "tea", minute=4),
        event("eve", "purchase", "tea", minute=5),
        event("eve", "refund", "tea", minute=6),
        rated,
    )
    counts = await (await pipeline_of(settings, redis)).apply(log.batches())
    assert (counts.applied, counts.failed) == (7, {})
    tea = await total_of(redis, "tea")
    assert tea == {"buyers": 2, "ratings": 1, "stars": 4, "viewed": 1, "seen": set(), "bought": set()}
    assert (await total_of(redis, "pot"))["seen"] == {"tea"}
    assert (await total_of(redis, "cup"))["bought"] == {"tea"}


@tries(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(
    cuts=st.lists(st.tuples(st.integers(0, 40), st.sampled_from(["", "claimed", "again"])), max_size=4),
    kept_bytes=st.sampled_from([0, 2000, 1_000_000]),
    max_items=st.sampled_from([3, 5, 1000]),
)
async def test_batches_claims_and_memory_make_no_difference(
    settings: Settings, redis: Redis, cuts: list[tuple[int, str]], kept_bytes: int, max_items: int
) -> None:
    log = day()
    await redis.flushall()
    await (await pipeline_of(settings, redis, max_items, 0)).apply(log.batches())
    expected = await partials_of(redis)
    await redis.flushall()
    pipeline, start = await pipeline_of(settings, redis, max_items, kept_bytes), 0
    for stop, what in [*sorted(cuts), (10_000, "")]:
        await pipeline.apply(log.batches(start, stop))
        if what == "claimed":
            pipeline = await pipeline_of(settings, redis, max_items, kept_bytes)
        if what == "again":
            await pipeline.apply(log.batches(start, stop))
        start = stop
    assert await partials_of(redis) == expected
    assert max(map(len, expected.values())) <= max_items


async def test_beyond_the_bound_the_items_of_least_worth_go(settings: Settings, redis: Redis) -> None:
    log = Log()
    log.append(*(event("ann", "view_item", "tea", minute=n) for n in range(3)))
    log.append(*(event("ann", "view_item", f"junk-{n:02}", minute=5 + n) for n in range(30)))
    await (await pipeline_of(settings, redis, max_items=8)).apply(log.batches())
    [kept] = [each for each in (await partials_of(redis)).values() if each]
    assert "default|tea" in kept
    assert 6 <= len(kept) <= 8
    assert set(kept) - {"default|tea"} == {f"default|junk-{n:02}" for n in range(30 - len(kept) + 1, 30)}


async def test_statistics_that_cannot_be_read_begin_anew(settings: Settings, redis: Redis) -> None:
    log = Log()
    log.append(event("ann", "view_item", "tea", minute=1))
    [batch] = log.batches()
    await redis.hset(ShardKeys(batch.partition).partials, "default|tea", b"no partial")
    counts = await (await pipeline_of(settings, redis)).apply([batch])
    assert counts.applied == 1
    assert (await total_of(redis, "tea"))["viewed"] == 1


class _Interrupted(Pipeline):
    """Redis goes away between counting and writing, as often as told."""

    times = 1

    async def _write_features(self, *arguments: Any) -> None:
        if self.times:
            self.times -= 1
            raise RedisAway("Redis is away")
        await super()._write_features(*arguments)


async def test_a_batch_that_is_made_anew_counts_once(settings: Settings, redis: Redis) -> None:
    log = day()
    await (await pipeline_of(settings, redis)).apply(log.batches())
    expected = await partials_of(redis)
    await redis.flushall()
    plain = await pipeline_of(settings, redis)
    pipeline = _Interrupted(plain.store, plain.derived, plain.rules)
    await pipeline.claim(OWNED, LOG)
    for start, stop in ((0, 4), (4, 10_000)):
        pipeline.times = 1
        with pytest.raises(RedisAway):
            await pipeline.apply(log.batches(start, stop))
        await pipeline.apply(log.batches(start, stop))
    assert await partials_of(redis) == expected


async def test_replays_count_in_their_namespaces_and_alike(settings: Settings, redis: Redis) -> None:
    log = day()
    await (await pipeline_of(settings, redis)).apply(log.batches())
    for name, size in (("one", 3), ("two", 1000)):
        store = ReplayStore(redis, name)
        await store.open(OWNED)
        pipeline = build_pipeline(settings, redis, store)
        await pipeline.claim(OWNED, LOG)
        for batches in _cut(log, size):
            await pipeline.apply(batches)
    live, one, two = [await partials_of(redis, name) for name in (LIVE, "one", "two")]
    assert live == one == two
    assert sum(map(len, live.values())) > 10
    assert all(isinstance(decode(raw), Partial) for of_it in live.values() for raw in of_it.values())


def _cut(log: Log, size: int) -> Sequence[Sequence[PartitionBatch]]:
    longest = max(map(len, log.records.values()))
    return [log.batches(start, start + size) for start in range(0, longest, size)]
