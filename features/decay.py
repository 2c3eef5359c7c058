"""Sums that halve with time, as of the time of their last change."""

from math import exp2, inf

from features.shopper_state import (
    AFFINITY_HALF_LIFE_MS,
    MAX_AFFINITIES,
    PURCHASE_HALF_LIFE_MS,
    Decayed,
    Purchased,
)


def affinity_at(sum_: Decayed, at: int) -> float:
    """What a decayed sum is worth at a time (ms)."""
    return sum_.value * exp2((sum_.at - at) / AFFINITY_HALF_LIFE_MS)


def purchase_weight_at(bought: Purchased, at: int) -> float:
    """The decayed count of an item's orders at a time (ms)."""
    return bought.weight * exp2((bought.last_at - at) / PURCHASE_HALF_LIFE_MS)


def raise_sum(sums: dict[str, Decayed], key: str, weight: float, at: int) -> None:
    """Add to one of the bounded sums.

    A newcomer to a full map takes the place and the worth of the least (the space-saving rule for heavy
    hitters): whatever has more than a tenth of all that was added is kept, whenever it came. Were newcomers
    to start from nothing, the first ten would keep everyone else out for good.
    """
    known = sums.get(key)
    if known is not None:
        sums[key] = Decayed(affinity_at(known, at) + weight, at)
    elif len(sums) < MAX_AFFINITIES:
        sums[key] = Decayed(weight, at)
    elif weight > 0:
        least = _least(sums, at)
        worth = affinity_at(sums.pop(least), at)
        sums[key] = Decayed(max(worth, 0.0) + weight, at)


def _least(sums: dict[str, Decayed], at: int) -> str:
    """Of those that are worth least the one that changed first, by name if need be; written for speed."""
    least, worth = "", inf
    for name, sum_ in sums.items():
        now = sum_.value * exp2((sum_.at - at) / AFFINITY_HALF_LIFE_MS)
        if now < worth or (now == worth and (sum_.at, name) < (sums[least].at, least)):
            least, worth = name, now
    return least
