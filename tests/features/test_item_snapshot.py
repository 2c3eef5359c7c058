"""Merged statistics: known answers, and that the same partials give the same bytes."""

import random
from math import exp2, sqrt

import numpy as np
import pytest
from redis.asyncio import Redis

from features import item_snapshot
from features.item_changes import Change
from features.item_partials import ERA_MS, HALF_LIFE_MS, ORDER_TREND, Partial, add
from features.item_snapshot import DAMPING, NEIGHBOURS, Merger, Snapshot, decode, encode, snapshot_of, version_of
from features.item_statistics import PRIOR_MEAN, rating_mean
from features.snapshot_store import KEPT_MS, SnapshotStore
from infra import keys
from tests.features.steps import DAY, T

BEGIN = (T // ERA_MS + 1) * ERA_MS


def partial(*changes: Change) -> Partial:
    one = Partial()
    for change in changes:
        add(one, change)
    return one


def made(*partials: tuple[str, Partial]) -> Snapshot:
    merger = Merger()
    for item_id, one in partials:
        merger.add(item_id, one)
    totals = merger.totals()
    assert totals is not None
    return snapshot_of(totals, rating_mean(totals.stars, totals.ratings))


def viewed(item_id: str, at: int, *with_: str, times: int = 1) -> tuple[str, Partial]:
    change = Change(item_id, at, at, views=times, seen_with=[(other, at) for other in with_])
    return item_id, partial(change)


def test_nothing_is_no_snapshot() -> None:
    assert Merger().totals() is None


def test_sums_of_shards_are_as_of_the_newest_event_also_across_an_era() -> None:
    rated = Change("tea", BEGIN - DAY, BEGIN - DAY, stars=5, ratings=1)
    bought = Change("tea", BEGIN - DAY, BEGIN - DAY, purchases=1, buyers=1)
    shards = [("tea", partial(rated, bought)), viewed("tea", BEGIN - DAY), viewed("pot", BEGIN + 13 * DAY)]
    snapshot = made(*shards)
    assert (snapshot.at, snapshot.item_ids) == (BEGIN + 13 * DAY, ["pot", "tea"])
    assert snapshot.column("views").tolist() == pytest.approx([1, 0.5])
    assert snapshot.column("purchases").tolist() == pytest.approx([0, 0.5])
    assert snapshot.column("trend").tolist() == pytest.approx([1, (1 + ORDER_TREND) * exp2(-14)])
    assert snapshot.column("rating_mean").tolist() == pytest.approx([PRIOR_MEAN, (17.5 + 5) / 6])


def test_neighbours_are_mutual_damped_and_best_first() -> None:
    snapshot = made(
        viewed("tea", T, times=11),
        viewed("pot", T, "tea", "tea", times=4),
        viewed("cup", T, "tea", times=4),
        ("tea", partial(Change("tea", T, T, seen_with=[("cup", T), ("cup", T)]))),
    )
    assert snapshot.item_ids == ["cup", "pot", "tea"]
    damped = sqrt((11 + DAMPING) * (4 + DAMPING))
    assert [other for other, _ in snapshot.seen.of(2)] == [0, 1]
    assert [score for _, score in snapshot.seen.of(2)] == pytest.approx([3 / damped, 2 / damped])
    assert snapshot.seen.of(0) == [(2, snapshot.seen.of(2)[0][1])]
    assert snapshot.bought.of(2) == []


def test_no_more_than_the_best_neighbours_and_items_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [f"i{n:02}" for n in range(2 * NEIGHBOURS)]
    snapshot = made(*[viewed("tea", T, *many), *(viewed(item, T, times=n) for n, item in enumerate(many))])
    tea = snapshot.item_ids.index("tea")
    assert [snapshot.item_ids[n] for n, _ in snapshot.seen.of(tea)] == many[:NEIGHBOURS]
    monkeypatch.setattr(item_snapshot, "SNAPSHOT_ITEMS", 3)
    bounded = made(viewed("a", T, "b", times=1), viewed("b", T, times=3), viewed("c", T, times=2), viewed("d", T, "c"))
    assert bounded.item_ids == ["a", "b", "c"]
    assert bounded.seen.of(2) == []
    assert len(bounded.seen.of(0)) == 1


def test_the_same_partials_give_the_same_bytes_and_others_do_not() -> None:
    choose = random.Random(5)
    ids = [f"i{n}" for n in range(NEIGHBOURS)]  # so none is left out
    shards = [viewed(choose.choice(ids), T + choose.randrange(30 * DAY), *choose.sample(ids, 3)) for _ in range(100)]
    first, again = encode(made(*shards)), encode(made(*shards))
    assert first == again
    assert version_of(first) == version_of(again) != version_of(encode(made(*shards[1:])))
    read = decode(first)
    assert read is not None
    assert encode(read) == first
    mirrored = {(n, other) for n in range(len(ids)) for other, _ in read.seen.of(n)}
    assert mirrored == {(other, n) for n, other in mirrored}


def test_a_snapshot_of_another_format_is_not_read() -> None:
    snapshot = made(viewed("tea", T))
    later = Snapshot(2, *[getattr(snapshot, name) for name in Snapshot.__struct_fields__[1:]])
    assert decode(encode(later)) is None


def test_an_old_history_beside_a_new_one_underflows_to_nothing() -> None:
    snapshot = made(viewed("tea", T), viewed("old", T - 40 * 365 * DAY))
    assert np.isfinite(snapshot.column("trend")).all()
    assert snapshot.column("views").tolist() == pytest.approx([exp2(-40 * 365 * DAY / HALF_LIFE_MS), 1])


async def test_versions_are_published_once_and_old_ones_go(redis: Redis) -> None:
    store = SnapshotStore(redis, "default")
    assert await store.newest() is None
    assert await store.publish("one", b"1") == await store.publish("one", b"1") == 1
    assert await store.publish("two", b"2") == 2
    assert await store.newest() == ("two", 2)
    assert (await store.load("one"), await store.load("two"), await store.load("three")) == (b"1", b"2", None)
    assert 0 < await redis.pttl(keys.snapshot("default", "one")) <= KEPT_MS
    assert await redis.pttl(keys.snapshot("default", "two")) == -1
    assert await store.publish("one", b"1") == 3  # back again: it stays
    assert await redis.pttl(keys.snapshot("default", "one")) == -1
    assert await SnapshotStore(redis, "other").newest() is None
