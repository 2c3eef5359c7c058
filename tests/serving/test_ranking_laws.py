"""The law of the list over all that a shop can set: no item that may not be shown, and none twice."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.shopper_bought import added
from features.shoppers import State
from models.candidates import Candidate
from serving import expressions
from serving.experiments import ExperimentSetting
from serving.facts import facts_of
from serving.gathering import Rules, Wish, gather
from serving.policies import Policies
from serving.ranking import Inputs, Pin, blended, decide, reorders
from serving.recommendation_types import RecommendationRequest
from serving.scenarios import SCENARIO_NAMES, SCENARIOS, Scenario
from serving.sources import Facts, Shop
from tests.serving.test_ranking import IDS, NOW, AShop, candidates, ids, shops, some_ids, states

SOURCES = ("shelf", "context", "bought_together", "cart", "neighbours", "category", "trending", "new_arrivals")
MORE_SOURCES = (*SOURCES, "recently_viewed", "popular", "catalogue")
FILTERS = (
    "item.category == 'tea'",
    "item.id in ['i1', 'i3', 'i5', 'i7']",
    "item.brand == 'x'",
    "!(item.id in shopper.viewed)",
    "has(item.category) && item.price < 20.0",
)
BOOSTERS = ("item.category == 'tea' ? 3.0 : 0.0", "0.0", "item.price", "item.id in shopper.viewed ? 0.1 : 5.0")

sources = st.sampled_from(MORE_SOURCES)
# What a shop, a variation or a request may set, each set or not.
SETTABLE: dict[str, st.SearchStrategy[Any]] = {
    "blend": st.lists(st.tuples(sources, st.integers(1, 3)), min_size=1, max_size=3),
    "fallback": st.just(["new_arrivals", "catalogue"]) | st.lists(sources, max_size=4),
    "repeats": st.booleans(),
    "diversity": st.sampled_from([0.3, 1.0]),
    "category_cap": st.integers(1, 3),
    "rotation_rate": st.sampled_from([0.3, 1.0]),
    "exploration": st.fixed_dictionaries(
        {"share": st.sampled_from([0.2, 0.5]), "pool": st.integers(1, 20), "source": sources}
    ),
    "filter": st.sampled_from(FILTERS),
    "booster": st.sampled_from(BOOSTERS),
}


@st.composite
def changes(draw: st.DrawFn) -> dict[str, Any]:
    names = draw(st.lists(st.sampled_from(sorted(SETTABLE)), min_size=2, max_size=6, unique=True))
    return {name: draw(SETTABLE[name]) for name in names}


@pytest.fixture(scope="module", autouse=True)
def _parser_is_there() -> None:
    """At its first use it raises Python's limit of recursion, which hypothesis wants to stay."""
    expressions.check("true", None)


@st.composite
def policies(draw: st.DrawFn) -> tuple[Scenario, bool, bool]:
    """A scenario as a shop set it, changed by a running experiment and by the request; repeats; holdout."""
    rules = Policies(frozenset(draw(st.sets(st.sampled_from(SCENARIO_NAMES), max_size=2))))
    name = draw(st.sampled_from(SCENARIO_NAMES))
    whole = msgspec.to_builtins(SCENARIOS[name]) | draw(changes())
    rules.take_scenario(name, msgspec.convert(whole, Scenario), 2)
    variations = [
        {"id": "a", "changes": draw(changes()), "holdout": draw(st.booleans())},
        {"id": "b", "changes": draw(changes())},
    ]
    told = {"scenario": name, "variations": variations}
    rules.take_experiment("e", msgspec.convert(told, ExperimentSetting), 1)
    asked = {"user_id": draw(st.sampled_from(IDS)), "scenario": name}
    asked |= {field: value for field in ("diversity", "filter") if (value := draw(changes()).get(field)) is not None}
    policy = rules.of(msgspec.convert(asked, RecommendationRequest))
    return policy.scenario, policy.repeats, policy.holdout


@st.composite
def pins(draw: st.DrawFn) -> list[Pin]:
    many = draw(st.integers(0, 3))
    items, slots = draw(st.permutations(IDS)), draw(st.permutations(range(1, 17)))
    return [Pin(item_id, slot) for item_id, slot in zip(items[:many], slots[:many], strict=True)]


@st.composite
def full_shops(draw: st.DrawFn) -> AShop:
    """Most items may be shown."""
    return replace(draw(shops()), shown=frozenset(IDS) - draw(some_ids))


def facts_of_items(shop: AShop, item_id: str) -> dict[str, Any]:
    known: dict[str, Any] = {"id": item_id, "price": float(item_id[1:]) * 3}
    category = shop.category(item_id)
    return known if category is None else known | {"category": category}


def rules_of(scenario: Scenario, shop: AShop, state: State, facts: Facts, shown: dict[str, int]) -> Rules:
    shopper = expressions.shopper_facts(state, facts)

    def items(item_id: str) -> dict[str, Any]:
        return facts_of_items(shop, item_id)

    return Rules(
        filter=None if scenario.filter is None else expressions.filter_of(scenario.filter, items, shopper),
        booster=None if scenario.booster is None else expressions.booster_of(scenario.booster, items, shopper),
        shown_at=shown,
        now_ms=NOW,
    )


@settings(max_examples=60, deadline=None)
@given(
    states(),
    full_shops(),
    candidates,
    policies(),
    pins(),
    st.sampled_from(["full", "session"]),
    st.builds(
        dict,
        count=st.integers(1, 16),
        context=st.lists(st.sampled_from(IDS), max_size=2).map(tuple),
        excluded=some_ids.map(frozenset),
        filled_up=st.booleans(),
        seed=st.integers(0, 2**64 - 1),
    ),
    st.dictionaries(st.sampled_from(IDS), st.integers(NOW - 4_000_000, NOW)),
    some_ids,
)
def test_nothing_that_may_not_be_shown_nothing_twice_whatever_the_rules(
    state: State,
    shop: AShop,
    shelf: list[Candidate],
    policy: tuple[Scenario, bool, bool],
    pinned: list[Pin],
    how: Any,
    asked: dict[str, Any],
    shown: dict[str, int],
    before: set[str],
) -> None:
    scenario, repeats, holdout = policy
    for item_id in before:
        state.bought_before = added(state.bought_before, item_id, NOW, 1)
    facts = facts_of(state, how, None, NOW)
    if holdout:
        facts, shelf = Facts(in_cart=facts.in_cart, disliked=facts.disliked, owned=facts.owned), []
    rules = rules_of(scenario, shop, state, facts, shown)
    wish = Wish(scenario=scenario, repeats=repeats, pins=pinned, **asked)
    inputs = gather(wish, facts, shelf, Shop(shop, shop), rules)
    placed = decide(inputs)
    found = ids(placed)
    passed = {i for i in shop.shown if rules.filter is None or rules.filter(i)}
    bought = {i for i, one in state.purchased.items() if one.orders > 0} | before
    allowed = passed - set(state.cart) - set(state.disliked) - wish.excluded - set(wish.context)
    allowed -= set() if repeats else bought
    assert set(found) <= allowed
    assert len(found) == len(set(found)) <= wish.count
    if wish.filled_up and "catalogue" in scenario.fallback:
        assert len(found) == min(wish.count, len(allowed))
    # A pin stands in its slot where it may be shown, and each item has one slot.
    assert {one.choice.item_id for one in placed if one.pinned} == {
        pin.item_id for pin in pinned if pin.item_id in allowed and pin.position <= wish.count
    }
    assert len({one.position for one in placed}) == len(placed)
    assert all(0.0 < one.propensity <= 1.0 for one in placed)
    if not pinned and not reorders(scenario):  # the short way of one source is the blend's
        in_order = [(one.choice, one.score, one.planned) for one in blended(inputs, wish.count)]
        assert [(one.choice, one.score, one.planned) for one in placed] == in_order
    # What the record keeps says the same.
    kept = msgspec.msgpack.decode(msgspec.msgpack.encode(inputs), type=Inputs)
    assert decide(kept) == placed
