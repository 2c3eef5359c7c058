"""What lists are like beside being right: how much of the catalogue they show, how known it is, and how even.

All of lists [n, k] of items, best first, -1 where there are no more (`models.ranking.Found.lists`). NaN stands for a
shopper who was shown nothing, or of whom nothing is known.

Scores are no probabilities in any of the models, so there is no calibration of scores to be measured; `miscalibration`
is that of lists (Steck 2018): whether a shopper's categories come back in their shares.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.sparse as sp

from models.interactions import Floats, Interactions, Ints
from models.ranking import NONE

SMOOTHING: Final = 0.01
"""Of the list's distribution, towards the history's: a category that is missing costs much and not everything."""

UNKNOWN: Final = -1
LORENZ_POINTS: Final = 21


@dataclass(frozen=True, slots=True)
class Known:
    """What was known before the split.

    Args:
        met: [items] how many shoppers had met each.
        shoppers: how many had met anything.
        tastes: CSR [shoppers, categories]: how often each met each category; None: no category is known.
        categories: [items] `UNKNOWN` where there is none.
    """

    met: Ints
    shoppers: int
    tastes: Any = None
    categories: Any = None


def known_of(before: Interactions, categories: Ints | None = None) -> Known:
    """From the prefix, and the category of each item where there are any."""
    size = len(before.items)
    pairs = np.unique(before.shopper * size + before.item)
    met = np.bincount(pairs % size, minlength=size) if size else np.empty(0, np.int64)
    shoppers = len(np.unique(before.shopper))
    if categories is None or not (categories != UNKNOWN).any():
        return Known(met, shoppers)
    of = categories[before.item]
    told = of != UNKNOWN
    shape = (len(before.shoppers), int(categories.max()) + 1)
    tastes = sp.csr_matrix((np.ones(int(told.sum())), (before.shopper[told], of[told])), shape=shape)
    return Known(met, shoppers, tastes, categories)


def novelty(lists: Ints, known: Known) -> Floats:
    """[n] mean self-information in bits: −log2 of the share of shoppers who had met an item, one more on both sides."""
    return _mean_of(lists, -np.log2((known.met + 1) / (known.shoppers + 1)))


def popularity(lists: Ints, known: Known) -> Floats:
    """[n] how many shoppers had met an item, on average over the list."""
    return _mean_of(lists, known.met)


def coverage(lists: Ints, known: Known) -> float:
    """The share of the catalogue that stands in any list."""
    return len(np.unique(lists[lists != NONE])) / max(len(known.met), 1)


def lorenz(lists: Ints, known: Known) -> Floats:
    """[21] what share of all places in lists the least shown 0, 5, … 100 % of the catalogue have."""
    shown = np.sort(np.bincount(lists[lists != NONE], minlength=len(known.met)))
    total = np.concatenate([[0], np.cumsum(shown)]) / max(int(shown.sum()), 1)
    at = np.linspace(0, len(shown), LORENZ_POINTS)
    return np.asarray(np.interp(at, np.arange(len(total)), total), np.float32)


def gini(lists: Ints, known: Known) -> float:
    """How uneven places in lists are among all items: 0 all alike, near 1 one item has them all; 0 without lists."""
    shown = np.sort(np.bincount(lists[lists != NONE], minlength=len(known.met)))
    size, places = len(shown), int(shown.sum())
    if not places:
        return 0.0
    return float(((2 * np.arange(1, size + 1) - size - 1) * shown).sum() / (size * places))


def miscalibration(lists: Ints, shoppers: Ints, known: Known) -> Floats:
    """[n] Kullback-Leibler divergence, in nats, of the list's categories from those of the shopper's history.

    0: a list in the shares of the history. Items without a category are left out on both sides.
    """
    if known.tastes is None:
        return np.full(len(lists), np.nan, np.float32)
    row, column = np.nonzero((lists != NONE) & (known.categories[lists] != UNKNOWN))
    shape = (len(lists), known.tastes.shape[1])
    shown: Any = sp.csr_matrix((np.ones(len(row)), (row, known.categories[lists[row, column]])), shape=shape)
    history = known.tastes[shoppers]
    shares_shown, shares = _shares(shown), _shares(history)
    # Only categories of the history count: the others have the weight 0.
    there = shares.tocoo()
    beside = np.asarray(shares_shown[there.row, there.col]).ravel()
    terms = there.data * np.log(there.data / ((1 - SMOOTHING) * beside + SMOOTHING * there.data))
    found = np.bincount(there.row, terms, len(lists))
    nothing = (np.diff(shown.indptr) == 0) | (np.diff(history.indptr) == 0)
    return np.asarray(np.where(nothing, np.nan, np.maximum(found, 0)), np.float32)


def _mean_of(lists: Ints, values: Any) -> Floats:
    there = lists != NONE
    counts = there.sum(1)
    sums = np.where(there, np.asarray(values, np.float64)[np.where(there, lists, 0)], 0).sum(1) if len(values) else 0
    return np.asarray(np.divide(sums, counts, out=np.full(len(lists), np.nan), where=counts > 0), np.float32)


def _shares(table: Any) -> Any:
    """Rows of a CSR table, each divided by its sum."""
    summed = table.copy()
    summed.sum_duplicates()
    sums = np.asarray(summed.sum(1)).ravel()
    summed.data = summed.data / np.repeat(np.maximum(sums, 1), np.diff(summed.indptr))
    return summed
