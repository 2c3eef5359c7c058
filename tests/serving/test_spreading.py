"""What happens after the blend: likeness, caps, exploration with known probabilities, pins in their slots."""

from collections import Counter
from itertools import pairwise

import msgspec
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from serving.ranking import (
    Choice,
    Inputs,
    Listed,
    Pin,
    Placed,
    blended,
    decide,
    even,
    packed_likeness,
    slot_propensity,
)
from serving.scenarios import Exploration, Scenario, Turn

IDS = [f"i{n}" for n in range(12)]


def scenario(**rules: object) -> Scenario:
    return msgspec.convert({"name": "home", "blend": [["shelf", 1]], **rules}, Scenario)


def inputs(ids: list[str], count: int = 6, **more: object) -> Inputs:
    listed = [Listed("shelf", 1, [Choice(i, 1.0 - n / 20, "tower") for n, i in enumerate(ids)])]
    return Inputs(**{"scenario": scenario(), "count": count, "seed": 7, "lists": listed, **more})


def ids(placed: list[Placed]) -> list[str]:
    return [one.choice.item_id for one in placed]


def test_what_is_like_the_first_sinks_and_without_diversity_nothing_does() -> None:
    alike = np.eye(4)
    alike[0, 1] = alike[1, 0] = 1.0  # i0 and i1 are the same thing
    told = {"alike_ids": IDS[:4], "alike": packed_likeness(alike)}
    assert ids(decide(inputs(IDS[:4], 3, **told))) == ["i0", "i1", "i2"]
    assert ids(decide(inputs(IDS[:4], 3, scenario=scenario(diversity=0.5), **told))) == ["i0", "i2", "i3"]


@given(
    st.lists(st.sampled_from(IDS), unique=True, min_size=1),
    st.dictionaries(st.sampled_from(IDS), st.sampled_from("ab")),
    st.integers(1, 3),
    st.integers(1, 12),
)
def test_no_category_beyond_its_cap_while_there_are_others(
    some: list[str], categories: dict[str, str], cap: int, count: int
) -> None:
    found = ids(decide(inputs(some, count, scenario=scenario(category_cap=cap), categories=categories)))
    assert len(found) == len(set(found)) == min(count, len(some))
    met: Counter[str] = Counter()
    for n, item_id in enumerate(found):
        category = categories.get(item_id)
        if category is not None and met[category] >= cap:
            left = (categories.get(other) for other in set(some) - set(found[:n]))
            assert all(one is not None and met[one] >= cap for one in left)
        met[category or ""] += category is not None


@given(
    st.lists(st.sampled_from(IDS), unique=True),
    st.lists(st.tuples(st.sampled_from(IDS), st.integers(1, 8)), unique_by=(lambda p: p[0], lambda p: p[1])),
    st.integers(8, 12),
    st.floats(0, 0.5),
)
def test_pins_stand_exactly_where_they_are_wanted(
    some: list[str], pins: list[tuple[str, int]], count: int, share: float
) -> None:
    explored = [Choice(i, 0.0, "new_arrivals") for i in IDS[:4]]
    rules = scenario(exploration={"share": share})
    placed = decide(inputs(some, count, pins=[Pin(*pin) for pin in pins], scenario=rules, explored=explored))
    by_position = {one.position: one for one in placed}
    assert len(by_position) == len(placed) == len(set(ids(placed))) <= count
    assert all(a.position < b.position for a, b in pairwise(placed))
    for item_id, position in pins:
        assert by_position[position].choice.item_id == item_id
        assert by_position[position].pinned


def test_the_noted_propensities_are_how_often_an_item_is_shown() -> None:
    rules = scenario(exploration={"share": 0.4, "pool": 5})
    pool = [Choice(i, 0.0, "new_arrivals") for i in ("i0", "n1", "n2", "n3")]  # i0 is also the first in order
    told: dict[str, float] = {}
    shown: Counter[str] = Counter()
    many = 20_000
    for seed in range(many):
        first = decide(inputs(IDS, 3, scenario=rules, explored=pool, seed=seed * 7919))[0]
        shown[first.choice.item_id] += 1
        told[first.choice.item_id] = first.propensity
    assert told == {"i0": 0.6 + 0.1, "n1": 0.1, "n2": 0.1, "n3": 0.1}
    for item_id, propensity in told.items():
        # Five standard deviations.
        assert abs(shown[item_id] / many - propensity) < 5 * (propensity * (1 - propensity) / many) ** 0.5


def test_what_is_left_to_explore_fills_a_list_that_nothing_else_does() -> None:
    rules = scenario(exploration={"share": 0.1, "pool": 5})
    pool = [Choice(i, 0.0, "new_arrivals") for i in ("n1", "n2", "n3")]
    for seed in range(50):
        placed = decide(inputs(["i0"], 4, scenario=rules, explored=pool, seed=seed))
        assert sorted(ids(placed)) == ["i0", "n1", "n2", "n3"]
        assert placed[-1].propensity == (1.0 if placed[-1].explored else 0.9 + 0.1)


@given(
    st.lists(st.sampled_from(IDS), unique=True, min_size=1),
    st.lists(st.sampled_from(IDS), unique=True),
    st.floats(0, 0.5),
)
def test_the_propensities_of_a_slot_add_up_to_one(some: list[str], pool: list[str], share: float) -> None:
    ranked = blended(inputs(some, len(some)), len(some))
    left = {i: Choice(i, 0.0, "new_arrivals") for i in pool}
    total = sum(slot_propensity(i, ranked[0], left, share) for i in IDS)
    assert abs(total - 1.0) < 1e-9


@given(st.lists(st.sampled_from(IDS), unique=True), st.integers(0, 2**64 - 1), st.integers(1, 12))
def test_the_same_inputs_give_the_same_list_when_they_are_read_again(some: list[str], seed: int, count: int) -> None:
    rules = scenario(diversity=0.3, category_cap=2, exploration=Exploration(0.3))
    alike = packed_likeness(np.full((len(some), len(some)), 0.5))
    given_ones = inputs(
        some,
        count,
        scenario=rules,
        seed=seed,
        explored=[Choice(i, 0.0, "new_arrivals") for i in IDS[:5]],
        categories=dict.fromkeys(some[::2], "tea"),
        alike_ids=some,
        alike=alike,
    )
    read = msgspec.msgpack.decode(msgspec.msgpack.encode(given_ones), type=Inputs)
    assert decide(read) == decide(given_ones)


def test_chance_is_even() -> None:
    drawn = [even(12345, n) for n in range(20_000)]
    assert all(0 <= one < 1 for one in drawn)
    tenths = Counter(int(10 * one) for one in drawn)
    assert all(abs(tenths[n] - 2000) < 5 * (20_000 * 0.09) ** 0.5 for n in range(10))


def test_factors_reorder_a_source_and_a_negative_score_is_helped_too() -> None:
    choices = [Choice("a", 1.0, "tower"), Choice("b", 0.5, "tower"), Choice("c", -0.5, "tower")]
    given_ones = Inputs(
        scenario=Scenario(name="home", blend=(Turn("shelf"),)),
        count=3,
        seed=0,
        lists=[Listed("shelf", 1, choices, [0.1, 1.0, 10.0])],
    )
    placed = decide(given_ones)
    assert [(one.choice.item_id, round(one.score, 3)) for one in placed] == [("b", 0.5), ("a", 0.1), ("c", -0.05)]
