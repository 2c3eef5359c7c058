"""The sources beside the towers, and how they are made: chosen on weeks that nothing was fitted on."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, Final

import msgspec
import numpy as np
import scipy.sparse as sp

from models.baselines import NEIGHBOURS, decayed_counts, item_neighbours, last_purchases
from models.evaluation import Truth
from models.interactions import Floats, Interactions, Ints
from models.slim import regressed
from models.splits import Split

RECENCIES: Final = (0.97, 0.9, 0.8, 0.6, 0.4)
HALF_LIVES_DAYS: Final = (30.0, 14.0, 7.0, 3.0, 90.0, 365.0)
MAX_PAIRS: Final = 60_000_000
"""Pairs of items of one shopper, beyond which nothing is regressed: their table would not fit into memory."""
_AT_ONCE: Final = 256
_TRIED_ON: Final = 3000


class Choice(msgspec.Struct, frozen=True):
    """How the sources are made: the item-to-item table and the recency of its sum, the half-life of popularity."""

    table: str = "near"
    recency: float = RECENCIES[0]
    popular_half_life_days: float = HALF_LIVES_DAYS[0]


class Tables:
    """What one prefix gives, each made when it is first asked for."""

    def __init__(self, before: Interactions, max_pairs: int = MAX_PAIRS) -> None:
        self.before, self._max_pairs = before, max_pairs
        self._made: dict[str, Any] = {}

    @cached_property
    def names(self) -> Sequence[str]:
        """Of the item-to-item tables that can be made."""
        many = np.bincount(self.before.shopper, minlength=1).astype(np.int64)
        pairs = min(int((many**2).sum()), len(self.before.items) ** 2)
        return ("near",) if pairs > self._max_pairs else ("near", "regressed-100", "regressed-30", "regressed-300")

    def table(self, name: str) -> Any:
        """CSR [items, items], at most 50 entries in a row."""
        if name not in self._made:
            kind, _, strength = name.partition("-")
            self._made[name] = (
                item_neighbours(self.before) if kind == "near" else regressed(self.before, NEIGHBOURS, float(strength))
            )
        return self._made[name]

    def packed(self, name: str) -> tuple[Any, Floats]:
        """[items, 50] rows and scores, best first, -1 where there are no more."""
        table = self.table(name)
        size = table.shape[0]
        rows = np.full((size, NEIGHBOURS), -1, np.int32)
        scores = np.zeros((size, NEIGHBOURS), np.float32)
        row = np.repeat(np.arange(size), np.diff(table.indptr))
        order = np.lexsort((table.indices, -table.data, row))
        place = np.arange(len(order)) - table.indptr[row[order]]
        rows[row[order], place], scores[row[order], place] = table.indices[order], table.data[order]
        return rows, scores

    def popular(self, at_ms: int, half_life_days: float) -> Floats:
        """[items]: decayed counts."""
        return decayed_counts(self.before, at_ms, half_life_days)


def chosen_on(
    tables: Tables, truth: Truth, split: Split, seed: int, tasks: Sequence[str], progress: Callable[[int], None]
) -> Choice:
    """The choice whose sources do best alone, over the tasks, for a sample of shoppers; the first of equal ones.

    Args:
        tables: of the prefix.
        truth: what is to be found.
        split: names the moment and the length of the list.
        seed: of the sample.
        tasks: what counts.
        progress: hears of each source that is chosen.
    """
    able = truth.shoppers
    if not len(able):
        return Choice()
    shoppers = np.sort(np.random.default_rng(seed).choice(able, min(_TRIED_ON, len(able)), replace=False))
    found: dict[tuple[str, float], float] = {}
    for recency in RECENCIES:
        recent = last_purchases(tables.before, recency)
        for name in tables.names:
            score = _scored_by(recent, tables.table(name))
            found[name, recency] = _quality(score, truth, shoppers, tasks, split.k)
    table, recency = max(found, key=found.__getitem__)
    progress(1)
    popular = {days: tables.popular(split.at_ms, days) for days in HALF_LIVES_DAYS}
    lines = {days: _same(line) for days, line in popular.items()}
    best = max(lines, key=lambda days: _quality(lines[days], truth, shoppers, tasks, split.k))
    progress(1)
    return Choice(table, recency, best)


def _scored_by(recent: sp.csr_matrix, table: Any) -> Callable[[Ints], Floats]:
    return lambda shoppers: np.asarray((recent[shoppers] @ table).toarray(), np.float32)


def _same(line: Floats) -> Callable[[Ints], Floats]:
    return lambda shoppers: np.repeat(line[None], len(shoppers), 0)


def _quality(score: Callable[[Ints], Floats], truth: Truth, shoppers: Ints, tasks: Sequence[str], k: int) -> float:
    """The sum over tasks of the mean NDCG@k; ties are taken as they come, which is enough to choose by."""
    discounts = 1 / np.log2(np.arange(k) + 2)
    sums, counts = dict.fromkeys(tasks, 0.0), dict.fromkeys(tasks, 0)
    for begin in range(0, len(shoppers), _AT_ONCE):
        some = shoppers[begin : begin + _AT_ONCE]
        for shopper, row in zip(some.tolist(), score(some), strict=True):
            for task in tasks:
                wanted = truth.wanted(shopper, task)
                if not len(wanted):
                    continue
                left = row.copy()
                left[truth.barred(shopper, task)] = -np.inf
                best = np.argpartition(-left, k)[:k] if len(left) > k else np.arange(len(left))
                best = best[left[best] > 0]
                best = best[np.argsort(-left[best], kind="stable")]
                sums[task] += float(
                    discounts[: len(best)][np.isin(best, wanted)].sum() / discounts[: len(wanted)].sum()
                )
                counts[task] += 1
    return sum(sums[task] / max(counts[task], 1) for task in tasks)
