"""Features of a shopper and an item: known answers, and that they follow from the row alone."""

from decimal import Decimal
from math import exp, exp2, log
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.aggregates import (
    ITEM_CONTENT,
    PURCHASES_IN_ROW,
    SERVICES,
    SHOPPER_BEHAVIOUR,
    VIEWS,
    Kind,
    Value,
    ValueType,
    item_values,
    shopper_values,
)
from features.catalog import Content, Item, Price, Stock
from features.decay import affinity_at, purchase_weight_at, raise_sum
from features.shopper_state import (
    AFFINITY_HALF_LIFE_MS,
    MAX_AFFINITIES,
    PURCHASE_HALF_LIFE_MS,
    Decayed,
    Purchased,
    State,
)
from tests.features.steps import DAY, Story, T, folded, line, state_of, steps_of

over_weeks = st.integers(0, 20 * 24).map(lambda hour: T + hour * 3_600_000)


def fits(value: Value, kind: ValueType) -> bool:
    """Whether a value is one of its feature's type."""
    types: dict[Kind, type | tuple[type, ...]] = {
        Kind.String: str,
        Kind.Int64: int,
        Kind.Float64: float,
        Kind.Float32: float,
        Kind.Bool: bool,
    }
    each: Any = value if isinstance(value, list) else [value]
    return isinstance(value, list) == kind.many and all(type(one) is types[kind.kind] for one in each)


# --- shoppers


def test_a_shopper_never_heard_of_has_every_feature_and_knows_nothing() -> None:
    values = shopper_values(State())
    assert list(values) == list(SHOPPER_BEHAVIOUR.fields)
    assert {name for name, value in values.items() if value} == set()
    assert values["mean_log_price"] is None


def test_a_visit_in_features() -> None:
    story = Story()
    at = T + 60_000
    state = state_of(
        story.step("view_item", line("pot", price="100", category="pots", brand="Kyusu"), session="s"),
        story.step("add_to_cart", line("tea", 2, "1", "tea", "Leaf"), "cup", session="s"),
        story.step("purchase", line("tea", 2, "1", "tea", "Leaf"), session="s"),
    )
    values = shopper_values(state)
    assert values | {
        "top_category_weights": None,
        "top_brand_weights": None,
        "purchased_weights": None,
        "mean_log_price": None,
    } == {
        "views": 1,
        "orders": 1,
        "last_event_at": at + 120_000,
        "recent_items": ["pot", "tea", "cup", "tea"],
        "recent_kinds": ["view_item", "add_to_cart", "add_to_cart", "purchase"],
        "recent_times": [at, at + 60_000, at + 60_000, at + 120_000],
        "cart_items": ["cup"],
        "purchased_items": ["tea"],
        "purchased_weights": None,
        "purchased_last_at": [at + 120_000],
        "top_categories": ["tea", "pots"],
        "top_category_weights": None,
        "top_brands": ["Leaf", "Kyusu"],
        "top_brand_weights": None,
        "mean_log_price": None,
        "session_events": 3,
    }
    assert values["top_category_weights"] == values["top_brand_weights"] == pytest.approx([8, 1], abs=1e-3)
    assert values["purchased_weights"] == [1.0]
    assert values["mean_log_price"] == pytest.approx(log(100) / 9, abs=1e-4)


def test_weights_are_as_of_the_newest_event_and_heaviest_first() -> None:
    story = Story()
    state = state_of(
        story.step("purchase", "old", at=T),
        story.step("purchase", "old", at=T + 1),
        story.step("purchase", "new", at=T + 180 * DAY),
        story.step("view_item", "x", at=T + 270 * DAY),
    )
    values = shopper_values(state)
    assert values["purchased_items"] == ["new", "old"]
    assert values["purchased_weights"] == pytest.approx([0.5, 0.25])
    assert values["purchased_last_at"] == [T + 180 * DAY, T + 1]


def test_items_bought_alike_are_in_the_order_of_their_ids_and_given_back_ones_are_last() -> None:
    state = State(
        purchased={
            "c": Purchased(1, T, T, 1.0),
            "zero": Purchased(1, T, T, 0.0),
            "a": Purchased(1, T, T, 1.0),
            "half": Purchased(1, T, T + 90 * DAY, 0.4),
            "b": Purchased(1, T, T, 1.0),
        },
        newest=T + 90 * DAY,
    )
    values = shopper_values(state)
    assert values["purchased_items"] == ["a", "b", "c", "half", "zero"]
    assert values["purchased_weights"] == pytest.approx([0.5, 0.5, 0.5, 0.4, 0])


def test_only_the_heaviest_purchases_are_in_a_row() -> None:
    story = Story()
    state = state_of(*(story.step("purchase", f"{n:03}", at=T + n * DAY) for n in range(PURCHASES_IN_ROW + 7)))
    newest_first = [f"{n:03}" for n in reversed(range(7, PURCHASES_IN_ROW + 7))]
    assert shopper_values(state)["purchased_items"] == newest_first


def test_what_is_disliked_is_no_liking() -> None:
    story = Story()
    state = state_of(
        story.step("dislike_item", line("a", category="soap", brand="Foam", price="3")),
        story.step("view_item", line("b", category="tea")),
    )
    values = shopper_values(state)
    assert (values["top_categories"], values["top_brands"], values["mean_log_price"]) == (["tea"], [], None)


def test_the_mean_price_is_weighed_by_liking_and_age() -> None:
    story = Story()
    state = state_of(
        story.step("view_item", line("a", price="2.718281828459045"), at=T),
        story.step("view_item", line("b", price="1"), at=T + 30 * DAY),
    )
    value = shopper_values(state)["mean_log_price"]
    assert value == pytest.approx(1 / 3), "one of half the weight, and one at 0"
    assert isinstance(value, float)
    assert exp(value) == pytest.approx(1.3956, abs=1e-4)


@given(steps_of(over_weeks))
def test_every_value_is_of_its_type_and_arrays_that_belong_together_are_as_long(steps: Any) -> None:
    values = shopper_values(folded(steps).state)
    for name, kind in SHOPPER_BEHAVIOUR.fields.items():
        assert fits(values[name], kind) or (name == "mean_log_price" and values[name] is None)
    for names in (
        ("recent_items", "recent_kinds", "recent_times"),
        ("purchased_items", "purchased_weights", "purchased_last_at"),
        ("top_categories", "top_category_weights"),
        ("top_brands", "top_brand_weights"),
    ):
        assert len({len(values[name]) for name in names}) == 1
    for name in ("purchased_weights", "top_category_weights", "top_brand_weights"):
        assert values[name] == sorted(values[name], reverse=True)
    assert values["recent_times"] == sorted(values["recent_times"])


@given(steps_of(over_weeks, max_size=12), st.integers(-1000, 1000))
def test_when_it_all_happened_makes_no_difference_but_to_times(steps: Any, days: int) -> None:
    """The whole life of a shopper moved by days: every weight is the same, so none is as of some absolute time."""
    moved = [type(step)(step.at + days * DAY, *list(_rest(step))) for step in steps]
    here, there = (shopper_values(folded(each).state) for each in (steps, moved))
    for name, value in here.items():
        if name in ("last_event_at", "recent_times", "purchased_last_at"):
            continue
        near = isinstance(value, float) or (isinstance(value, list) and value and isinstance(value[0], float))
        assert there[name] == (pytest.approx(value, rel=1e-9) if near else value)


@given(steps_of(over_weeks))
def test_weights_are_exactly_those_of_each_sum_by_itself(steps: Any) -> None:
    state = folded(steps).state
    values: Any = shopper_values(state)
    now = state.newest
    bought = [purchase_weight_at(state.purchased[item_id], now) for item_id in values["purchased_items"]]
    assert values["purchased_weights"] == bought
    for sums, names, weights in (
        (state.categories, values["top_categories"], values["top_category_weights"]),
        (state.brands, values["top_brands"], values["top_brand_weights"]),
    ):
        alone = {name: affinity_at(each, now) for name, each in sums.items() if each.value > 0}
        assert names == sorted(alone, key=lambda name: (-alone[name], name))
        assert weights == [alone[name] for name in names]


def _rest(step: Any) -> Any:
    return (getattr(step, name) for name in step.__struct_fields__[1:])


# --- items


def test_an_item_in_features() -> None:
    item = Item(
        item_id="tea",
        content=Content(name="Tea", category="tea", brand="Leaf"),
        price=Price(price=Decimal("4.50"), currency="EUR"),
        stock=Stock(available=True, quantity=7),
    )
    expected = {"category": "tea", "brand": "Leaf", "price": 4.5, "currency": "EUR", "available": True}
    assert item_values(item) == expected
    assert list(expected) == list(ITEM_CONTENT.fields)
    assert all(fits(item_values(item)[name], kind) for name, kind in ITEM_CONTENT.fields.items())


@pytest.mark.parametrize(
    ("stock", "available"),
    [
        (None, True),
        (Stock(), True),
        (Stock(available=False), False),
        (Stock(quantity=0), False),
        (Stock(quantity=1), True),
        (Stock(available=False, quantity=3), False),
    ],
)
def test_an_item_is_available_unless_its_stock_says_otherwise(stock: Stock | None, available: bool) -> None:
    values = item_values(Item(item_id="tea", stock=stock))
    assert values == {"category": None, "brand": None, "price": None, "currency": None, "available": available}


# --- decay


def test_a_sum_halves_in_its_half_life_and_is_worth_more_before_its_time() -> None:
    sum_ = Decayed(8.0, T)
    halves = [affinity_at(sum_, T + n * AFFINITY_HALF_LIFE_MS) for n in (-1, 0, 1, 3)]
    assert halves == [16.0, 8.0, 4.0, 1.0]
    bought = Purchased(3, T, T, 2.0)
    assert [purchase_weight_at(bought, T + n * PURCHASE_HALF_LIFE_MS) for n in (0, 2)] == [2.0, 0.5]


def test_adding_to_a_sum_adds_to_what_is_left_of_it() -> None:
    sums = {"tea": Decayed(2.0, T)}
    raise_sum(sums, "tea", 3.0, T + AFFINITY_HALF_LIFE_MS)
    raise_sum(sums, "soap", -1.0, T)
    assert sums == {"tea": Decayed(4.0, T + AFFINITY_HALF_LIFE_MS), "soap": Decayed(-1.0, T)}


def test_a_newcomer_to_a_full_map_takes_the_place_and_the_worth_of_the_least() -> None:
    sums = {f"c{n}": Decayed(float(n + 1), T) for n in range(MAX_AFFINITIES)}
    raise_sum(sums, "new", 2.0, T + AFFINITY_HALF_LIFE_MS)
    assert "c0" not in sums
    assert sums["new"] == Decayed(2.5, T + AFFINITY_HALF_LIFE_MS)
    assert len(sums) == MAX_AFFINITIES
    raise_sum(sums, "disliked", -3.0, T + AFFINITY_HALF_LIFE_MS)
    assert "disliked" not in sums, "a dislike does not push out what is liked"


def test_a_least_of_less_than_nothing_leaves_nothing_behind() -> None:
    sums = {f"c{n}": Decayed(1.0, T) for n in range(MAX_AFFINITIES - 1)} | {"bad": Decayed(-4.0, T)}
    raise_sum(sums, "new", 1.0, T)
    assert sums["new"] == Decayed(1.0, T)
    assert "bad" not in sums


@given(st.floats(0, 1e6), st.integers(0, 400 * DAY), st.integers(0, 400 * DAY))
def test_decay_in_two_steps_is_decay_in_one(value: float, first: int, second: int) -> None:
    halfway = Decayed(affinity_at(Decayed(value, T), T + first), T + first)
    assert affinity_at(halfway, T + first + second) == pytest.approx(
        value * exp2(-(first + second) / AFFINITY_HALF_LIFE_MS)
    )


# --- the tables


def test_views_are_found_by_their_names_and_services_hold_views_of_the_tables() -> None:
    assert {name: view.name for name, view in VIEWS.items()} == {name: name for name in VIEWS}
    assert all(view is VIEWS[view.name] for views in SERVICES.values() for view in views)
