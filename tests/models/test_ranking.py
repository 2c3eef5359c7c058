"""Places, lists and metrics: by hand, and against a brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.ranking import NONE, Found, lines_of, places_of, top
from tests.models.metrics import by_the_book

_scores = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 0.5, 2.0, -np.inf]), min_size=2, max_size=40)


@given(_scores, st.integers(1, 45))
def test_the_list_is_what_a_brute_force_sorts(scores: list[float], k: int) -> None:
    silent = min(score for score in [*scores, 9.0] if np.isfinite(score))
    said = [(-score, item) for item, score in enumerate(scores) if score > silent]
    assert top(np.array(scores, np.float32), k, silent).tolist() == [item for _, item in sorted(said)[:k]]


@given(st.lists(st.integers(0, 4), min_size=20, max_size=40))
def test_few_and_many_items_are_placed_alike(scores: list[int]) -> None:
    line = np.array(scores, np.float32)
    every = np.arange(len(scores))
    one_by_one = np.concatenate([places_of(line, every[n : n + 1]) for n in every])
    assert places_of(line, every).tolist() == one_by_one.tolist()


def found(*lines: tuple[list[int], list[float]]) -> Found:
    return Found.of(
        [
            (row, np.array(wanted), np.array(places, np.float32), np.array([7]))
            for row, (wanted, places) in enumerate(lines)
        ],
        k=3,
    )


@given(
    st.lists(
        st.lists(st.integers(0, 12), min_size=1, max_size=6).map(lambda places: [place / 2 for place in places]),
        max_size=5,
    ),
    st.integers(1, 4),
)
def test_the_metrics_are_those_of_a_loop(places: list[list[float]], k: int) -> None:
    table = lines_of(found(*((list(range(len(some))), some) for some in places)), k)
    assert table.shape == (len(places), 3)
    for row, some in zip(table, places, strict=True):
        assert row.tolist() == pytest.approx(by_the_book(some, k))


def test_only_what_counts_is_to_be_found_and_who_wants_none_of_it_is_no_number() -> None:
    """Places 0 and 2 of the first shopper, of which the second item alone counts; nothing of the other's."""
    both = found(([4, 5], [0.0, 2.0]), ([4], [1.0]))
    table = lines_of(both, 3, np.asarray(both.wanted) == 5)
    assert table[0].tolist() == pytest.approx([0.5, 1, 1 / 3])
    assert np.isnan(table[1]).all()


def test_who_asked_for_what_is_kept_in_order() -> None:
    one = found(([4, 5], [0.0, 2.0]), ([4], [1.0]))
    assert one.whose().tolist() == [0, 0, 1]
    assert one.lists.tolist() == [[7, NONE, NONE]] * 2
    assert Found.of([], 2).lists.shape == (0, 2)
    assert lines_of(Found.of([], 2), 2).shape == (0, 3)
