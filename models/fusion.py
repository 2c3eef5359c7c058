"""The score that ranks: the sources' scores, each brought to one scale per shopper, added up with learned weights."""

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from models.interactions import Floats
from models.own import Repeats

_ROUNDING: Final = 1e-6  # what a mean of equal numbers may miss them by


SOURCES: Final = ("tower", "item_to_item", "popular", "repeat")
"""What is fused, in the order in which their weights are learned."""


class Weights(msgspec.Struct, frozen=True):
    """How much each source counts, and how own repeats are counted; None: not decided, and counted as `Repeats()`."""

    tower: float = 1.0
    item_to_item: float = 0.0
    popular: float = 0.0
    repeat: float = 0.0
    repeats: Repeats | None = None


def normalised(scores: Floats) -> Floats:
    """Scores [shoppers, items] with mean 0 and deviation 1 for each shopper; a source that says nothing is 0."""
    mean = scores.mean(1, keepdims=True)
    centred = scores - mean
    spread = np.sqrt(np.einsum("ij,ij->i", centred, centred)[:, None] / max(scores.shape[1], 1))
    return np.asarray(
        np.divide(centred, spread, out=np.zeros_like(centred), where=spread > _ROUNDING * np.abs(mean)), np.float32
    )


def scale_of(mean: float, spread: float) -> float:
    """What brings scores of such mean and deviation to deviation 1, as `normalised` does; 0 where all are alike."""
    return 1 / spread if spread > _ROUNDING * abs(mean) else 0.0


def weighted(shares: Mapping[str, Floats], weights: Weights) -> dict[str, Floats]:
    """What each source, `normalised`, adds to the fused score: [shoppers, items] each."""
    return {name: np.float32(getattr(weights, name)) * share for name, share in shares.items()}


def fuse(parts: Mapping[str, Floats], weights: Weights) -> Floats:
    """The fused score of raw parts, of which others than `SOURCES` are passed over: [shoppers, items]."""
    shares = {name: normalised(parts[name]) for name in SOURCES}
    return np.asarray(sum(weighted(shares, weights).values()), np.float32)
