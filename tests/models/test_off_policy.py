"""Weights and rewards of lists, by cases whose answer follows."""

import numpy as np
import pytest

from models.off_policy import estimate

RUNS = 100


def test_one_list_that_the_other_would_show_twice_as_often() -> None:
    found = estimate([[2.0], [0.0], [2.0], [0.0]], [[1], [1], [0], [0]], [0, 1, 2, 3])
    assert (found.logged.value, found.ips.value, found.snips.value) == (0.5, 0.5, 0.5)
    assert (found.lists, found.shoppers, found.effective, found.mean_weight) == (4, 4, 2.0, 1.0)


def test_a_slot_that_not_every_list_has_counts_as_often_as_it_is_there() -> None:
    nan = float("nan")
    found = estimate([[1.0, 1.0], [1.0, nan]], [[1, 1], [0, nan]], [0, 1])
    assert found.logged.value == found.ips.value == found.snips.value == 1.0


def test_the_same_policy_has_the_same_worth_and_the_same_interval() -> None:
    rng = np.random.default_rng(1)
    rewards = rng.random((500, 3)) < 0.3
    found = estimate(np.ones((500, 3)), rewards, np.arange(500))
    assert found.ips == found.logged
    assert found.snips.value == pytest.approx(found.logged.value)
    assert found.snips.high == pytest.approx(found.logged.high)
    assert found.effective == 500


def test_lists_of_one_shopper_are_not_apart() -> None:
    """Shoppers differ: intervals that took their lists for apart would be too narrow by far."""
    rng, covered = np.random.default_rng(4), np.zeros(3)
    whose = np.repeat(np.arange(150), 30)
    for _ in range(RUNS):
        keen = rng.beta(0.5, 1.5, 150)[whose]  # 1 in 4 on average
        weights = rng.choice([0.5, 1.5], (len(whose), 1))
        rewards = (rng.random(len(whose)) < keen)[:, None]
        found = estimate(weights, rewards, whose)
        covered += [one.low <= 0.25 <= one.high for one in (found.logged, found.ips, found.snips)]
    assert (covered >= 0.9 * RUNS).all()
