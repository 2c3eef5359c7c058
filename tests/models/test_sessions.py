"""V-SKNN by hand: who is alike, how newer items weigh, where a session ends."""

import numpy as np
import pytest

from models.baselines import HISTORY
from models.sessions import _at_hand, v_sknn
from tests.models.shops import bought

MINUTE = 60_000


def test_the_dot_product_of_the_fading_session_is_what_others_vote_with() -> None:
    """0 bought 0, then 1: they weigh ½ and 1. Shopper 1 shares 0 and votes ½ for 2; 2 shares 1 and votes 1 for 3."""
    rows = [(0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 2, 2), (2, 1, 1), (2, 3, 2)]
    (scores,) = v_sknn(bought(rows, 3, 5)).score(np.array([0]))
    assert scores.tolist() == [0.5, 1, 0.5, 1, 0]


def test_nobody_is_a_neighbour_of_their_own() -> None:
    assert not v_sknn(bought([(0, 0, 1), (0, 1, 2)], 1, 2)).score(np.array([0])).any()


def test_the_most_alike_vote_of_the_newest_who_are_sampled() -> None:
    """All three share item 0; of the two newest (1 and 2) one neighbour is taken: the one that shares item 1, too."""
    rows = [
        (0, 0, 1),
        (0, 1, 2),
        (1, 0, 5),
        (1, 2, 6),
        (2, 0, 7),
        (2, 1, 8),
        (2, 3, 9),
        (3, 0, 1),
        (3, 1, 1),
        (3, 4, 1),
    ]
    shop = bought(rows, 4, 5)
    (both,) = v_sknn(shop, sample=2, neighbours=1).score(np.array([0]))
    assert both.tolist() == [1.5, 1.5, 0, 1.5, 0]
    (newest,) = v_sknn(shop, sample=1, neighbours=9).score(np.array([0]))
    assert newest.tolist() == [1.5, 1.5, 0, 1.5, 0]
    (every,) = v_sknn(shop).score(np.array([0]))
    assert every.tolist() == [3.5, 3, 0.5, 1.5, 1.5]


def test_equally_alike_ones_are_taken_newest_first() -> None:
    rows = [(0, 0, 1), (1, 0, 5), (1, 1, 6), (2, 0, 7), (2, 2, 8)]
    (scores,) = v_sknn(bought(rows, 3, 3), neighbours=1).score(np.array([0]))
    assert scores.tolist() == [1, 0, 1]


def test_a_gap_ends_a_session() -> None:
    """Shopper 1 bought item 2 an hour after item 0: of one session only where an hour is no gap."""
    shop = bought([(0, 0, 1), (1, 0, 0), (1, 1, MINUTE), (1, 2, 61 * MINUTE)], 2, 3)
    (cut,) = v_sknn(shop, gap_ms=30 * MINUTE).score(np.array([0]))
    assert cut.tolist() == [1, 1, 0]
    (whole,) = v_sknn(shop).score(np.array([0]))
    assert whole.tolist() == [1, 1, 1]
    (edge,) = v_sknn(shop, gap_ms=60 * MINUTE).score(np.array([0]))
    assert edge.tolist() == [1, 1, 1]


def test_the_session_at_hand_is_the_last_fifty_each_as_its_newest() -> None:
    shop = bought([(0, 0, 0), *((0, 1, n) for n in range(1, HISTORY)), (0, 2, HISTORY)], 1, 3)
    table = _at_hand(shop).toarray()
    assert table[0].tolist() == pytest.approx([0, 0.98, 1])
    once = _at_hand(bought([(0, 0, 0), (0, 1, 1), (0, 0, 2), (0, 2, 3)], 1, 3)).toarray()
    assert once[0].tolist() == pytest.approx([0.75, 0.5, 1])
