"""The score that ranks: the sources' scores, each brought to one scale per shopper, added up with learned weights."""

from collections.abc import Mapping

import msgspec
import numpy as np

from models.interactions import Floats


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
