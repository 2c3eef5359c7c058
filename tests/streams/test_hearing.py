"""Each partition hears each change of the catalogue once, in the order of its log, and no row changes by it."""

from collections.abc import Sequence

import msgspec
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from redis.asyncio import Redis

from features.events import Event, encode
from features.items_changed import ItemChange, ItemsChanged
from features.watching import INTERESTS
from infra.keys import ShardKeys
from infra.settings import Settings
from streams.applied import Applied
from streams.outbox import unpack
from streams.pipeline import Pipeline, build_pipeline
from streams.replay.store import ReplayStore
from tests.streams.shop import LOG, PARTITIONS, T0, Log, event, partition_of_event


def news(*offsets: int, into: int = 3, log: str = "catalogue", partition: int = 1, tenant: str = "default") -> Event:
    """A price drop of `item-N` at each offset N."""
    items = tuple(ItemChange(item_id=f"item-{n}", kinds=("price_dropped",), offset=n) for n in offsets)
    return Event(
        event_name="items_changed",
        event_id=f"{log}-{partition}-{offsets}",
        source="daogou",
        tenant=tenant,
        occurred_at=T0,
        received_at=T0,
        changed=ItemsChanged(catalogue_log=log, catalogue_partition=partition, into=into, items=items),
    )


def put(log: Log, *events: Event) -> None:
    for one in events:
        assert one.changed is not None
        log.append_raw(one.changed.into, encode(one))


async def pipeline_of(settings: Settings, redis: Redis, store: ReplayStore | None = None) -> Pipeline:
    pipeline = build_pipeline(settings, redis, store)
    await pipeline.claim(range(PARTITIONS), LOG)
    return pipeline


async def heard(settings: Settings, redis: Redis, *events: Event) -> Applied:
    log, pipeline = Log(), await pipeline_of(settings, redis)
    put(log, *events)
    return await pipeline.apply(log.batches())


async def test_each_change_is_heard_once_and_its_watchers_are_counted(settings: Settings, redis: Redis) -> None:
    log, pipeline = Log(), await pipeline_of(settings, redis)
    ann = event("ann", "add_to_cart", "item-4")
    home = partition_of_event(ann)
    log.append(ann)
    await pipeline.apply(log.batches())
    row = await redis.get(ShardKeys(home).row("default", "u-ann"))
    put(log, news(4, 6, into=home), news(4, 6, into=home), news(4, 6, 9, into=home))
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.duplicates, counts.dead) == (2, 1, 0)
    assert counts.changes == {"price_dropped": 3}
    assert {label: many for label, many in counts.reached.items() if many} == {
        ("price_dropped", "cart"): 1,
        ("price_dropped", "seen"): 1,
    }
    assert await redis.get(ShardKeys(home).row("default", "u-ann")) == row


async def test_another_partition_log_or_tenant_is_counted_for_itself(settings: Settings, redis: Redis) -> None:
    others = news(4, partition=2), news(4, log="a new log"), news(4, tenant="other")
    counts = await heard(settings, redis, news(4), *others, news(4, log="a new log"))
    assert (counts.applied, counts.duplicates) == (4, 1)


async def test_one_that_was_made_for_another_partition_is_a_dead_letter(settings: Settings, redis: Redis) -> None:
    log, pipeline = Log(), await pipeline_of(settings, redis)
    log.append_raw(2, encode(news(4, into=3)))
    counts = await pipeline.apply(log.batches())
    assert (counts.reasons, counts.changes) == ({"wrong_partition": 1}, {})
    (letter,) = await redis.lrange(ShardKeys(2).outbox, 0, -1)
    assert unpack(letter).value == encode(news(4, into=3))


@tries(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    cuts=st.lists(st.integers(1, 4), min_size=1, max_size=8),
    again=st.lists(st.integers(1, 5), max_size=8),
    most=st.integers(1, 3),
)
async def test_however_they_are_cut_and_repeated_each_offset_counts_once(
    settings: Settings, redis: Redis, cuts: Sequence[int], again: Sequence[int], most: int
) -> None:
    """The catalogue's worker lost a second of Redis, reads its log again, and cuts it otherwise."""
    await redis.flushall()
    log, total = Log(), sum(cuts)
    for sizes in (cuts, again, cuts):
        at = 0
        for size in sizes:
            if at < total:
                put(log, news(*range(at, min(at + size, total))))
                at += size
    once = 0
    for start in range(0, len(log.records[3]), most):
        pipeline = await pipeline_of(settings, redis)  # a new worker each time
        once += (await pipeline.apply(log.batches(start, start + most))).changes.get("price_dropped", 0)
    assert once == total
    store = ReplayStore(redis, "again")
    await store.open(range(PARTITIONS))
    replayed = await (await pipeline_of(settings, redis, store)).apply(log.batches())
    assert replayed.changes == {"price_dropped": total}
    assert await redis.hgetall(store.keys(3).heard) == await redis.hgetall(ShardKeys(3).heard)


async def test_watchers_of_an_item_are_asked_for_once_and_counted_for_each_of_its_kinds(
    settings: Settings, redis: Redis
) -> None:
    ann = event("ann", "add_to_cart", "item-4")
    home = partition_of_event(ann)
    log, pipeline = Log(), await pipeline_of(settings, redis)
    log.append(ann)
    await pipeline.apply(log.batches())
    told = news(4, into=home)
    assert told.changed is not None
    both = msgspec.structs.replace(told.changed.items[0], kinds=("price_dropped", "back_in_stock"))
    put(log, msgspec.structs.replace(told, changed=msgspec.structs.replace(told.changed, items=(both,))))
    await redis.config_resetstat()
    counts = await pipeline.apply(log.batches())
    assert (await redis.info("commandstats"))["cmdstat_zcard"]["calls"] == len(INTERESTS)
    assert {label: many for label, many in counts.reached.items() if many} == {
        (kind, interest): 1 for kind in both.kinds for interest in ("cart", "seen")
    }
