"""Differences between groups of shoppers whose truth is known, and splits that are broken."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.experiment_statistics import ALARM, Change, change, mean, ratio, shoppers_needed, split_chance

RUNS = 200


def group(rng: np.random.Generator, shoppers: int, rate: float) -> tuple[np.ndarray, np.ndarray]:
    """Clicks and lists: some shoppers click a lot, and those have more lists."""
    keen = rng.beta(2, 2 / rate - 2, shoppers)
    lists = rng.poisson(1 + 8 * keen) + 1
    return rng.binomial(lists, keen), lists


def true_rate(rate: float) -> float:
    """What the ratio comes to over very many shoppers."""
    clicks, lists = group(np.random.default_rng(1), 2_000_000, rate)
    return float(clicks.sum() / lists.sum())


@pytest.mark.parametrize("raised", [0.1, 0.13])
def test_the_interval_of_a_difference_covers_the_truth_as_often_as_it_says(raised: float) -> None:
    truth = true_rate(raised) - true_rate(0.1)
    rng, covered, sure = np.random.default_rng(7), 0, 0
    for _ in range(RUNS):
        one, other = ratio(*group(rng, 1000, 0.1)), ratio(*group(rng, 1000, raised))
        assert one is not None
        assert other is not None
        found = change(one, other)
        covered += found.low <= truth <= found.high
        sure += found.sure
    assert covered >= 0.9 * RUNS
    assert sure >= 0.95 * RUNS if truth else sure <= 0.1 * RUNS


def test_lists_of_one_shopper_are_no_shoppers() -> None:
    """Twenty shoppers with a thousand lists each are twenty, not twenty thousand."""
    rng = np.random.default_rng(3)
    keen = rng.uniform(0, 0.2, 20)
    found = ratio(rng.binomial(1000, keen), np.full(20, 1000))
    assert found is not None
    as_if_apart = (found.value * (1 - found.value) / 20_000) ** 0.5
    assert found.error > 3 * as_if_apart


@given(st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=50))
def test_a_mean_is_a_ratio_to_one_each(values: list[float]) -> None:
    found = mean(values)
    assert found is not None
    assert found.value == pytest.approx(np.mean(values), abs=1e-6)
    assert found.error == pytest.approx(np.std(values, ddof=1) / len(values) ** 0.5, abs=1e-6)


def test_nothing_is_said_of_nothing() -> None:
    assert mean([]) is None
    assert mean([1.0]) is None
    assert ratio([0, 0], [0, 0]) is None
    assert split_chance({"a": 3, "b": 4}, {"a": 1, "b": 1}) is None  # too few
    assert split_chance({"a": 300}, {"a": 1}) is None


def test_how_many_are_needed() -> None:
    half = mean([0.0, 1.0] * 500)
    assert half is not None
    assert shoppers_needed(half, 0.1) == pytest.approx(1571, rel=0.01)  # 2 · 2.8² · p(1−p) / 0.05²
    never = mean([0.0, 0.0])
    assert never is not None
    assert shoppers_needed(never, 0.1) is None


def test_a_known_chi_square() -> None:
    """(60 − 50)² / 50 · 2 = 4, one degree of freedom: .0455."""
    assert split_chance({"a": 60, "b": 40}, {"a": 1, "b": 1}) == pytest.approx(0.0455, abs=1e-4)


def test_a_broken_split_is_found_and_a_right_one_is_not() -> None:
    rng, weights = np.random.default_rng(5), {"a": 3, "b": 1}
    right = [split_chance({"a": n, "b": 4000 - n}, weights) for n in rng.binomial(4000, 0.75, 300).tolist()]
    assert sum(one is not None and one < ALARM for one in right) <= 2
    broken = split_chance({"a": 3000, "b": 800}, weights)  # a fifth of b's lists never came
    assert broken is not None
    assert broken < ALARM


def test_a_change_on_one_side_of_nothing_is_sure() -> None:
    assert Change(0.2, 0.1, 0.3).sure
    assert Change(-0.2, -0.3, -0.1).sure
    assert not Change(0.0, -0.1, 0.1).sure
