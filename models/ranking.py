"""From scores to places, lists and metrics, for one task of one model."""

from collections.abc import Sequence
from typing import Any, Final, Self

import msgspec
import numpy as np

from models.interactions import Floats, Ints

NONE: Final = -1
_FEW: Final = 16  # items that are cheaper to compare with everything than everything is to sort


class Found(msgspec.Struct, frozen=True):
    """What a model made of one task.

    Args:
        shoppers: [n] who was asked.
        starts: [n + 1] where each one's part of `wanted` and `places` begins.
        wanted: [m] the items to be found.
        places: [m] where they stood, 0 the best; items of one score share the middle of their places.
        lists: [n, k] the items recommended, best first, of equal ones the first rows; -1 where there are no more. What
            has the least score of a shopper is not recommended: the model says nothing of it.
    """

    shoppers: Any
    starts: Any
    wanted: Any
    places: Any
    lists: Any

    @classmethod
    def of(cls, lines: Sequence[tuple[int, Ints, Floats, Ints]], k: int) -> Self:
        """From (shopper, wanted, places, list) of each."""
        counts = np.array([len(line[1]) for line in lines], np.int64)
        lists = np.full((len(lines), k), NONE, np.int32)
        for row, line in enumerate(lines):
            lists[row, : len(line[3])] = line[3]
        return cls(
            np.array([line[0] for line in lines], np.int64),
            np.concatenate([[0], np.cumsum(counts)]),
            np.concatenate([np.empty(0, np.int64), *(line[1] for line in lines)]),
            np.concatenate([np.empty(0, np.float32), *(line[2] for line in lines)]),
            lists,
        )

    def whose(self) -> Ints:
        """[m] the row, in `shoppers`, of each wanted item."""
        rows: Ints = np.repeat(np.arange(len(self.shoppers)), np.diff(self.starts))
        return rows


def lines_of(found: Found, k: int, counted: Any = None) -> Floats:
    """[shoppers, 3]: NDCG and recall at k, and MRR (of the whole ranking); NaN for who wants nothing that counts.

    Args:
        found: with the places.
        k: length of the list.
        counted: [m] which wanted items count; their places stay those among all items. None: all.
    """
    whose, places = found.whose(), np.asarray(found.places, np.float64)
    if counted is not None:
        whose, places = whose[counted], places[counted]
    size = len(found.shoppers)
    order = np.lexsort((places, whose))
    whose, places = whose[order], places[order]
    wanted = np.bincount(whose, minlength=size)
    best = np.searchsorted(whose, np.arange(size))
    # A long tie lies within with more than the list can hold.
    within = (places < k) & (np.arange(len(places)) - best[whose] < k)
    gained = np.bincount(whose, np.where(within, 1 / np.log2(places + 2), 0), size)
    ideal = np.concatenate([[np.nan], np.cumsum(1 / np.log2(np.arange(k) + 2))])[np.minimum(wanted, k)]
    some = np.where(wanted > 0, wanted, np.nan)
    first = np.full(size, np.nan)
    first[wanted > 0] = 1 / (places[best[wanted > 0]] + 1)
    return np.stack([gained / ideal, np.bincount(whose, within, size) / some, first], axis=1)


def places_of(scores: Floats, items: Ints) -> Floats:
    """[items] 0-based places, best 0; those of one score share the middle of their places."""
    if len(items) <= _FEW:
        line = scores[items][:, None]
        above, equal = (scores > line).sum(1), (scores == line).sum(1)
    else:
        ascending = np.sort(scores)
        upto = np.searchsorted(ascending, scores[items], side="right")
        above = len(ascending) - upto
        equal = upto - np.searchsorted(ascending, scores[items], side="left")
    return np.asarray(above + (equal - 1) / 2, np.float32)


def top(scores: Floats, k: int, silent: float) -> Ints:
    """The k best items above `silent`, best first; of equal ones the first rows."""
    if k < len(scores):
        silent = max(silent, float(np.nextafter(-np.partition(-scores, k - 1)[k - 1], -np.inf)))
    said = np.flatnonzero(scores > silent)
    return said[np.argsort(-scores[said], kind="stable")[:k]]
