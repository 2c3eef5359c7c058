"""Drawing shoppers anew: what is equal has no difference, what is sure is told, and groups are compared, too."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.bootstrap import bounds, difference, draws_of, mean_of

_values = st.lists(st.floats(0, 1), min_size=1, max_size=30)


@given(_values, st.integers(0, 9))
def test_draws_lie_within_the_values_and_are_the_same_for_all_columns(values: list[float], seed: int) -> None:
    column = np.array(values)
    drawn = draws_of(np.stack([column, 2 * column], axis=1), seed, draws=20)
    assert drawn.shape == (20, 2)
    assert (drawn[:, 0] >= column.min() - 1e-9).all()
    assert (drawn[:, 0] <= column.max() + 1e-9).all()
    assert np.allclose(drawn[:, 1], 2 * drawn[:, 0])


def test_the_spread_of_the_draws_is_that_of_a_mean() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    drawn = draws_of(values[:, None], 1)[:, 0]
    assert drawn.std() == pytest.approx(values.std() / 20, rel=0.1)
    assert bounds(drawn)[0] == pytest.approx(values.mean() - 1.96 * values.std() / 20, abs=0.03)


def test_many_shoppers_are_drawn_in_parts() -> None:
    values = np.arange(500_000) % 7.0
    assert draws_of(values[:, None], 1, draws=9).shape == (9, 1)


@given(_values)
def test_what_is_equal_has_no_difference(values: list[float]) -> None:
    found = difference(values, values, seed=1, draws=50)
    assert (found.mean, found.low, found.high, found.sure) == (0, 0, 0, False)


def test_a_pair_shows_what_lies_within_the_noise_of_each_alone() -> None:
    one = np.random.default_rng(1).normal(0, 10, 300)
    found = difference(one + 0.1, one, seed=1)
    assert [found.low, found.high] == pytest.approx([0.1, 0.1])
    assert found.sure
    alone = bounds(draws_of(one[:, None], 1)[:, 0])
    assert alone[0] < mean_of(one) + 0.1 < alone[1]


def test_two_groups_are_compared_by_who_counts_where() -> None:
    values = np.concatenate([np.full(50, 1.0), np.full(50, 3.0)])
    first = np.arange(100) < 50
    found = difference(np.where(first, np.nan, values), np.where(first, values, np.nan), seed=1)
    assert (found.mean, found.low, found.high) == (2, 2, 2)


def test_nobody_is_nothing_and_no_warning() -> None:
    assert bounds(draws_of(np.empty((0, 2)), 1)[:, 0]) == (0, 0)
    none = difference(np.full(3, np.nan), np.array([1.0, 2, 3]), seed=1)
    assert (none.low, none.high, none.sure) == (0, 0, False)
