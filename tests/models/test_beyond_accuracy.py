"""Coverage, novelty, popularity, evenness, calibration: by hand and by laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.beyond_accuracy import (
    LORENZ_POINTS,
    SMOOTHING,
    coverage,
    gini,
    known_of,
    lorenz,
    miscalibration,
    novelty,
    popularity,
)
from models.ranking import NONE
from tests.models.shops import bought

ROWS = [(0, 0, 1), (0, 0, 2), (0, 1, 3), (1, 0, 1), (2, 0, 1)]
SHOP = bought(ROWS, 4, 5)
"""Item 0 was met by three shoppers, 1 by one, the others by nobody."""


def test_what_was_met_is_counted_by_shoppers() -> None:
    known = known_of(SHOP)
    assert known.met.tolist() == [3, 1, 0, 0, 0]
    assert known.shoppers == 3


def test_what_everybody_knows_tells_nothing_and_the_unknown_two_bits() -> None:
    found = novelty(np.array([[0, NONE], [1, 2], [NONE, NONE]]), known_of(SHOP))
    assert found.tolist()[:2] == [0, 1.5]
    assert np.isnan(found[2])


def test_popularity_is_the_mean_over_the_list() -> None:
    found = popularity(np.array([[0, 1], [4, NONE]]), known_of(SHOP))
    assert found.tolist() == [2, 0]


def test_coverage_is_the_share_of_the_catalogue_that_is_shown() -> None:
    assert coverage(np.array([[0, 1], [0, NONE]]), known_of(SHOP)) == 0.4


def test_even_lists_have_gini_nothing_and_one_item_alone_almost_one() -> None:
    known = known_of(SHOP)
    assert gini(np.arange(5)[:, None], known) == 0
    assert gini(np.zeros((9, 1), np.int64), known) == pytest.approx(0.8)
    assert gini(np.full((3, 2), NONE), known) == 0
    assert lorenz(np.arange(5)[:, None], known) == pytest.approx(np.linspace(0, 1, LORENZ_POINTS))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30))
def test_gini_is_the_mean_difference_of_a_brute_force(items: list[int]) -> None:
    counts = np.bincount(items, minlength=5)
    brute = np.abs(counts[:, None] - counts[None]).sum() / (2 * 5 * counts.sum())
    lists = np.array(items)[:, None]
    assert gini(lists, known_of(SHOP)) == pytest.approx(brute)
    line = lorenz(lists, known_of(SHOP))
    assert (np.diff(line) >= -1e-6).all()
    assert (line[0], line[-1]) == (0, 1)


CATEGORIES = np.array([0, 1, 1, 0, -1])


def test_a_list_in_the_shares_of_the_history_is_calibrated() -> None:
    """Shopper 0 met category 0 twice and 1 once."""
    known = known_of(SHOP, CATEGORIES)
    (same,) = miscalibration(np.array([[0, 3, 1]]), np.array([0]), known)
    assert same == pytest.approx(0, abs=1e-6)
    (one_sided,) = miscalibration(np.array([[0, 3, 4]]), np.array([0]), known)
    first, second = 2 / 3, 1 / 3
    expected = first * np.log(first / ((1 - SMOOTHING) + SMOOTHING * first)) + second * np.log(1 / SMOOTHING)
    assert one_sided == pytest.approx(expected, rel=1e-5)


def test_nobody_without_a_history_a_list_or_a_category_is_judged() -> None:
    known = known_of(SHOP, CATEGORIES)
    found = miscalibration(np.array([[0, 1], [NONE, NONE], [4, NONE]]), np.array([3, 0, 0]), known)
    assert np.isnan(found).all()
    assert np.isnan(miscalibration(np.array([[0, 1]]), np.array([0]), known_of(SHOP))).all()
    assert known_of(SHOP, np.full(5, -1)).tastes is None


@given(st.lists(st.integers(0, 3), min_size=1, max_size=6), st.integers(0, 2))
def test_calibration_is_the_formula_of_a_loop_and_never_below_nothing(items: list[int], shopper: int) -> None:
    known = known_of(SHOP, CATEGORIES)
    (found,) = miscalibration(np.array([items]), np.array([shopper]), known)
    history = CATEGORIES[SHOP.item[SHOP.shopper == shopper]]
    shown = CATEGORIES[items]
    brute = 0.0
    for one in set(history.tolist()):
        share, beside = (history == one).mean(), (shown == one).mean()
        brute += share * np.log(share / ((1 - SMOOTHING) * beside + SMOOTHING * share))
    assert found == pytest.approx(brute, abs=1e-5)
    assert found >= 0
