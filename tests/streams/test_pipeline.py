"""The pipeline on a real Redis: what becomes of records, whatever the batches and the crashes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from msgspec.structs import replace as replace_struct
from redis.asyncio import Redis

from features import shoppers
from features.aggregates import SHOPPER_BEHAVIOUR, Value
from features.archive import archive_row
from features.events import encode, record_key_of, to_ms
from features.online import OnlineWriter
from features.shoppers import State
from infra.errors import Fenced, RedisAway, WentBack
from infra.keys import LIVE, ShardKeys, feast_project
from infra.settings import Settings
from infra.topics import DEAD_LETTERS
from models.candidates import Candidates
from serving import shelf
from streams.batch import PartitionBatch
from streams.commit import PartitionStore
from streams.derived import Derived
from streams.direct import ArchivedRecord
from streams.outbox import unpack
from streams.partition import PartitionWrite, RowRef
from streams.pipeline import Pipeline, build_pipeline
from tests.features.online_reader import OnlineReader
from tests.streams.models import Popular
from tests.streams.shop import LOG, PARTITIONS, T0, Log, event, partition_of_event

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


async def test_no_features_are_made_of_rows_from_the_past(settings: Settings, redis: Redis) -> None:
    """They would stay: they say that they come from a record that the rows made anew come to only once more."""
    pipeline, log = await pipeline_of(settings, redis), visits()
    await pipeline.apply(log.batches(stop=2))
    await redis.flushall()
    with pytest.raises(WentBack):
        await pipeline.apply(log.batches(start=2))
    assert [key async for key in redis.scan_iter("*")] == []
    again = await pipeline_of(settings, redis)
    await again.apply(log.batches())
    [found] = await OnlineReader(redis, feast_project(LIVE)).read(SHOPPER_BEHAVIOUR, ["default|u-ann"], ["views"])
    assert found == {"views": 12}


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
    pipeline, log = await pipeline_of(settings, redis), visits()
    await pipeline.apply(log.batches())
    reader = OnlineReader(redis, feast_project(LIVE))
    key = record_key_of(event("ann", "page_view"))
    [values] = await reader.read(SHOPPER_BEHAVIOUR, [key], ["views", "recent_items"])
    assert values["views"] == 12


class LostAnswers(PartitionStore):
    """A store whose next commit is `lost`: not written at all, or written without an answer."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis)
        self.lost: str | None = None

    async def commit(self, writes: Sequence[PartitionWrite]) -> dict[int, int]:
        lost, self.lost = self.lost, None
        if lost == "before":
            raise RedisAway("away before it was written")
        held = await super().commit(writes)
        if lost == "after":
            raise RedisAway("away before it was answered")
        return held


async def everything(redis: Redis) -> dict[bytes, bytes]:
    """What matters to a shopper: rows, shelves, timers, outboxes and fences."""
    found = {}
    for key in sorted([key async for key in redis.scan_iter("daogou:{p*}:*")]):
        kind = await redis.type(key)
        if not key.endswith(b":epoch"):
            found[key] = b"%r" % (
                await redis.get(key)
                if kind == b"string"
                else await redis.lrange(key, 0, -1)
                if kind == b"list"
                else await redis.zrange(key, 0, -1, withscores=True)
                if kind == b"zset"
                else sorted((await redis.hgetall(key)).items()),
            )
    return found


@pytest.mark.parametrize("lost", ["before", "after"])
@pytest.mark.parametrize("checked", [False, True])
async def test_a_batch_whose_answer_was_lost_is_written_once_and_accounted_as_if_it_had_come(
    settings: Settings, redis: Redis, lost: str, checked: bool
) -> None:
    log = visits()
    log.append_raw(0, b"no event")
    log.append(event("old", "purchase", "pot", load_id="load-1"), event("cat", "add_to_cart", "cup"))
    batches = log.batches()
    first = await pipeline_of(settings, redis)
    first.derived.scorer = Popular("v1")
    wanted = await first.apply(batches)
    expected = await everything(redis)
    assert [ref.shopper_id for ref in wanted.unscored] == ["u-old"]
    await redis.flushall()

    pipeline = await pipeline_of(settings, redis)
    pipeline.derived.scorer = Popular("v1")
    pipeline.store = store = LostAnswers(redis)
    store.lost = lost
    with pytest.raises(RedisAway):
        await pipeline.apply(batches)
    pipeline.derived.scorer = Popular("v2")
    if checked:
        await pipeline.check()
    again = await pipeline.apply(batches)
    wanted.seconds, again.seconds = {}, {}
    assert again == wanted
    assert await everything(redis) == expected
    await pipeline.check()
    assert (await pipeline.apply(batches)).redelivered == wanted.records


class Picky(Popular):
    """Cannot make a list for whoever met this item."""

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[Candidates]:
        if any(one.item_id == "poison" for state in states for one in state.interactions):
            raise ValueError("what a shopper met")
        return super().score(states, k, at_ms)


class PickyDerived(Derived):
    """Cannot make the values of whoever met this item."""

    def values(self, state: State) -> Mapping[str, Value]:
        if any(one.item_id == "poison" for one in state.interactions):
            raise OverflowError("what a shopper met")
        return super().values(state)


@pytest.mark.parametrize("shoppers_beside", [1, 8])
async def test_a_shopper_whose_values_or_list_cannot_be_made_stops_nobody(
    settings: Settings, redis: Redis, capsys: pytest.CaptureFixture[str], shoppers_beside: int
) -> None:
    pipeline, log = await pipeline_of(settings, redis), Log()
    pipeline.derived = PickyDerived(OnlineWriter(redis, feast_project(LIVE)), settings.shelf_size)
    pipeline.derived.scorer = Picky("v1")
    log.append(event("ann", "view_item", "poison"))
    log.append(*(event(f"bob-{n}", "view_item", "tea") for n in range(shoppers_beside)))
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.dead, counts.scored) == (1 + shoppers_beside, 0, shoppers_beside)
    assert counts.failed == {"features": 1, "list": 1}
    assert len(await rows_of(redis)) == 1 + shoppers_beside, "its row is there: nothing is lost"
    shelves = [key async for key in redis.scan_iter("daogou:*:shelf:*")]
    assert len(shelves) == shoppers_beside
    keys = [record_key_of(event(name, "page_view")) for name in ("ann", "bob-0")]
    found = await OnlineReader(redis, feast_project(LIVE)).read(SHOPPER_BEHAVIOUR, keys, ["views"])
    assert [values["views"] for values in found] == [None, 1]
    said = capsys.readouterr()
    assert "what a shopper met" not in said.out + said.err
    ann = event("ann", "page_view")
    assert await pipeline.rescore([RowRef(partition_of_event(ann), "default", "u-ann")]) == 0


async def test_events_two_centuries_apart_stop_nobody(settings: Settings, redis: Redis) -> None:
    """The weight of the first price has halved until it is nothing."""
    pipeline, log = await pipeline_of(settings, redis), Log()
    first, last = (
        replace_struct(event("ann", name, *items), occurred_at=at, received_at=at)
        for name, items, at in (
            ("view_item", ["tea"], datetime(1971, 1, 1, tzinfo=UTC)),
            ("page_view", [], datetime(2199, 1, 1, tzinfo=UTC)),
        )
    )
    log.append(first, last, event("bob", "view_item", "tea"))
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.dead, counts.failed) == (3, 0, {})


async def test_an_event_of_the_future_does_not_make_those_behind_it_late(settings: Settings, redis: Redis) -> None:
    """It says of no time of receipt: that of its record on the log counts."""
    pipeline, log = await pipeline_of(settings, redis), Log()
    future = replace_struct(
        event("ann", "view_item", "tea"), occurred_at=datetime(2199, 1, 1, tzinfo=UTC), received_at=None
    )
    home = partition_of_event(future)
    log.append_raw(home, encode(future), timestamp=to_ms(T0))
    log.append(event("ann", "add_to_cart", "tea", minute=5))
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.late) == (2, 0)
    state = shoppers.decode_state(await redis.get(ShardKeys(home).row("default", "u-ann")))
    assert state.newest == to_ms(T0) + 5 * 60_000
    archived = archive_row((LOG, home, 0), to_ms(T0), None, encode(future))
    assert archived.event_at == state.interactions[0].at
    again = ArchivedRecord(0, None, archived.value, archived.received_at)
    await redis.flushall()
    replayed = await pipeline_of(settings, redis)
    await replayed.apply([PartitionBatch(home, LOG, [again, *log.records[home][1:]])])
    assert shoppers.decode_state(await redis.get(ShardKeys(home).row("default", "u-ann"))) == state
