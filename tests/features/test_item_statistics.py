"""Statistics of items: known answers of decay and smoothing, and that counting by day is counting."""

from collections.abc import Sequence
from datetime import UTC, datetime
from math import exp2
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregates import ITEM_STATISTICS
from features.events import Event, EventItem, EventName
from features.item_statistics import HALF_LIFE_MS, PRIOR_MEAN, PRIOR_RATINGS, ItemCounter, Snapshots
from infra.clock import DAY_MS

DAY_1 = 1_777_593_600_000  # 2026-05-01


def event(name: EventName, *items: str, rating: int | None = None, tenant: str = "default") -> Event:
    return Event(
        event_name=name,
        event_id="any",
        user_id="someone",
        tenant=tenant,
        occurred_at=datetime(2026, 5, 1, tzinfo=UTC),
        items=tuple(EventItem(item_id=item) for item in items),
        rating=rating,
    )


class Counting:
    """A counter that is told days and hours; an event is known when it happens unless told otherwise."""

    def __init__(self) -> None:
        self.counter = ItemCounter()

    def add(self, one: Event, day: float, shopper: str = "ann", known: float | None = None) -> None:
        at_ms = DAY_1 + round((day - 1) * DAY_MS)
        self.counter.add(one, shopper, at_ms, at_ms if known is None else DAY_1 + round((known - 1) * DAY_MS))

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
    counting.add(event("view_item", "tea"), 1)
    assert list(counting.counter.snapshots().values) == list(ITEM_STATISTICS.fields)


def test_nothing_counted_is_no_row() -> None:
    counting = Counting()
    for name in ("page_view", "add_to_cart", "select_item", "view_item_list"):
        counting.add(event(name, "tea"), 1)
    counting.add(event("review_item", "tea"), 1)
    assert counting.rows() == []


def test_a_view_counts_from_the_end_of_its_day_and_decays_from_its_moment() -> None:
    counting = Counting()
    counting.add(event("view_item", "tea"), 1.5)
    (row,) = counting.rows()
    assert (row["item"], row["day"], row["counted_at"]) == ("default|tea", 1, DAY_1 + DAY_MS)
    assert row["decayed_views"] == exp2(-DAY_MS / 2 / HALF_LIFE_MS)
    assert (row["decayed_purchases"], row["buyers"], row["rating_count"]) == (0, 0, 0)
    assert row["rating_mean"] == PRIOR_MEAN


def test_views_and_purchases_halve_in_fourteen_days() -> None:
    counting = Counting()
    for day in (1, 15, 29):
        counting.add(event("view_item", "tea"), day)
        counting.add(event("purchase", "tea"), day)
    end_of_day = exp2(-1 / 14)  # an event at midnight is a day old at the end of its day
    expected = [1 * end_of_day, 1.5 * end_of_day, 1.75 * end_of_day]
    assert column(counting.rows(), "decayed_views") == pytest.approx(expected)
    assert column(counting.rows(), "decayed_purchases") == pytest.approx(expected)


def test_a_refund_takes_a_purchase_back_but_never_below_nothing() -> None:
    counting = Counting()
    counting.add(event("purchase", "tea"), 1)
    counting.add(event("purchase", "tea"), 1)
    counting.add(event("refund", "tea"), 2)
    for _ in range(5):
        counting.add(event("refund", "tea"), 3)
    counting.add(event("purchase", "tea"), 4)
    bought = column(counting.rows(), "decayed_purchases")
    assert bought[1] == pytest.approx(2 * exp2(-2 / 14) - exp2(-1 / 14))
    assert bought[2:] == pytest.approx([0, exp2(-1 / 14)])


def test_buyers_are_counted_once_on_the_first_day() -> None:
    counting = Counting()
    for shopper, day in (("ann", 1), ("bob", 1), ("ann", 2), ("eve", 3), ("bob", 3), ("ann", 1)):
        counting.add(event("purchase", "tea"), day, shopper)
    counting.add(event("view_item", "tea"), 5, "fay")
    found = counting.rows()
    assert list(zip(column(found, "day"), column(found, "buyers"), strict=True)) == [(1, 2), (2, 2), (3, 3), (5, 3)]


def test_ratings_start_from_five_of_three_and_a_half() -> None:
    counting = Counting()
    counting.add(event("review_item", "tea", rating=5), 1)
    for _ in range(4):
        counting.add(event("review_item", "tea", rating=1), 2)
    found = counting.rows()
    assert column(found, "rating_count") == [1, 5]
    assert column(found, "rating_mean") == pytest.approx([(17.5 + 5) / 6, (17.5 + 9) / 10])
    assert PRIOR_RATINGS * PRIOR_MEAN == 17.5


def test_an_item_twice_in_an_event_counts_once_and_tenants_are_apart() -> None:
    counting = Counting()
    counting.add(event("view_item", "tea", "tea", "pot"), 1)
    counting.add(event("view_item", "tea", tenant="other"), 1)
    found = counting.rows()
    assert sorted(column(found, "item")) == ["default|pot", "default|tea", "other|tea"]
    assert column(found, "decayed_views") == pytest.approx([exp2(-1 / 14)] * 3)


def test_what_comes_to_be_known_late_counts_from_then_at_its_age() -> None:
    counting = Counting()
    counting.add(event("view_item", "tea"), 1, known=14.5)
    (row,) = counting.rows()
    assert row["day"] == 14
    assert row["decayed_views"] == pytest.approx(exp2(-14 / 14))


facts = st.tuples(
    st.sampled_from(["view_item", "purchase", "refund", "review_item"]),
    st.sampled_from(["tea", "pot", "cup"]),
    st.sampled_from(["ann", "bob"]),
    st.integers(1, 5),
    st.integers(0, 23),
)
Fact = tuple[EventName, str, str, int, int]


def counted(told: Sequence[Fact], stop_at: int | None = None) -> list[dict[str, Any]]:
    counting = Counting()
    for number, (name, item, shopper, day, hour) in enumerate(told):
        if number == stop_at:
            counting.counter.snapshots()  # which also packs what was counted so far
        counting.add(event(name, item, rating=3 if name == "review_item" else None), day + hour / 24, shopper)
    return counting.rows()


def naive(told: Sequence[Fact], item: str, day: int) -> dict[str, Any]:
    """The row of an item at the end of a day, from all its facts up to then."""
    purchases = views = 0.0
    for today in range(1, day + 1):
        left = exp2(-1 / 14)
        mine = [fact for fact in told if fact[1] == item and fact[3] == today]
        age = {fact: exp2((fact[4] / 24 - 1) / 14) for fact in mine}
        views = views * left + sum(age[fact] for fact in mine if fact[0] == "view_item")
        purchases = purchases * left + sum(age[fact] for fact in mine if fact[0] == "purchase")
        purchases = max(0.0, purchases - sum(age[fact] for fact in mine if fact[0] == "refund"))
    known = [fact for fact in told if fact[1] == item and fact[3] <= day]
    ratings = sum(fact[0] == "review_item" for fact in known)
    return {
        "decayed_purchases": pytest.approx(purchases, abs=1e-7),
        "decayed_views": pytest.approx(views, abs=1e-7),
        "buyers": len({fact[2] for fact in known if fact[0] == "purchase"}),
        "rating_mean": pytest.approx((17.5 + 3 * ratings) / (5 + ratings)),
        "rating_count": ratings,
        "counted_at": DAY_1 + day * DAY_MS,
    }


@given(st.lists(facts, max_size=30))
def test_every_row_follows_from_the_facts_before_its_end_of_day(told: list[Fact]) -> None:
    found = counted(told)
    assert {(row["item"], row["day"]) for row in found} == {(f"default|{fact[1]}", fact[3]) for fact in told}
    for row in found:
        item = row.pop("item").removeprefix("default|")
        assert row == {"day": row["day"], **naive(told, item, row["day"])}


@given(
    st.lists(facts, max_size=20).flatmap(lambda told: st.tuples(st.just(told), st.permutations(told))),
    st.integers(0, 20),
)
def test_neither_the_order_of_a_day_nor_a_look_in_between_changes_anything(
    both: tuple[list[Fact], list[Fact]], stop_at: int
) -> None:
    def by_item(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(found, key=lambda row: (row["day"], row["item"]))

    def about(row: dict[str, Any]) -> dict[str, Any]:
        return {name: pytest.approx(value) if isinstance(value, float) else value for name, value in row.items()}

    told, permuted = both
    assert by_item(counted(permuted, stop_at)) == [about(row) for row in by_item(counted(told))]
