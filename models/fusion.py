"""The score that ranks: the sources' scores, each brought to one scale per shopper, added up with learned weights."""

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
import numpy as np

from models.evaluation import K, Truth
from models.interactions import Floats, Ints

_TRIED: Final = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0)
_ROUNDS: Final = 2


class Weights(msgspec.Struct, frozen=True):
    """How much each source counts."""

    tower: float = 1.0
    item_to_item: float = 0.0
    popular: float = 0.0
    repeat: float = 0.0


def normalised(scores: Floats) -> Floats:
    """Scores [shoppers, items] with mean 0 and deviation 1 for each shopper; a source that says nothing is 0."""
    centred = scores - scores.mean(1, keepdims=True)
    spread = centred.std(1, keepdims=True)
    return np.asarray(np.divide(centred, spread, out=np.zeros_like(centred), where=spread > 0), np.float32)


def weighted(parts: Mapping[str, Floats], weights: Weights) -> dict[str, Floats]:
    """What each source adds to the fused score: [shoppers, items] each."""
    shares = msgspec.structs.asdict(weights)
    return {name: np.float32(shares[name]) * normalised(part) for name, part in parts.items()}


def fuse(parts: Mapping[str, Floats], weights: Weights) -> Floats:
    """The fused score: [shoppers, items]."""
    return np.asarray(sum(weighted(parts, weights).values()), np.float32)


def learn(
    parts_of: Callable[[Ints], Mapping[str, Floats]], truth: Truth, task: str, seed: int, shoppers: int = 300
) -> Weights:
    """Weights by coordinate descent on NDCG@20 over a sample of shoppers.

    Args:
        parts_of: the sources' scores, [shoppers, items] each, for rows of shoppers.
        truth: what they bought in weeks that no part was fitted on.
        task: `all` or `new`; for `new` own repeats count nothing.
        seed: of the sample.
        shoppers: its size.
    """
    rng = np.random.default_rng(seed)
    sample = np.sort(rng.choice(truth.shoppers, min(shoppers, len(truth.shoppers)), replace=False))
    shares = {name: normalised(part) for name, part in parts_of(sample).items()}
    names = [name for name in shares if task == "all" or name != "repeat"]
    weights = dict.fromkeys(shares, 0.0) | {"tower": 1.0}
    wanted = [truth.wanted(shopper, task) for shopper in sample.tolist()]
    barred = [truth.barred(shopper, task) for shopper in sample.tolist()]

    def quality(tried: Mapping[str, float]) -> float:
        fused = np.asarray(sum(np.float32(tried[name]) * shares[name] for name in names), np.float32)
        gains = [_ndcg(line, items, out) for line, items, out in zip(fused, wanted, barred, strict=True) if len(items)]
        return float(np.mean(gains)) if gains else 0.0

    best = quality(weights)
    for _ in range(_ROUNDS):
        for name in names:
            for value in _TRIED:
                tried = weights | {name: value}
                if value != weights[name] and (reached := quality(tried)) > best:
                    best, weights = reached, tried
    return Weights(**weights)


def _ndcg(scores: Floats, wanted: Ints, barred: Ints) -> float:
    """NDCG@20 of the best twenty; what ties with the twentieth is taken as it comes, which is enough to learn by."""
    scores[barred] = -np.inf
    best = np.argpartition(-scores, K)[:K] if len(scores) > K else np.arange(len(scores))
    best = best[np.argsort(-scores[best], kind="stable")]
    discounts = 1 / np.log2(np.arange(len(best)) + 2)
    return float(discounts[np.isin(best, wanted)].sum() / discounts[: len(wanted)].sum())
