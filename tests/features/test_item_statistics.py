"""Statistics of items: known answers of decay and smoothing, and that counting by day is counting."""

from collections import defaultdict
from collections.abc import Sequence
from math import exp2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregates import ITEM_STATISTICS
from features.events import EventName
from features.item_changes import Review, changes_of, review_changes
from features.item_partials import HALF_LIFE_MS
from features.item_statistics import PRIOR_MEAN, PRIOR_RATINGS, ItemCounter, Snapshots
from features.shoppers import Row, Step, empty, fold
from infra.clock import DAY_MS

DAY_1 = 1_777_593_600_000  # 2026-05-01
LATENESS = 10 * DAY_MS


class Counting:
    """A counter that is told days and hours; a step is known when it happens unless told otherwise."""

    def __init__(self) -> None:
        self.counter = ItemCounter()
        self.shoppers: dict[str, Row] = defaultdict(empty)
        self.steps = 0

    def add(
        self,
        name: EventName,
        *items: str,
        day: float,
        shopper: str = "ann",
        known: float | None = None,
        rating: int | None = None,
        tenant: str = "default",
        event_id: str | None = None,
    ) -> None:
        at_ms = DAY_1 + round((day - 1) * DAY_MS)
        self.steps += 1
        lines = tuple((item, None, 1, None, None) for item in items) if rating is None else ()
        step = Step(at_ms, "site", event_id or f"e{self.steps}", name, True, None, lines, None, None)
        folded = fold(self.shoppers[shopper], [step], LATENESS)
        assert folded.applied
        [changes] = changes_of(self.shoppers[shopper], folded.admitted, LATENESS)
        self.shoppers[shopper] = folded.row
        for change in changes if rating is None else review_changes(Review(rating, items), at_ms):
            self.counter.add(tenant, change, at_ms if known is None else DAY_1 + round((known - 1) * DAY_MS))

    def rows(self) -> list[dict[str, Any]]:
        return rows(self.counter.snapshots())


def rows(snapshots: Snapshots) -> list[dict[str, Any]]:
    columns = {name: column.tolist() for name, column in snapshots.values.items()}
    days = ((snapshots.at_ms - DAY_1) // DAY_MS).tolist()
    return [
        {"item": key, "day": day, **{name: column[number] for name, column in columns.items()}}
        for number, (key, day) in enumerate(zip(snapshots.keys, days, strict=True))
    ]


def column(found: list[dict[str, Any]], name: str) -> list[Any]:
    return [row[name] for row in found]


def test_the_columns_are_those_of_the_view() -> None:
    counting = Counting()
    counting.add("view_item", "tea", day=1)
    assert list(counting.counter.snapshots().values) == list(ITEM_STATISTICS.fields)


def test_nothing_counted_is_no_row() -> None:
    counting = Counting()
    for name in ("page_view", "add_to_cart", "select_item", "view_item_list", "review_item", "refund"):
        counting.add(name, "tea", day=1)
    assert counting.rows() == []


def test_a_view_counts_from_the_end_of_its_day_and_decays_from_its_moment() -> None:
    counting = Counting()
    counting.add("view_item", "tea", day=1.5)
    (row,) = counting.rows()
    assert (row["item"], row["day"], row["counted_at"]) == ("default|tea", 1, DAY_1 + DAY_MS)
    assert row["decayed_views"] == exp2(-DAY_MS / 2 / HALF_LIFE_MS)
    assert (row["decayed_purchases"], row["buyers"], row["rating_count"]) == (0, 0, 0)
    assert row["rating_mean"] == PRIOR_MEAN


def test_views_and_purchases_halve_in_fourteen_days() -> None:
    counting = Counting()
    for day in (1, 15, 29):
        counting.add("view_item", "tea", day=day)
        counting.add("purchase", "tea", day=day)
    end_of_day = exp2(-1 / 14)  # an event at midnight is a day old at the end of its day
    expected = [1 * end_of_day, 1.5 * end_of_day, 1.75 * end_of_day]
    assert column(counting.rows(), "decayed_views") == pytest.approx(expected)
    assert column(counting.rows(), "decayed_purchases") == pytest.approx(expected)


def test_a_refund_takes_the_newest_order_back_and_never_more_than_there_are() -> None:
    counting = Counting()
    counting.add("purchase", "tea", day=1)
    counting.add("purchase", "tea", day=1.5)
    counting.add("refund", "tea", day=2)
    for _ in range(5):
        counting.add("refund", "tea", day=3)
    counting.add("purchase", "tea", day=4)
    found = counting.rows()
    assert column(found, "decayed_purchases") == pytest.approx(
        [exp2(-1 / 14) + exp2(-0.5 / 14), exp2(-2 / 14), 0, exp2(-1 / 14)]
    )
    assert column(found, "buyers") == [1, 1, 0, 1]


def test_buyers_are_counted_once_on_the_first_day() -> None:
    counting = Counting()
    for shopper, day in (("ann", 1), ("bob", 1), ("ann", 2), ("eve", 3), ("bob", 3), ("ann", 1)):
        counting.add("purchase", "tea", day=day, shopper=shopper)
    counting.add("view_item", "tea", day=5, shopper="fay")
    found = counting.rows()
    assert list(zip(column(found, "day"), column(found, "buyers"), strict=True)) == [(1, 2), (2, 2), (3, 3), (5, 3)]


def test_ratings_start_from_five_of_three_and_a_half() -> None:
    counting = Counting()
    counting.add("review_item", "tea", rating=5, day=1)
    for _ in range(4):
        counting.add("review_item", "tea", rating=1, day=2)
    found = counting.rows()
    assert column(found, "rating_count") == [1, 5]
    assert column(found, "rating_mean") == pytest.approx([(17.5 + 5) / 6, (17.5 + 9) / 10])
    assert PRIOR_RATINGS * PRIOR_MEAN == 17.5


def test_tenants_are_apart() -> None:
    counting = Counting()
    counting.add("view_item", "tea", "pot", day=1)
    counting.add("view_item", "tea", day=1, tenant="other")
    found = counting.rows()
    assert sorted(column(found, "item")) == ["default|pot", "default|tea", "other|tea"]
    assert column(found, "decayed_views") == pytest.approx([exp2(-1 / 14)] * 3)


def test_what_comes_to_be_known_late_counts_from_then_at_its_age() -> None:
    counting = Counting()
    counting.add("view_item", "tea", day=1, known=14.5)
    (row,) = counting.rows()
    assert row["day"] == 14
    assert row["decayed_views"] == pytest.approx(exp2(-14 / 14))


Fact = tuple[EventName, str, str, int, int, str]  # what, item, shopper, day, hour, id


@st.composite
def facts(draw: st.DrawFn, most: int) -> list[Fact]:
    told = []
    for number in range(draw(st.integers(0, most))):
        name = draw(st.sampled_from(["view_item", "purchase", "refund", "review_item"]))
        item, shopper = draw(st.sampled_from(["tea", "pot", "cup"])), draw(st.sampled_from(["ann", "bob"]))
        told.append((name, item, shopper, draw(st.integers(1, 5)), draw(st.integers(0, 23)), f"e{number:02}"))
    return sorted(told, key=lambda fact: fact[3:])


def counted(told: Sequence[Fact], stop_at: int | None = None) -> list[dict[str, Any]]:
    counting = Counting()
    for number, (name, item, shopper, day, hour, event_id) in enumerate(told):
        if number == stop_at:
            counting.counter.snapshots()  # which also packs what was counted so far
        rating = 3 if name == "review_item" else None
        counting.add(name, item, rating=rating, day=day + hour / 24, shopper=shopper, event_id=event_id)
    return counting.rows()


def naive(told: Sequence[Fact], item: str, day: int) -> dict[str, Any]:
    """The row of an item at the end of a day, from all its facts up to then."""
    known = [fact for fact in told if fact[1] == item and fact[3] <= day]
    orders: dict[str, list[float]] = {"ann": [], "bob": []}
    for name, _, shopper, of_day, hour, _ in known:
        age = day + 1 - of_day - hour / 24
        if name == "purchase":
            orders[shopper].append(exp2(-age / 14))
        elif name == "refund" and orders[shopper]:
            orders[shopper].pop()
    ratings = sum(fact[0] == "review_item" for fact in known)
    views = sum(exp2((fact[3] + fact[4] / 24 - day - 1) / 14) for fact in known if fact[0] == "view_item")
    return {
        "decayed_purchases": pytest.approx(sum(map(sum, orders.values())), abs=1e-7),
        "decayed_views": pytest.approx(views, abs=1e-7),
        "buyers": sum(map(bool, orders.values())),
        "rating_mean": pytest.approx((17.5 + 3 * ratings) / (5 + ratings)),
        "rating_count": ratings,
        "counted_at": DAY_1 + day * DAY_MS,
    }


def changes_something(told: Sequence[Fact], at: int) -> bool:
    name, item, shopper, *_ = told[at]
    left = 0
    for fact in told[:at]:
        if fact[1:3] == (item, shopper):
            left = max(0, left + {"purchase": 1, "refund": -1}.get(fact[0], 0))
    return name != "refund" or left > 0


@given(facts(30))
def test_every_row_follows_from_the_facts_before_its_end_of_day(told: list[Fact]) -> None:
    found = counted(told)
    changed = {(f"default|{fact[1]}", fact[3]) for n, fact in enumerate(told) if changes_something(told, n)}
    assert {(row["item"], row["day"]) for row in found} == changed
    for row in found:
        item = row.pop("item").removeprefix("default|")
        assert row == {"day": row["day"], **naive(told, item, row["day"])}


@given(
    facts(20).flatmap(lambda told: st.tuples(st.just(told), st.permutations(told))),
    st.integers(0, 20),
)
def test_neither_the_order_of_a_day_nor_a_look_in_between_changes_anything(
    both: tuple[list[Fact], list[Fact]], stop_at: int
) -> None:
    told, permuted = both
    for row in counted(sorted(permuted, key=lambda fact: fact[3]), stop_at):
        item = row.pop("item").removeprefix("default|")
        assert row == {"day": row["day"], **naive(told, item, row["day"])}
