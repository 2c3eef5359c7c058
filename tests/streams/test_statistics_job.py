"""The job that merges statistics: one snapshot for all, Feast's rows as the offline log has them, one worker."""

import asyncio
import os
import random
import signal
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec import DecodeError
from msgspec.structs import replace
from redis.asyncio import Redis

from features.aggregates import ITEM_STATISTICS, SHOPPER_BEHAVIOUR
from features.feature_log import FeatureLog
from features.history import History
from features.item_snapshot import decode
from features.item_statistics import ItemCounter
from features.online import OnlineReader
from features.snapshot_store import SnapshotStore
from infra.clock import HOUR_MS
from infra.keys import LIVE, ShardKeys, feast_project
from infra.logs import said
from infra.metrics import Metrics
from infra.settings import Settings
from streams.holds import Hold
from streams.pipeline import build_pipeline
from streams.statistics_job import HOLD, MergeFailed, Passes, StatisticsJob
from streams.statistics_merging import Merging
from streams.statistics_process import MergingProcess
from tests.features.past import made_event
from tests.streams.shop import LOG, PARTITIONS, Log, event

OWNED = range(PARTITIONS)


class Within:
    """Passes that are made in this process."""

    def __init__(self, redis: Redis) -> None:
        self._merging = Merging(redis, PARTITIONS)

    async def merge(self) -> None:
        try:
            await self._merging.merge()
        except DecodeError as error:
            raise MergeFailed(said(error)) from None

    def forget(self) -> None:
        pass


def job_of(redis: Redis, passes: Passes | None = None) -> StatisticsJob:
    hold = Hold(redis, HOLD, "one", alone=True)
    return StatisticsJob(hold, passes or Within(redis), Metrics(), every_s=0.01)


async def applied(settings: Settings, redis: Redis, log: Log, start: int = 0) -> None:
    pipeline = build_pipeline(settings, redis)
    await pipeline.claim(OWNED, LOG)
    await pipeline.apply(log.batches(start))


def shoppers() -> Log:
    log = Log()
    for n in range(30):
        log.append(
            event(f"s{n}", "view_item", "tea", minute=n),
            event(f"s{n}", "view_item", f"i{n % 5}", minute=n + 1),
            event(f"s{n}", "purchase", "tea", "cup", minute=n + 2),
        )
    return log


async def test_a_snapshot_is_made_of_all_partitions_and_only_when_something_changed(
    settings: Settings, redis: Redis
) -> None:
    merging, log = Merging(redis, PARTITIONS), shoppers()
    assert await merging.merge() == {}
    await applied(settings, redis, log)
    made = (await merging.merge())["default"]
    store = SnapshotStore(redis, "default")
    assert await store.newest() == (made.version, 1)
    raw = await store.load(made.version)
    assert raw is not None
    assert decode(raw) == made.snapshot
    tea = made.snapshot.item_ids.index("tea")
    assert made.snapshot.column("purchases")[tea] == pytest.approx(30, rel=0.01)
    assert {made.snapshot.item_ids[n] for n, _ in made.snapshot.seen.of(tea)} == {f"i{n}" for n in range(5)}
    assert [made.snapshot.item_ids[n] for n, _ in made.snapshot.bought.of(tea)] == ["cup"]
    assert await merging.merge() == {}


async def test_another_worker_makes_the_same_snapshot_and_no_new_version(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    first = (await Merging(redis, PARTITIONS).merge())["default"]
    second = (await Merging(redis, PARTITIONS).merge())["default"]
    assert (first.version, first.number) == (second.version, second.number)


async def test_only_changed_items_are_written_to_feast(settings: Settings, redis: Redis) -> None:
    merging, log = Merging(redis, PARTITIONS), shoppers()
    await applied(settings, redis, log)
    assert (await merging.merge())["default"].rows == 7
    log.append(event("s1", "view_item", "mat", minute=50))
    await applied(settings, redis, log)
    made = (await merging.merge())["default"]
    assert (made.rows, made.number) == (1, 2)
    [values] = await OnlineReader(redis, feast_project(LIVE)).read(ITEM_STATISTICS, ["default|mat"], ["decayed_views"])
    assert values["decayed_views"] == pytest.approx(0.96, abs=0.04)


async def test_while_one_worker_holds_the_job_another_does_not_do_it(settings: Settings, redis: Redis) -> None:
    other = Hold(redis, HOLD, "other", alone=True)
    await other.take()
    job = job_of(redis)
    assert not await job._held()
    await other.release()
    assert await job._held()


async def test_the_job_goes_on_after_what_it_cannot_merge(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    await redis.hset(ShardKeys(3).partials, "default|bad", b"no partial")
    store = SnapshotStore(redis, "default")
    with pytest.raises(DecodeError):
        await Merging(redis, PARTITIONS).merge()
    running = asyncio.create_task(job_of(redis).run(time.monotonic))
    await redis.hdel(ShardKeys(3).partials, "default|bad")
    async with asyncio.timeout(20):
        while await store.newest() is None:
            await asyncio.sleep(0)
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_a_process_of_its_own_merges_the_same_and_is_started_anew(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    within = (await Merging(redis, PARTITIONS).merge())["default"]
    await redis.delete(*[key async for key in redis.scan_iter("daogou:*:merged")])
    passes, store = MergingProcess(settings, os.environ), SnapshotStore(redis, "default")
    try:
        await passes.merge()
        assert await store.newest() == (within.version, 1)
        first = passes.pid
        os.kill(first, signal.SIGKILL)
        with pytest.raises(MergeFailed):
            await passes.merge()
        await passes.merge()
        assert passes.pid not in (0, first)
    finally:
        last = passes.pid
        passes.forget()
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


@pytest.mark.parametrize("loaded", [True, False])
async def test_online_values_are_the_offline_ones(
    settings: Settings, redis: Redis, tmp_path: Path, loaded: bool
) -> None:
    """A made-up past of twenty days with refunds, ratings, late and double events: the same numbers both ways."""
    choose, log, records = random.Random(7), Log(), []
    at = datetime(2026, 5, 1, tzinfo=UTC)
    told = []
    for number in range(600):
        at += timedelta(minutes=choose.randrange(96))
        one = made_event(number, at, choose)
        told.append(replace(one, load_id="a-load") if loaded else one)
    told += choose.sample(told, 20)
    if not loaded:
        choose.shuffle(told[-40:])
    log.append(*told)
    items = ItemCounter()
    with FeatureLog(tmp_path, SHOPPER_BEHAVIOUR) as behaviour:
        history = History(behaviour, items, settings.lateness_h * HOUR_MS)
        records = [(record.value, record.timestamp) for _, of_it in sorted(log.records.items()) for record in of_it]
        history.take(records, lambda _: None)
    snapshots = items.snapshots()
    offline = {key: n for n, key in enumerate(snapshots.keys)}  # the last day of each item
    await applied(settings, redis, log)
    await Merging(redis, PARTITIONS).merge()
    keys, names = sorted(offline), list(ITEM_STATISTICS.fields)
    online = await OnlineReader(redis, feast_project(LIVE)).read(ITEM_STATISTICS, keys, names)
    assert len(keys) == 12
    for key, values in zip(keys, online, strict=True):
        expected = {name: column[offline[key]].item() for name, column in snapshots.values.items()}
        assert values == pytest.approx(expected, rel=1e-9, abs=1e-9), key
