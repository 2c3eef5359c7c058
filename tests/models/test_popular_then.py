"""Popularity at moments of the time that is learned from: known answers, and laws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from infra.clock import DAY_MS
from models.interactions import Interactions
from models.popular_then import Then, log_popularity, popular_then
from models.two_tower import ItemTower
from tests.models.test_two_tower import WIDTH, features

END = 40 * DAY_MS
STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, END - 1)), min_size=1, max_size=30)


def bought(steps: list[tuple[int, int]]) -> Interactions:
    """Of one shopper: item, ms."""
    item, at = np.array(sorted(steps, key=lambda step: step[1]), np.int64).reshape(-1, 2).T
    nobody = np.zeros(len(item), np.int64)
    return Interactions(("ann",), ("a", "b", "c"), nobody, item, at, np.arange(len(item)))


def test_each_moment_knows_what_sold_until_then() -> None:
    """First the one is bought each day, then the other; the third never."""
    steps = [(0 if day < 20 else 1, day * DAY_MS) for day in range(40)]
    then = popular_then(bought(steps), END)
    early, late = then.logs[then.rows(np.array([20 * DAY_MS, END]))]
    assert early[0] > early[1] == early[2]
    assert late[1] > late[0] > late[2]


def test_what_sells_evenly_is_as_popular_at_all_times() -> None:
    steps = [(item, day * DAY_MS + hour) for day in range(40) for item, hour in ((0, 0), (1, 1), (1, 2))]
    then = popular_then(bought(steps), END)
    apart = then.logs[2:, 1] - then.logs[2:, 0]
    assert apart == pytest.approx(np.full(len(apart), apart[0]), abs=0.02)


def test_what_sells_this_week_leads_and_what_sold_in_spring_is_above_what_never_sold() -> None:
    steps = [(0, day * DAY_MS) for day in range(12)] + [(1, day * DAY_MS) for day in range(32, 40)]
    last = popular_then(bought(steps), END).logs[-1]
    assert last[1] > last[0] > last[2]


@given(STEPS, st.integers(0, END))
def test_a_moment_hears_nothing_that_is_later(steps: list[tuple[int, int]], at: int) -> None:
    earlier = [step for step in steps if step[1] < at]
    one = popular_then(bought([*steps, (0, 0)]), END)
    other = popular_then(bought([*earlier, (0, 0)]), END)
    row = one.rows(np.array([at]))
    assert one.logs[row] == pytest.approx(other.logs[row], abs=1e-5)


@given(STEPS, st.integers(1, 200))
def test_no_more_is_kept_than_the_bound_and_the_end_is_a_moment(steps: list[tuple[int, int]], most: int) -> None:
    then = popular_then(bought(steps), END, most)
    assert then.logs.size <= max(most, 9)
    assert then.begin + (len(then.logs) - 1) * then.apart == END


def test_popularity_has_mean_0_and_who_never_sold_comes_last() -> None:
    logs = log_popularity(np.array([4.0, 2.0, 0.0]))
    assert float(logs.mean()) == pytest.approx(0, abs=1e-6)
    assert logs[0] > logs[1] > logs[2]
    assert log_popularity(np.zeros(2)).tolist() == [0, 0]


def test_a_tower_tells_how_popularity_was_other_than_it_is() -> None:
    logs = np.array([[0, 0, 0], [3, 1, -4], [1, 1, -2]], np.float32)
    tower = ItemTower(features(3, distinct=True), logs[-1], np.ones(3), WIDTH, 0.0, Then(0, 10, logs))
    changed = tower.changed_since(np.array([12, 25]), np.array([0, 2]))
    assert changed is not None
    assert changed.tolist() == [[2, -2], [0, 0]]
    each = tower.changed_since(np.array([12, 25]), np.array([[1], [0]]))
    assert each is not None
    assert each.tolist() == [[0], [0]]
    assert (
        ItemTower(features(3, distinct=True), logs[-1], np.ones(3), WIDTH, 0.0).changed_since(
            np.array([1]), np.array([0])
        )
        is None
    )
    assert not [name for name in tower.state_dict() if "then" in name], "a fit knows it, no artifact holds it"
    assert torch.equal(tower(torch.arange(3))[:, -1], torch.from_numpy(logs[-1]))
