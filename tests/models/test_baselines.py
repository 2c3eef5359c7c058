"""The baselines: answers that follow by reasoning, and laws against a brute force."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from infra.clock import DAY_MS
from models.baselines import (
    HISTORY,
    NEIGHBOURS,
    RECENCY,
    decayed_counts,
    decayed_popularity,
    item_neighbours,
    last_purchases,
    own_repeats,
    popularity,
    recency_item_knn,
    strongest,
)
from tests.models.shops import SIDE, bought, checkerboard

ALL = np.arange(SIDE)
THEN = 100 * DAY_MS


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_best_unseen_item_of_a_checkerboard_is_the_withheld_one(seed: int) -> None:
    shop = checkerboard(seed)
    scores = recency_item_knn(shop).score(ALL)
    scores[shop.shopper, shop.item] = -np.inf
    assert scores.argmax(1).tolist() == list(range(SIDE))


def test_items_of_two_colours_never_go_together() -> None:
    table = item_neighbours(checkerboard(4)).toarray()
    row, column = np.nonzero(table)
    assert len(row) == SIDE * (SIDE // 2 - 1)
    assert ((row + column) % 2 == 0).all()
    assert (row != column).all()
    assert table == pytest.approx(table.T)


def test_two_items_count_by_how_near_they_stand_and_how_popular_they_are() -> None:
    """0, 1, 2 one after the other: 0.95 a step, over the root of (count + 10) of both."""
    table = item_neighbours(bought([(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 0, 1)], 2, 3)).toarray()
    assert table[0, 1] == pytest.approx(0.95 / np.sqrt(12 * 11), rel=1e-6)
    assert table[1, 2] == pytest.approx(0.95 / 11, rel=1e-6)
    assert table[2, 0] == pytest.approx(0.95**2 / np.sqrt(12 * 11), rel=1e-6)


def test_fifty_purchases_apart_go_together_and_fifty_one_do_not() -> None:
    table = item_neighbours(bought([(0, n, n) for n in range(60)], 1, 60)).toarray()
    assert np.flatnonzero(table[0]).tolist() == list(range(1, 51))
    assert np.count_nonzero(table[30]) == NEIGHBOURS, "of the 59 within reach"
    far = item_neighbours(bought([(0, 0, 0), *((0, 1, n) for n in range(1, 51)), (0, 2, 51)], 1, 3)).toarray()
    assert far[0, 1] > 0
    assert far[0, 2] == 0
    near = item_neighbours(bought([(0, 0, 0), *((0, 1, n) for n in range(1, 50)), (0, 2, 50)], 1, 3)).toarray()
    assert near[0, 2] == pytest.approx(0.95**50 / 11, rel=1e-5)


def test_a_shop_where_nobody_bought_twice_has_no_neighbours() -> None:
    assert item_neighbours(bought([(0, 0, 1), (1, 1, 1)], 2, 3)).nnz == 0


def test_popularity_counts_every_purchase() -> None:
    scores = popularity(bought([(0, 1, 1), (0, 1, 2), (1, 2, 3)], 2, 4)).score(np.array([1, 0]))
    assert scores.tolist() == [[0, 2, 1, 0]] * 2


def test_decayed_counts_halve_with_every_half_life() -> None:
    rows = [(0, 0, THEN), (0, 1, THEN - 7 * DAY_MS), (1, 1, THEN - 14 * DAY_MS), (1, 2, THEN + DAY_MS)]
    shop = bought(rows, 2, 4)
    assert decayed_counts(shop, THEN, 7.0).tolist() == [1, 0.75, 1, 0]
    assert decayed_popularity(shop, THEN).score(np.array([0, 1])).tolist() == [[1, 0.75, 1, 0]] * 2
    assert decayed_counts(shop, THEN, 14.0)[1] == pytest.approx(0.5**0.5 + 0.5)


def test_own_repeats_are_the_shoppers_own_orders_halved_by_ninety_days() -> None:
    rows = [(0, 0, THEN), (0, 0, THEN - 90 * DAY_MS), (0, 1, THEN - 180 * DAY_MS), (1, 2, THEN - 90 * DAY_MS)]
    scores = own_repeats(bought(rows, 3, 3), THEN).score(np.array([1, 0, 2]))
    assert scores.tolist() == [[0, 0, 0.5], [1.5, 0.25, 0], [0, 0, 0]]


def test_the_last_fifty_purchases_weigh_the_less_the_older_they_are() -> None:
    shop = bought([(0, 0, 0), *((0, 1 + n, 1 + n) for n in range(HISTORY)), (1, 0, 5), (1, 0, 6)], 3, HISTORY + 1)
    table = last_purchases(shop).toarray()
    assert table[0, 0] == 0, "the fifty-first is forgotten"
    assert table[0, 1:] == pytest.approx(RECENCY ** np.arange(HISTORY)[::-1], rel=1e-6)
    assert table[1, 0] == pytest.approx(1 + RECENCY), "bought twice, counted twice"
    assert not table[2].any()


# Few distinct values: ties are the rule. 0 is an entry that is not there.
_values = st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.5, 1.0, 3.0])


@given(
    st.integers(1, 6).flatmap(lambda width: st.lists(st.lists(_values, min_size=width, max_size=width), min_size=1)),
    st.integers(1, 4),
)
def test_thestrongest_are_those_of_a_brute_force(rows: list[list[float]], most: int) -> None:
    found = strongest(sp.csr_matrix(np.array(rows)), most)
    expected = np.zeros((len(rows), len(rows[0])))
    for at, row in enumerate(rows):
        best = sorted((-value, column) for column, value in enumerate(row) if value > 0)[:most]
        for value, column in best:
            expected[at, column] = -value
    assert found.shape == expected.shape
    assert found.toarray().tolist() == expected.tolist()


def test_thestrongest_of_nothing_are_nothing() -> None:
    empty: Any = sp.csr_matrix((3, 3), dtype=np.float32)
    assert strongest(empty, 2).nnz == 0
