"""Item-to-item by regression: against the plain formula, and on shops whose answer follows by reasoning."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.interactions import Interactions
from models.slim import regressed
from tests.models.shops import SIDE, bought, checkerboard, colour_of

ITEMS = 6
shops = st.lists(st.tuples(st.integers(0, 7), st.integers(0, ITEMS - 1), st.integers(0, 9)), min_size=1, max_size=40)


def shop(rows: list[tuple[int, int, int]]) -> Interactions:
    return bought(rows, 8, ITEMS)


@settings(deadline=None)
@given(shops, st.sampled_from([1.0, 30.0]))
def test_where_all_may_tell_it_is_ridge_regression_over_all_other_items(
    rows: list[tuple[int, int, int]], strength: float
) -> None:
    table = np.zeros((8, ITEMS))
    for shopper, item, _ in rows:
        table[shopper, item] = 1
    found = regressed(shop(rows), ITEMS, strength, told_by=ITEMS).toarray()
    for item in range(ITEMS):
        met = table.T @ table[:, item]
        others = [one for one in range(ITEMS) if one != item and met[one] > 0]
        some = table[:, others]
        weights = np.linalg.solve(some.T @ some + strength * np.eye(len(others)), some.T @ table[:, item])
        wanted = np.zeros(ITEMS)
        wanted[others] = np.maximum(weights, 0)
        assert found[:, item] == pytest.approx(wanted, abs=1e-5)


def test_rows_are_bounded_and_nothing_speaks_for_itself() -> None:
    found = regressed(checkerboard(1), 3)
    assert np.diff(found.indptr).max() <= 3
    assert not found.diagonal().any()
    assert (found.data > 0).all()


def test_an_item_speaks_for_those_of_its_colour() -> None:
    found = regressed(checkerboard(1), SIDE).toarray()
    for shopper in range(SIDE):
        scores = found[colour_of(shopper)].sum(0)
        scores[colour_of(shopper)] = 0
        assert scores.argmax() == shopper


def test_how_often_or_when_an_item_was_bought_makes_no_difference() -> None:
    rows = [(0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 2, 2), (2, 1, 5)]
    once, often = regressed(shop(rows), 5), regressed(shop([*rows, (0, 0, 8), (0, 0, 9)]), 5)
    assert once.toarray() == pytest.approx(often.toarray())


def test_who_told_most_is_asked_alone_where_few_may_tell() -> None:
    """Item 0 goes with 1 three times, with 2 once."""
    rows = [(0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 1, 2), (2, 0, 1), (2, 1, 2), (3, 0, 1), (3, 2, 2)]
    found = regressed(shop(rows), 5, 1.0, told_by=1).toarray()
    assert found[1, 0] == pytest.approx(3 / (3 + 1))
    assert found[2, 0] == 0


@pytest.mark.parametrize("rows", [[(0, 0, 1)], [(0, 0, 1), (1, 1, 1)]])
def test_a_shop_where_nothing_goes_together_says_nothing(rows: list[tuple[int, int, int]]) -> None:
    assert not regressed(shop(rows), 5).nnz
