"""EASE against the textbook's equations, and its bound."""

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import BadInput
from models.ease import item_weights, recency_ease
from tests.models.shops import bought, checkerboard

_tables = st.integers(1, 6).flatmap(
    lambda width: st.lists(
        st.lists(st.sampled_from([0.0, 0.0, 0.5, 1.0]), min_size=width, max_size=width), min_size=1, max_size=8
    )
)


@given(_tables, st.sampled_from([0.5, 3.0, 100.0]))
def test_the_weights_are_those_of_the_closed_form(rows: list[list[float]], regularisation: float) -> None:
    """B = I − P · diag(1 / diag P), P the inverse of XᵀX + λI, in double precision."""
    table = np.array(rows)
    inverse = np.linalg.inv(table.T @ table + regularisation * np.eye(table.shape[1]))
    expected = np.eye(table.shape[1]) - inverse / np.diagonal(inverse)
    found = item_weights(sp.csr_matrix(table.astype(np.float32)), regularisation)
    assert np.allclose(found, expected, atol=1e-4)
    assert not np.diagonal(found).any(), "no item speaks for itself"


def test_a_system_of_several_blocks_is_solved_as_one() -> None:
    table: Any = sp.random(60, 2100, 0.02, format="csr", dtype=np.float32, rng=np.random.default_rng(1))
    dense = table.toarray().astype(np.float64)
    inverse = np.linalg.inv(dense.T @ dense + 10 * np.eye(2100))
    expected = np.eye(2100) - inverse / np.diagonal(inverse)
    assert np.allclose(item_weights(table, 10.0), expected, atol=1e-4)


def test_above_the_bound_the_items_bought_most_take_part_and_the_note_says_so() -> None:
    rows = [(shopper, item, item) for shopper in range(4) for item in range(2)] + [(0, 2, 5), (1, 3, 5)]
    ranker = recency_ease(bought(rows, 5, 6), max_items=3)
    scores = ranker.score(np.array([0, 1]))
    assert ranker.note == "the 3 items bought most often of 4"
    assert not scores[:, 3:].any()
    assert scores[:, :2].all()
    assert recency_ease(checkerboard(1)).note == ""


@pytest.mark.parametrize("wrong", [0.0, -1.0, float("nan")])
def test_a_regularisation_that_cannot_be_solved_with_is_named(wrong: float) -> None:
    with pytest.raises(BadInput) as told:
        recency_ease(checkerboard(1), regularisation=wrong)
    assert (told.value.reason, told.value.path) == ("ease_unsolvable", "regularisation")
