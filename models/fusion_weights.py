"""Learning how much each source counts in the fused score, and how own repeats are counted, on weeks that no source
was fitted on.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from models.evaluation import BATCH, K, Truth
from models.fusion import SOURCES, Weights, normalised
from models.interactions import Floats, Ints
from models.own import FORMS, WIDEST, Repeats, form_name

# Sources that say something of few items have peaks of fifty deviations: a twentieth of their score is much.
TRIED: Final = (0.0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
POOL: Final = 200
_ROUNDS: Final = 3


class Pool(NamedTuple):
    """One shopper: the items that any source has among its best 200, and which of them are to be found."""

    shares: Floats  # [rows, items]: the sources, own repeats in each form that is tried
    hits: npt.NDArray[np.bool_]  # [items]
    ideal: float  # the DCG of a perfect list


def learn(
    parts_of: Callable[[Ints], Mapping[str, Floats]],
    truth: Truth,
    task: str,
    seed: int,
    k: int = K,
    shoppers: int = 3000,
) -> Weights:
    """Weights by coordinate ascent on NDCG@k over a sample of shoppers, starting from the tower alone.

    Args:
        parts_of: the sources' scores, [shoppers, items] each, for rows of shoppers; those of own repeats also in
            other forms, where one is to be chosen.
        truth: what they bought in weeks that no part was fitted on.
        task: `all` or `new`; for `new` own repeats count nothing.
        seed: of the sample.
        k: length of the list.
        shoppers: its size.
    """
    able = np.array([shopper for shopper in truth.shoppers.tolist() if len(truth.wanted(shopper, task))], np.int64)
    if not len(able):
        return Weights()
    chosen = np.random.default_rng(seed).choice(able, min(shoppers, len(able)), replace=False)
    asked = np.sort(chosen)
    names = [name for name in SOURCES if task == "all" or name != "repeat"]
    forms = _forms(parts_of(asked[:BATCH]), task)
    rows = [*(name for name in names if name != "repeat"), *forms]
    asking = [row for row in rows if row not in forms or forms[row] in WIDEST]
    discounts = 1 / np.log2(np.arange(k) + 2)
    pools = list(_pools(parts_of, truth, task, asked, rows, asking, discounts))

    weights, form = {name: float(name == "tower") for name in names}, next(iter(forms), "")
    best = _quality(pools, _line(weights, form, rows), discounts)
    for _ in range(_ROUNDS):
        before = weights, form
        others = [(name, value) for name in names for value in TRIED]
        for name, value in others:
            tried = weights | {name: value}
            if any(tried.values()) and (reached := _quality(pools, _line(tried, form, rows), discounts)) > best:
                best, weights = reached, tried
        for other in forms if weights.get("repeat") else ():
            if (reached := _quality(pools, _line(weights, other, rows), discounts)) > best:
                best, form = reached, other
        if (weights, form) == before:
            break
    return Weights(**(dict.fromkeys(SOURCES, 0.0) | weights), repeats=forms.get(form, Repeats()))


def _forms(parts: Mapping[str, Floats], task: str) -> Mapping[str, Repeats]:
    """The forms of own repeats to choose from, by the name of their part."""
    if task != "all":
        return {}
    return {form_name(form): form for form in FORMS if form_name(form) in parts} or {"repeat": Repeats()}


def _line(weights: Mapping[str, float], form: str, rows: Sequence[str]) -> Floats:
    """What each row of a pool counts: of own repeats one form."""
    return np.array([weights.get("repeat" if row == form else row, 0.0) for row in rows], np.float32)


def _pools(
    parts_of: Callable[[Ints], Mapping[str, Floats]],
    truth: Truth,
    task: str,
    shoppers: Ints,
    names: Sequence[str],
    asking: Sequence[str],
    discounts: Any,
) -> Iterator[Pool]:
    for begin in range(0, len(shoppers), BATCH):
        batch = shoppers[begin : begin + BATCH]
        parts = parts_of(batch)
        shares = {name: normalised(parts[name]) for name in names}
        for row, shopper in enumerate(batch.tolist()):
            wanted, barred = truth.wanted(shopper, task), truth.barred(shopper, task)
            best = [_best(shares[name][row], POOL + len(barred)) for name in asking]
            left = np.setdiff1d(np.concatenate(best), barred)
            ideal = float(discounts[: len(wanted)].sum())
            yield Pool(np.stack([share[row, left] for share in shares.values()]), np.isin(left, wanted), ideal)


def _quality(pools: Sequence[Pool], line: Floats, discounts: Any) -> float:
    """Mean NDCG@k; what ties with the last is taken as it comes, which is enough to learn by."""
    gains = 0.0
    for pool in pools:
        fused = line @ pool.shares
        best = _best(fused, len(discounts))
        best = best[np.argsort(-fused[best], kind="stable")]
        gains += float(discounts[: len(best)][pool.hits[best]].sum()) / pool.ideal
    return gains / len(pools)


def _best(scores: Floats, k: int) -> Ints:
    """The places of the k largest, in no order."""
    return np.argpartition(-scores, k)[:k] if len(scores) > k else np.arange(len(scores))
