"""The baselines that stand in every table beside the model. Each is fitted on what happened before one moment."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import scipy.sparse as sp

from infra.clock import DAY_MS
from models.interactions import Floats, Interactions, Ints

HISTORY: Final = 50
RECENCY: Final = 0.97
NEIGHBOURS: Final = 50
_REACH: Final = 50  # how many purchases apart two items may be and still go together
_FADE: Final = 0.95
_SHRINK: Final = 10.0


@dataclass(frozen=True, slots=True)
class Ranker:
    """A fitted model: `score` gives [shoppers, items] for rows of shoppers. What has the least score of its row is not
    recommended: the model says nothing of it.

    Args:
        name: its key in every table.
        score: the scores.
        seed: it was fitted with; None: nothing is drawn in its fit.
        note: what a reader of its figures has to know.
    """

    name: str
    score: Callable[[Ints], Floats]
    seed: int | None = None
    note: str = ""


def popularity(bought: Interactions) -> Ranker:
    """How often each item was bought, ever."""
    return _same_for_all("popularity", np.bincount(bought.item, minlength=len(bought.items)))


def decayed_popularity(bought: Interactions, at_ms: int, half_life_days: float = 7.0) -> Ranker:
    """How often each item was bought, halving with age."""
    return _same_for_all("decayed popularity", decayed_counts(bought, at_ms, half_life_days))


def own_repeats(bought: Interactions, at_ms: int, half_life_days: float = 90.0) -> Ranker:
    """The shopper's own orders of each item, halving with age."""
    shape = (len(bought.shoppers), len(bought.items))
    weights = _decay(bought, at_ms, half_life_days)
    table: Any = sp.csr_matrix((weights, (bought.shopper, bought.item)), shape=shape)
    return Ranker("own repeats", lambda shoppers: _dense(table[shoppers]))


def recency_item_knn(bought: Interactions, recency: float = RECENCY) -> Ranker:
    """Items that go with the shopper's last 50 purchases, each weighing `recency` of the next newer one."""
    recent, neighbours = last_purchases(bought, recency), item_neighbours(bought)
    return Ranker("recency item-kNN", lambda shoppers: _dense(recent[shoppers] @ neighbours))


def decayed_counts(bought: Interactions, at_ms: int, half_life_days: float) -> Floats:
    """[items]: purchases, each halved with every half-life of its age."""
    weights = _decay(bought, at_ms, half_life_days)
    return np.bincount(bought.item, weights, len(bought.items)).astype(np.float32)


def last_purchases(bought: Interactions, recency: float = RECENCY) -> Any:
    """CSR [shoppers, items]: the last 50 purchases, each weighing `recency` of the next newer one."""
    ends = np.searchsorted(bought.shopper, bought.shopper, side="right")
    back = ends - 1 - np.arange(len(bought))
    kept = back < HISTORY
    shape = (len(bought.shoppers), len(bought.items))
    weights = (recency ** back[kept]).astype(np.float32)
    return sp.csr_matrix((weights, (bought.shopper[kept], bought.item[kept])), shape=shape)


def item_neighbours(bought: Interactions) -> Any:
    """CSR [items, items]: the 50 items that go best with each, with scores.

    Two items of one shopper count the more, the nearer they stand in the sequence; popular ones are held back by the
    square root of their counts.
    """
    size = len(bought.items)
    counts = np.bincount(bought.item, minlength=size).astype(np.float32)
    pairs: Any = 0
    for begin in range(1, _REACH + 1, 10):
        pairs = pairs + _pairs_apart(bought, range(begin, min(begin + 10, _REACH + 1)), size)
    together = (pairs + pairs.T).tocoo()
    apart = together.row != together.col
    row, column, value = together.row[apart], together.col[apart], together.data[apart]
    held = np.sqrt((counts[row] + _SHRINK) * (counts[column] + _SHRINK))
    return strongest(sp.csr_matrix((value / held, (row, column)), shape=(size, size)), NEIGHBOURS)


def _pairs_apart(bought: Interactions, distances: range, size: int) -> Any:
    rows, columns, weights = [], [], []
    for apart in distances:
        same = bought.shopper[apart:] == bought.shopper[:-apart]
        rows.append(bought.item[:-apart][same])
        columns.append(bought.item[apart:][same])
        weights.append(np.full(int(same.sum()), _FADE**apart, np.float32))
    parts = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return sp.coo_matrix(parts, shape=(size, size)).tocsr()


def strongest(table: Any, most: int) -> Any:
    """The `most` largest entries of each row of a CSR table of positive numbers; of equal ones the first columns."""
    row = np.repeat(np.arange(table.shape[0]), np.diff(table.indptr))
    # Positive floats sort like their bits: one key holds the row and, falling, the value.
    bits = table.data.astype(np.float32).view(np.int32).astype(np.int64)
    key = (row << 32) | (0x7FFF_FFFF - bits)
    ends = np.minimum(table.indptr[:-1] + most, table.indptr[1:]) - 1
    limit = np.sort(key)[np.maximum(ends, 0)] if len(key) else np.zeros(len(ends), np.int64)
    few = np.flatnonzero(key <= limit[row])
    few = few[np.lexsort((table.indices[few], key[few]))]
    begins = np.searchsorted(row[few], np.arange(table.shape[0]))
    kept = few[np.arange(len(few)) - begins[row[few]] < most]
    return sp.csr_matrix((table.data[kept].astype(np.float32), (row[kept], table.indices[kept])), shape=table.shape)


def _same_for_all(name: str, scores: Any) -> Ranker:
    line = np.asarray(scores, np.float32)
    return Ranker(name, lambda shoppers: np.broadcast_to(line, (len(shoppers), len(line))))


def _decay(bought: Interactions, at_ms: int, half_life_days: float) -> Any:
    return 0.5 ** (np.maximum(at_ms - bought.at, 0) / (half_life_days * DAY_MS))


def _dense(table: Any) -> Floats:
    return np.asarray(table.toarray(), np.float32)
