"""The job that merges statistics: one snapshot for all, Feast's rows as the offline log has them, one worker."""

import asyncio
import random
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis
from structlog.testing import capture_logs

from features.aggregates import ITEM_STATISTICS, SHOPPER_BEHAVIOUR
from features.feature_log import FeatureLog
from features.history import History
from features.item_snapshot import decode
from features.item_statistics import ItemCounter
from features.snapshot_store import SnapshotStore
from infra.clock import HOUR_MS
from infra.keys import LIVE, ShardKeys, feast_project
from infra.metrics import Metrics
from infra.settings import Settings
from streams.holds import Hold
from streams.statistics_job import HOLD, MergeFailed
from streams.statistics_merging import Merging
from tests.features.online_reader import OnlineReader
from tests.features.past import made_event
from tests.streams.merging import applied, ended, job_of, shoppers
from tests.streams.shop import PARTITIONS, Log, event

OWNED = range(PARTITIONS)


class Scripted:
    """Passes that come to what is written for them, one after another, each after `took_s` of a clock of its own."""

    def __init__(self, *troubles: str, took_s: float = 0.0) -> None:
        self.now_s = 0.0
        self.began: list[float] = []
        self._left = list(troubles)
        self._took_s = took_s

    def monotonic(self) -> float:
        self.now_s += 1
        return self.now_s

    async def merge(self) -> None:
        self.began.append(self.now_s)
        self.now_s += self._took_s
        if trouble := self._left.pop(0):
            raise MergeFailed(trouble)

    def forget(self) -> None:
        pass


async def run_through(redis: Redis, passes: Scripted, answers: str) -> Metrics:
    """The job while it finds, one after another, that partitions have reached these letters."""
    measured, left, looked = Metrics(), list(answers), asyncio.Event()

    async def asked() -> object:
        if not left:
            looked.set()
        return left.pop(0) if left else answers[-1]

    running = asyncio.create_task(job_of(redis, passes, measured, asked).run(passes.monotonic))
    async with asyncio.timeout(20):
        await looked.wait()
    await ended(running)
    return measured


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


async def test_what_cannot_be_read_of_an_item_is_left_out(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    without = (await Merging(redis, PARTITIONS).merge())["default"]
    await redis.hset(ShardKeys(3).partials, mapping={"default|bad": b"no partial", "no-key": b"no partial"})
    with capture_logs() as told:
        assert (await Merging(redis, PARTITIONS).merge())["default"].version == without.version
    assert [(line["log_level"], line["items"]) for line in told if "left out" in line["event"]] == [("error", 2)]


async def test_the_job_merges_until_it_is_ended(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    store = SnapshotStore(redis, "default")
    running = asyncio.create_task(job_of(redis).run(time.monotonic))
    async with asyncio.timeout(20):
        while await store.newest() is None:
            await asyncio.sleep(0)
    await ended(running)


async def test_no_pass_is_asked_for_where_no_fence_has_moved(redis: Redis) -> None:
    measured = await run_through(redis, Scripted("", ""), "aaabb")
    assert b"daogou_statistics_seconds_count 2.0" in measured.text()


async def test_a_trouble_is_said_once_and_its_passes_are_not_measured(redis: Redis) -> None:
    passes = Scripted("away", "away", "", "away", "other", "other", "")
    with capture_logs() as said_so:
        measured = await run_through(redis, passes, "abcdefg")
    assert [one["why"] for one in said_so if one["log_level"] == "error"] == ["away", "away", "other"]
    assert b"daogou_statistics_seconds_count 2.0" in measured.text()


async def test_what_failed_is_tried_again_though_no_fence_has_moved_and_after_a_minute_at_most(redis: Redis) -> None:
    passes = Scripted("slow", "", took_s=120)
    await run_through(redis, passes, "aa")
    first, second = passes.began
    assert 120 + 60 <= second - first <= 120 + 60 + 5


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
