"""The fused score, and the weights that are learned for it."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from models.evaluation import Truth
from models.fusion import SOURCES, Weights, fuse, normalised, weighted
from models.fusion_weights import learn
from models.interactions import Floats, Interactions, Ints
from models.own import FORMS, Repeats, form_name
from tests.models.shops import bought

SHOPPERS, ITEMS = 40, 300
NAMES = SOURCES

tables = arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(2, 8)), elements=st.integers(-1000, 1000))


@given(tables)
def test_each_shopper_has_mean_zero_and_deviation_one_or_nothing(scores: Floats) -> None:
    out = normalised(scores)
    assert out.mean(1) == pytest.approx(np.zeros(len(scores)), abs=1e-5)
    for row, line in zip(scores, out, strict=True):
        assert line.std() == pytest.approx(float(len(set(row.tolist())) > 1), abs=1e-4)


@given(tables, st.floats(0.1, 100), st.integers(-100, 100))
def test_neither_scale_nor_height_of_a_source_matters(scores: Floats, scale: float, height: int) -> None:
    moved = scores * np.float32(scale) + np.float32(height)
    assert normalised(moved) == pytest.approx(normalised(scores), abs=1e-2)


@given(st.floats(2**-10, 2**20, width=32), st.integers(1, 3000))
def test_a_source_that_says_the_same_of_all_is_silent(value: float, items: int) -> None:
    assert not normalised(np.full((2, items), value, np.float32)).any()


def test_the_shares_add_up_to_the_fused_score() -> None:
    rng = np.random.default_rng(1)
    parts = {name: rng.normal(size=(3, 7)).astype(np.float32) for name in NAMES}
    weights = Weights(tower=1.0, item_to_item=0.5, popular=0.1, repeat=2.0)
    shares = weighted({name: normalised(part) for name, part in parts.items()}, weights)
    assert set(shares) == set(NAMES)
    assert shares["item_to_item"] == pytest.approx(0.5 * normalised(parts["item_to_item"]), abs=1e-6)
    assert fuse(parts, weights) == pytest.approx(np.sum(list(shares.values()), 0), abs=1e-5)


def test_weights_begin_with_the_tower_alone() -> None:
    rng = np.random.default_rng(2)
    parts = {name: rng.normal(size=(3, 7)).astype(np.float32) for name in NAMES}
    assert fuse(parts, Weights()) == pytest.approx(normalised(parts["tower"]), abs=1e-6)


def after(seed: int) -> Interactions:
    rng = np.random.default_rng(seed)
    return bought([(s, int(i), 9) for s in range(SHOPPERS) for i in rng.choice(ITEMS, 3, False)], SHOPPERS, ITEMS)


def sources(truth: Truth, right: str, seed: int) -> Callable[[Ints], Mapping[str, Floats]]:
    """One source knows what will be bought, a little above everything else; the others are noise."""
    rng = np.random.default_rng(seed)
    whole = {name: rng.normal(size=(SHOPPERS, ITEMS)).astype(np.float32) for name in NAMES}
    for shopper in range(SHOPPERS):
        whole[right][shopper, truth.bought[shopper]] = whole[right][shopper].max() + 0.2
    return lambda shoppers: {name: part[shoppers] for name, part in whole.items()}


@pytest.mark.parametrize("right", ["item_to_item", "popular", "repeat"])
def test_the_source_that_is_the_truth_gets_the_weight_and_noise_next_to_none(right: str) -> None:
    """The ascent starts with the tower, which is noise here, and has to leave it."""
    truth = Truth(after(1), bought([], SHOPPERS, ITEMS))
    learned = learn(sources(truth, right, 2), truth, "all", seed=3)
    weights = {name: getattr(learned, name) for name in NAMES}
    loudest = weights.pop(right)
    assert loudest > 0
    assert max(weights.values()) <= 0.1 * loudest


def test_a_tower_that_is_the_truth_is_left_alone() -> None:
    truth = Truth(after(4), bought([], SHOPPERS, ITEMS))
    assert learn(sources(truth, "tower", 5), truth, "all", seed=6) == Weights(1.0, 0.0, 0.0, 0.0, Repeats())


def test_for_new_items_own_repeats_count_nothing_even_where_they_are_the_truth() -> None:
    truth = Truth(after(7), bought([], SHOPPERS, ITEMS))
    parts = sources(truth, "repeat", 8)
    assert learn(parts, truth, "new", seed=9).repeat == 0
    assert learn(parts, truth, "all", seed=9).repeat > 0


def test_the_form_of_own_repeats_that_is_the_truth_is_chosen_in_lists_with_repeats() -> None:
    """Two forms are offered; views and all are the truth, and purchases alone are noise."""
    truth, rng = Truth(after(12), bought([], SHOPPERS, ITEMS)), np.random.default_rng(14)
    offered, usual, right = sources(truth, "repeat", 13), FORMS[0], FORMS[-1]
    noise = rng.normal(size=(SHOPPERS, ITEMS)).astype(np.float32)

    def parts_of(shoppers: Ints) -> Mapping[str, Floats]:
        parts = dict(offered(shoppers))
        return parts | {"repeat": noise[shoppers], form_name(usual): noise[shoppers], form_name(right): parts["repeat"]}

    learned = learn(parts_of, truth, "all", seed=3)
    assert learned.repeat > 0
    assert learned.repeats == right
    assert learn(parts_of, truth, "new", seed=3).repeats == usual, "it makes no difference there"


def test_what_is_no_source_is_passed_over_when_parts_are_fused() -> None:
    rng = np.random.default_rng(2)
    parts = {name: rng.normal(size=(3, 7)).astype(np.float32) for name in NAMES}
    assert (fuse(parts | {"other": parts["tower"]}, Weights(1, 1, 1, 1)) == fuse(parts, Weights(1, 1, 1, 1))).all()


def test_nobody_to_learn_from_leaves_the_tower_alone() -> None:
    """Everything that is bought after was bought before: there is nothing new."""
    truth = Truth(after(1), after(1))
    parts = sources(truth, "popular", 2)
    assert learn(parts, truth, "new", seed=1) == Weights()
    nobody = Truth(bought([], SHOPPERS, ITEMS), after(1))
    assert learn(parts, nobody, "all", seed=1) == Weights()


def test_the_same_seed_gives_the_same_weights() -> None:
    truth = Truth(after(10), bought([], SHOPPERS, ITEMS))
    parts = sources(truth, "popular", 11)
    assert learn(parts, truth, "all", 1, shoppers=5) == learn(parts, truth, "all", 1, shoppers=5)
