"""What a list is chosen from: no more than it needs, and never nothing while something may be shown."""

from models.candidates import Candidate
from serving.facts import NOBODY
from serving.gathering import Rules, Wish, gather, rank
from serving.ranking import Pin, decide, pool_size
from serving.scenarios import Scenario, Turn
from serving.sources import Shop
from tests.serving.test_ranking import AShop, ids

MANY = [f"m{n:03}" for n in range(400)]
SHELF = [Candidate(one, 1.0 - n / 1000, 1.0, "tower") for n, one in enumerate(MANY[:100])]
A_SHOP = AShop(frozenset(MANY), categories=dict.fromkeys(MANY, "tea"), popularities=dict.fromkeys(MANY[200:], 1.0))
SHOP = Shop(A_SHOP, A_SHOP)


def test_likenesses_are_of_those_that_the_list_is_chosen_from_not_of_all_that_sources_brought() -> None:
    blend = (Turn("shelf"), Turn("popular"), Turn("new_arrivals"))
    scenario = Scenario(name="home", blend=blend, diversity=0.5, category_cap=3)
    inputs = gather(Wish(scenario, 20), NOBODY, SHELF, SHOP)
    pool = pool_size(scenario, 20)
    assert sum(len(one.choices) for one in inputs.lists) > 2 * pool
    assert len(inputs.alike_ids) == len(inputs.categories) == pool
    assert len(inputs.alike) == pool * (pool - 1) // 2
    assert len(decide(inputs)) == 20


def test_pins_ask_no_other_source_for_what_the_blend_has() -> None:
    scenario = Scenario(name="home", blend=(Turn("shelf"),))
    wish = Wish(scenario, 5, pins=[Pin(MANY[0], 2), Pin(MANY[300], 4)])
    inputs = gather(wish, NOBODY, SHELF, SHOP)
    assert [one.source for one in inputs.lists] == ["shelf"]
    assert ids(decide(inputs)) == [MANY[1], MANY[0], MANY[2], MANY[300], MANY[3]]


def test_a_booster_looks_as_far_for_a_short_list_as_for_a_long_one() -> None:
    scenario = Scenario(name="home", blend=(Turn("shelf"),))
    rules = Rules(booster=lambda item_id: 10.0 if item_id == MANY[50] else 1.0)
    assert ids(rank(Wish(scenario, 1), NOBODY, SHELF, SHOP, rules)) == [MANY[50]]
    far = Rules(booster=lambda item_id: 10.0 if item_id == MANY[99] else 1.0)
    assert ids(rank(Wish(scenario, 90), NOBODY, SHELF, SHOP, far))[0] == MANY[99]


def test_a_cap_of_categories_holds_in_a_short_list_too() -> None:
    shop = AShop(frozenset(MANY), categories=dict.fromkeys(MANY[:30], "tea"))
    scenario = Scenario(name="home", blend=(Turn("shelf"),), category_cap=1)
    assert ids(rank(Wish(scenario, 3), NOBODY, SHELF, Shop(shop, shop))) == [MANY[0], MANY[30], MANY[31]]


def test_a_strict_list_is_shorter_but_not_empty() -> None:
    scenario = Scenario(name="home", blend=(Turn("shelf"),))
    strict = Wish(scenario, 10, filled_up=False)
    assert len(rank(strict, NOBODY, SHELF[:3], SHOP)) == 3
    assert len(rank(strict, NOBODY, (), SHOP)) == 10
