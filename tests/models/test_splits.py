"""Splits by hand, and the law that nothing to be found is in the prefix."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from models.interactions import Interactions
from models.splits import last_of_each, leave_one_out, temporal
from tests.models.shops import bought

ROWS = [(0, 0, 1), (0, 1, 2), (0, 2, 3), (1, 3, 1), (1, 4, 9), (2, 0, 5)]


def rows_of(some: Interactions) -> list[tuple[int, int, int]]:
    return list(zip(some.shopper.tolist(), some.item.tolist(), some.at.tolist(), strict=True))


def test_the_last_of_each_is_the_test_and_the_one_before_it_the_validation() -> None:
    shop = bought(ROWS, 3, 5)
    test = leave_one_out(shop)
    assert rows_of(test.after) == [(0, 2, 3), (1, 4, 9)], "shopper 2 has nothing before"
    assert rows_of(test.before) == [(0, 0, 1), (0, 1, 2), (1, 3, 1)]
    assert (test.k, test.at_ms, test.name) == (10, 10, "loo")
    validation = leave_one_out(shop, "validation", k=5)
    assert rows_of(validation.after) == [(0, 1, 2)], "shopper 1 has nothing before it"
    assert rows_of(validation.before) == [(0, 0, 1)]
    assert validation.k == 5


def test_a_moment_divides_all_and_the_end_is_outside() -> None:
    split = temporal(bought(ROWS, 3, 5), 3, 9)
    assert rows_of(split.before) == [(0, 0, 1), (0, 1, 2), (1, 3, 1)]
    assert rows_of(split.after) == [(0, 2, 3), (2, 0, 5)]
    assert (split.k, split.at_ms, split.name) == (20, 3, "temporal")
    assert split.truth.shoppers.tolist() == [0, 2]


def test_the_last_of_each_after_a_moment_has_the_prefix_of_that_moment() -> None:
    split = last_of_each(bought(ROWS, 3, 5), 2, 10)
    assert rows_of(split.before) == [(0, 0, 1), (1, 3, 1)]
    assert rows_of(split.after) == [(0, 2, 3), (1, 4, 9), (2, 0, 5)]


def test_nobody_is_no_error() -> None:
    for split in (leave_one_out(bought([], 1, 1)), temporal(bought([], 1, 1), 0, 5)):
        assert not len(split.truth.shoppers)


_shops = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 9)), max_size=25)


@given(_shops)
def test_leave_one_out_divides_every_sequence_in_its_order(rows: list[tuple[int, int, int]]) -> None:
    shop = bought(rows, 4, 6)
    test, validation = leave_one_out(shop), leave_one_out(shop, "validation")
    for shopper in range(4):
        sequence = shop.item[shop.shopper == shopper].tolist()
        parts = [part.item[part.shopper == shopper].tolist() for part in (test.before, test.after)]
        assert parts[0] + parts[1] == (sequence if len(sequence) > 1 else [])
        parts = [part.item[part.shopper == shopper].tolist() for part in (validation.before, validation.after)]
        assert parts[0] + parts[1] == (sequence[:-1] if len(sequence) > 2 else [])


@given(_shops, st.integers(0, 10), st.integers(0, 10))
def test_a_temporal_prefix_ends_before_anything_to_be_found(
    rows: list[tuple[int, int, int]], begin: int, end: int
) -> None:
    shop = bought(rows, 4, 6)
    for split in (temporal(shop, begin, end), last_of_each(shop, begin, end)):
        assert (split.before.at < begin).all()
        assert ((split.after.at >= begin) & (split.after.at < end)).all()
    last = last_of_each(shop, begin, end).after
    assert len(np.unique(last.shopper)) == len(last)
