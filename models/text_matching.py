"""How well an encoder finds what belongs to a text: full ranking over a pool, ties halved."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from infra.errors import BadInput
from models.interactions import Floats
from models.text_encoder import Encoder, directions
from models.text_pairs import Pairs

_BLOCK: Final = 256


class Matching(msgspec.Struct, frozen=True, kw_only=True):
    """Over `pairs`, each ranked among `pool` texts: shares found in the first 1 and 10, mean reciprocal rank."""

    recall_1: float
    recall_10: float
    mrr: float
    pairs: int
    pool: int


def matching(encoder: Encoder, held: Pairs, known: Sequence[Pairs] = ()) -> Matching:
    """The rank of each right text for its left one, among every right text of `held` and `known`.

    What else belongs to the left text, and the text itself, is left out of its ranking.

    Raises:
        BadInput: nothing is held out (`too_few_pairs`).
    """
    if not len(held):
        raise BadInput("no pair is held out to judge by: give more pairs", code="too_few_pairs")
    belongs = _belonging((held, *known))
    sides = [side for one in (held, *known) for side in ((one.right, one.left) if one.alike else (one.right,))]
    pool = {text: at for at, text in enumerate(dict.fromkeys(text for side in sides for text in side))}
    lefts = {text: at for at, text in enumerate(dict.fromkeys(held.left))}
    asked = directions(encoder.encode(list(lefts), _quiet))
    given = directions(encoder.encode(list(pool), _quiet))
    at = np.array([lefts[text] for text in held.left])
    right = np.array([pool[text] for text in held.right])
    out = [
        np.array([pool[text] for text in belongs[left] | {left} if text in pool and text != of], np.int64)
        for left, of in zip(held.left, held.right, strict=True)
    ]
    ranks = _ranks(asked[at], given, right, out)
    return Matching(
        recall_1=float((ranks < 1).mean()),
        recall_10=float((ranks < 10).mean()),
        mrr=float((1 / (1 + ranks)).mean()),
        pairs=len(held),
        pool=len(pool),
    )


def _ranks(asked: Floats, given: Floats, right: np.ndarray, out: Sequence[np.ndarray]) -> np.ndarray:
    """From 0: how many stand before the right one; of those that are equal to it, half do."""
    ranks = np.zeros(len(asked))
    for begin in range(0, len(asked), _BLOCK):
        scores = asked[begin : begin + _BLOCK] @ given.T
        for row, line in enumerate(scores, begin):
            mine = line[right[row]]
            line[out[row]] = -np.inf
            ranks[row] = (line > mine).sum() + ((line == mine).sum() - 1) / 2
    return ranks


def _belonging(all_pairs: Sequence[Pairs]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for pairs in all_pairs:
        for left, right in zip(pairs.left, pairs.right, strict=True):
            found[left].add(right)
            if pairs.alike:
                found[right].add(left)
    return found


def _quiet(_: int) -> None:
    return None
