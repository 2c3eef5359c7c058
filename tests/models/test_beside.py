"""One suite for every baseline, on data whose answer follows by reasoning: a checkerboard, a shop of nobody."""

from collections.abc import Callable
from typing import Final

import numpy as np
import pytest

from infra.clock import DAY_MS
from models.als import als
from models.baselines import Ranker, decayed_popularity, own_repeats, popularity, recency_item_knn
from models.beside import COUNT, Tuning, baselines
from models.ease import recency_ease
from models.interactions import Interactions
from models.sessions import v_sknn
from tests.models.shops import SIDE, bought, checkerboard

Fit = Callable[[Interactions, int], Ranker]
ALL = np.arange(SIDE)
THEN = 100 * DAY_MS
PERSONAL: Final[dict[str, Fit]] = {
    "recency item-kNN": lambda shop, _: recency_item_knn(shop),
    "recency EASE": lambda shop, _: recency_ease(shop),
    "ALS": lambda shop, seed: als(shop, seed),
    "V-SKNN": lambda shop, _: v_sknn(shop),
}
EVERY: Final[dict[str, Fit]] = {
    "popularity": lambda shop, _: popularity(shop),
    "decayed popularity": lambda shop, _: decayed_popularity(shop, THEN),
    "own repeats": lambda shop, _: own_repeats(shop, THEN),
    **PERSONAL,
}


@pytest.fixture(params=EVERY)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=PERSONAL)
def personal(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_best_unseen_item_of_a_checkerboard_is_the_withheld_one(personal: str, seed: int) -> None:
    shop = checkerboard(seed)
    scores = np.array(PERSONAL[personal](shop, seed).score(ALL))
    scores[shop.shopper, shop.item] = -np.inf
    assert scores.argmax(1).tolist() == list(range(SIDE))


def test_what_the_others_of_ones_kind_buy_is_worth_more_than_what_nobody_of_them_does(personal: str) -> None:
    """0 and 1 buy the items 0 and 1, 2 and 3 the items 2 and 3, 4 bought the item 0 alone."""
    rows = [(0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 1, 2), (2, 2, 1), (2, 3, 2), (3, 2, 1), (3, 3, 2), (4, 0, 1)]
    (scores,) = PERSONAL[personal](bought(rows, 5, 4), 1).score(np.array([4]))
    assert scores[1] > max(scores[2], scores[3])


def test_scores_are_one_finite_row_for_each_that_is_asked_in_any_order(name: str) -> None:
    ranker = EVERY[name](checkerboard(1), 1)
    assert ranker.name == name
    asked = np.array([3, 0, 3])
    scores = ranker.score(asked)
    assert scores.shape == (3, SIDE)
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert np.allclose(scores, ranker.score(ALL)[asked], atol=1e-6)


def test_a_fit_is_the_same_each_time_and_leaves_the_purchases_as_they_are(name: str) -> None:
    shop, again = checkerboard(2), checkerboard(2)
    first, second = EVERY[name](shop, 7).score(ALL), EVERY[name](shop, 7).score(ALL)
    assert np.array_equal(first, second)
    assert np.array_equal(shop.item, again.item)
    assert np.array_equal(shop.shopper, again.shopper)


def test_a_shopper_without_a_purchase_and_an_item_nobody_bought_are_no_error(name: str) -> None:
    shop = bought([(0, 0, 1), (0, 1, 2), (1, 1, 3), (1, 0, 4)], 3, 4)
    scores = EVERY[name](shop, 1).score(np.array([2, 0]))
    assert np.isfinite(scores).all()
    assert np.allclose(scores[1][2:], 0, atol=1e-6)
    assert (scores[0][2:] <= scores[0][:2] + 1e-6).all()


def test_a_shop_without_a_purchase_is_scored_zero(name: str) -> None:
    assert not EVERY[name](bought([], 2, 3), 1).score(np.array([0, 1])).any()


def test_the_table_has_all_of_them_fitted_on_the_one_prefix() -> None:
    told: list[int] = []
    found = baselines(checkerboard(1), THEN, 5, progress=told.append)
    assert [one.name for one in found] == list(EVERY)
    assert len(found) == COUNT == sum(told)
    assert {one.name: one.seed for one in found if one.seed is not None} == {"ALS": 5}


def test_a_shops_own_tuning_reaches_the_models() -> None:
    shop = bought([(0, 0, THEN - DAY_MS), (0, 1, THEN), (1, 1, THEN), (1, 0, THEN)], 2, 3)
    tuning = Tuning(popular_half_life_days=1.0, repeat_half_life_days=1.0, knn_recency=0.5)
    found = {one.name: one.score(np.array([0])) for one in baselines(shop, THEN, 1, tuning)}
    assert found["decayed popularity"].tolist() == [[1.5, 2, 0]]
    assert found["own repeats"].tolist() == [[0.5, 1, 0]]
    plain = recency_item_knn(shop).score(np.array([0]))
    assert found["recency item-kNN"][0][1] == pytest.approx(plain[0][1] * 0.5 / 0.97, rel=1e-5)
