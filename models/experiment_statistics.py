"""What an experiment says: means and ratios over shoppers, how sure a difference is, whether the split was as wanted.

A shopper is the unit: the lists of one are alike, and counting them as if they were apart would make every difference
look sure. A ratio of two sums (clicks a list) gets its variance by the delta method (Deng, Knoblich and Lu 2018).
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

Z_95: Final = 1.959963984540054
ALARM: Final = 0.001  # a split this improbable is taken for broken


class Estimate(msgspec.Struct, frozen=True):
    """A ratio of sums over shoppers, with its standard error; `spread` is that of one shopper, by the mean below."""

    value: float
    error: float
    spread: float
    shoppers: int


class Change(msgspec.Struct, frozen=True):
    """How much more one is than the other, with the 95 % interval of it."""

    by: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """The whole interval lies on one side of nothing."""
        return self.low > 0 or self.high < 0


def ratio(above: Any, below: Any) -> Estimate | None:
    """sum(above) / sum(below), [shoppers] each; None where there is nothing below, or one shopper alone."""
    over, under = np.asarray(above, np.float64), np.asarray(below, np.float64)
    many = len(over)
    if many < 2 or under.sum() <= 0:
        return None
    value = float(over.sum() / under.sum())
    apart = (over - value * under) / under.mean()
    spread = float(apart.std(ddof=1))
    return Estimate(value, spread / many**0.5, spread, many)


def mean(values: Any) -> Estimate | None:
    """The mean over shoppers; None for fewer than two."""
    return ratio(values, np.ones(len(values)))


def change(first: Estimate, other: Estimate) -> Change:
    """other − first; their shoppers are different ones."""
    by = other.value - first.value
    half = Z_95 * (first.error**2 + other.error**2) ** 0.5
    return Change(by, by - half, by + half)


def shoppers_needed(first: Estimate, share: float) -> int | None:
    """Shoppers a variation needs to find a change by `share` of the value four times in five (two-sided, 5 %)."""
    if first.value == 0 or first.spread == 0:
        return None
    return int(np.ceil(2 * (1.959964 + 0.841621) ** 2 * (first.spread / (share * first.value)) ** 2))


def split_chance(counts: Mapping[str, int], weights: Mapping[str, float]) -> float | None:
    """How probable a split at least as uneven is, if shoppers are divided by these weights: Pearson's chi-square.

    None where it says nothing: fewer than two variations, or fewer than five expected in one.
    """
    total, whole = sum(counts.values()), sum(weights.values())
    if len(weights) < 2 or whole <= 0:
        return None
    expected = {name: total * weight / whole for name, weight in weights.items()}
    if min(expected.values()) < 5:
        return None
    found = sum((counts.get(name, 0) - wanted) ** 2 / wanted for name, wanted in expected.items())
    from scipy.special import chdtrc

    return float(chdtrc(len(weights) - 1, found))
