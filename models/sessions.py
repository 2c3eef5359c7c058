"""V-SKNN (Ludewig & Jannach 2018): what others went on with whose session is like the shopper's, newer items first."""

from typing import Any, Final

import numpy as np
import scipy.sparse as sp

from models.baselines import HISTORY, Ranker, strongest
from models.interactions import Floats, Interactions, Ints

NEIGHBOURS: Final = 100
SAMPLE: Final = 1000


def v_sknn(
    bought: Interactions, gap_ms: int | None = None, neighbours: int = NEIGHBOURS, sample: int = SAMPLE
) -> Ranker:
    """The shopper's last 50 purchases are the session at hand; the newest weighs 1, older ones linearly less.

    Of the `sample` newest sessions of others that share an item, the `neighbours` with the largest dot product vote
    with it for all their items.

    Args:
        bought: the prefix.
        gap_ms: so long without a purchase ends a session; None: all of a shopper's last 50 purchases are one.
        neighbours: k of the paper.
        sample: m of the paper.
    """
    sessions, owners = _sessions(bought, gap_ms)
    at_hand = _at_hand(bought)
    items = sessions.T.tocsr()

    def score(shoppers: Ints) -> Floats:
        alike = (at_hand[shoppers] @ items).tocsr()
        alike.sort_indices()
        row = np.repeat(np.arange(len(shoppers)), np.diff(alike.indptr))
        others = owners[alike.indices] != shoppers[row]
        newest = _first(row[others], alike.indices[others], alike.data[others], sample, alike.shape)
        return np.asarray((strongest(newest, neighbours) @ sessions).toarray(), np.float32)

    return Ranker("V-SKNN", score)


def _sessions(bought: Interactions, gap_ms: int | None) -> tuple[Any, Ints]:
    """CSR [sessions, items] of 1, the newest session first, and the shopper of each."""
    recent = np.flatnonzero(_back(bought) < HISTORY)
    shopper, item, at = bought.shopper[recent], bought.item[recent], bought.at[recent]
    begins = np.diff(shopper, prepend=-1) != 0
    if gap_ms is not None:
        begins |= np.diff(at, prepend=0) > gap_ms
    number = np.cumsum(begins) - 1
    ends = np.flatnonzero(np.append(begins[1:], True)) if len(recent) else np.empty(0, np.int64)
    place = np.empty(len(ends), np.int64)
    order = np.argsort(-at[ends], kind="stable")
    place[order] = np.arange(len(ends))
    shape = (len(ends), len(bought.items))
    table: Any = sp.csr_matrix((np.ones(len(recent), np.float32), (place[number], item)), shape=shape)
    table.data[:] = 1  # an item twice in a session is one item
    return table, shopper[ends][order]


def _at_hand(bought: Interactions) -> Any:
    """CSR [shoppers, items]: the newest of n items weighs 1, the next (n − 1) / n …; a repeat as its newest."""
    back = _back(bought)
    kept = back < HISTORY
    lengths = np.minimum(np.bincount(bought.shopper, minlength=len(bought.shoppers)), HISTORY)
    shopper, item = bought.shopper[kept], bought.item[kept]
    weights = 1 - back[kept] / lengths[shopper]
    newest_last = shopper * len(bought.items) + item
    _, first = np.unique(newest_last[::-1], return_index=True)
    chosen = len(newest_last) - 1 - first
    shape = (len(bought.shoppers), len(bought.items))
    return sp.csr_matrix((weights[chosen].astype(np.float32), (shopper[chosen], item[chosen])), shape=shape)


def _back(bought: Interactions) -> Ints:
    """[rows]: how many newer ones the shopper has."""
    ends = np.searchsorted(bought.shopper, bought.shopper, side="right")
    return np.asarray(ends - 1 - np.arange(len(bought)), np.int64)


def _first(row: Ints, column: Ints, data: Floats, most: int, shape: tuple[int, int]) -> Any:
    """CSR of the first `most` entries of each row; rows ascend, and columns in them."""
    begins = np.searchsorted(row, np.arange(shape[0]))
    kept = np.arange(len(row)) - begins[row] < most
    return sp.csr_matrix((data[kept], (row[kept], column[kept])), shape=shape)
