"""The choice of the best: what a full stable sort would choose, ties and all."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.choosing import best
from models.interactions import Floats
from models.item_to_item import ItemToItem

few_values = st.integers(1, 900).flatmap(
    lambda n: st.tuples(st.integers(0, 2**32 - 1), st.sampled_from([2, 7, 10_000])).map(
        lambda drawn: np.random.default_rng(drawn[0]).integers(0, drawn[1], n).astype(np.float32)
    )
)


@given(few_values, st.integers(1, 60))
def test_the_best_are_those_of_a_stable_sort(scores: Floats, k: int) -> None:
    assert best(scores, k).tolist() == sorted(np.argsort(-scores, kind="stable")[:k].tolist())


def test_where_all_are_alike_the_first_are_chosen() -> None:
    assert best(np.zeros(5000, np.float32), 3).tolist() == [0, 1, 2]


def test_of_the_interactions_that_spoke_as_loudly_the_newest_is_told() -> None:
    """Met, the newest first: item 0, item 1, item 0, one without a row, item 2; the candidates are items 1 and 2."""
    neighbours = np.array([[2, -1], [2, 0], [-1, -1]])
    scores = np.array([[0.5, 9.0], [0.5, 0.25], [9.0, 9.0]], np.float32)
    said = ItemToItem(neighbours, scores, np.array([-1, 0, 1]), 2).said(np.array([0, 1, 0, -1, 2]))
    assert said.back.tolist() == [0, 1, 2, 4]
    assert said.summed(2) == pytest.approx([0, 0.5 * (1 + 0.97 + 0.97**2)])
    assert said.loudest(np.array([0, 1]), 2).tolist() == [-1, 0]
