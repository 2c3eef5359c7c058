"""What another policy's lists would have been worth, told from lists that chance had a part in.

Each slot of a list has a weight: how much more probable its items down to there are under the other policy than under
the one that showed them. That is right where a click depends on an item and on those above it, and not on what comes
below (McInerney et al. 2020). IPS takes the mean of weight times reward (Horvitz and Thompson 1952); SNIPS divides by
the mean weight of the slot instead of by 1 (Swaminathan and Joachims 2015): a little biased, and steadier.
"""

from typing import Any

import msgspec
import numpy as np

from models.experiment_statistics import Z_95


class Worth(msgspec.Struct, frozen=True):
    """A value a list, with its 95 % interval."""

    value: float
    low: float
    high: float


class OffPolicy(msgspec.Struct, frozen=True):
    """`logged` is what the lists earned as they were. `effective` is how many lists the weights leave, at the slot
    where it is least; `mean_weight` is 1 in the long run, at each slot: the one farthest from it is told.
    """

    logged: Worth
    ips: Worth
    snips: Worth
    lists: int
    shoppers: int
    effective: float
    mean_weight: float


def estimate(weights: Any, rewards: Any, shoppers: Any) -> OffPolicy:
    """The value of the other policy.

    Args:
        weights: [lists, slots]; NaN where a list has no such slot.
        rewards: [lists, slots], what each slot earned.
        shoppers: [lists] whole numbers: whose list it was. Lists of one are not apart from each other.
    """
    given = np.asarray(weights, np.float64)
    there = np.isfinite(given)
    weight, reward = np.where(there, given, 0.0), np.where(there, np.asarray(rewards, np.float64), 0.0)
    whose = np.unique(np.asarray(shoppers), return_inverse=True)[1]
    sums, have = weight.sum(axis=0), there.sum(axis=0)
    squares = (weight**2).sum(axis=0)
    left = np.divide(sums**2, squares, out=np.zeros_like(sums), where=squares > 0)[have > 0]
    means = np.divide(sums, have, out=np.ones_like(sums), where=have > 0)
    return OffPolicy(
        logged=_mean(reward.sum(axis=1), whose),
        ips=_mean((weight * reward).sum(axis=1), whose),
        snips=_self_normalised(weight, reward, there, whose),
        lists=len(weight),
        shoppers=int(whose.max()) + 1 if len(whose) else 0,
        effective=float(left.min()) if len(left) else 0.0,
        mean_weight=float(means[np.argmax(np.abs(means - 1.0))]) if len(means) else 1.0,
    )


def _self_normalised(weight: Any, reward: Any, there: Any, whose: Any) -> Worth:
    sums, share = weight.sum(axis=0), there.mean(axis=0)
    of_slot = np.divide((weight * reward).sum(axis=0), sums, out=np.zeros_like(sums), where=sums > 0)
    value = float((share * of_slot).sum())
    # What each list pulls the estimate by: by its weight within a slot, and by how many slots it has.
    pull = np.divide(share, sums / len(weight), out=np.zeros_like(sums), where=sums > 0)
    apart = (pull * weight * (reward - of_slot)).sum(axis=1) + ((there - share) * of_slot).sum(axis=1)
    return _around(value, apart, whose)


def _mean(values: Any, whose: Any) -> Worth:
    value = float(values.mean()) if len(values) else 0.0
    return _around(value, values - value, whose)


def _around(value: float, apart: Any, whose: Any) -> Worth:
    """The interval, with all lists of one shopper taken together."""
    if not len(apart):
        return Worth(value, value, value)
    of_shopper = np.bincount(whose, weights=apart)
    many = len(of_shopper)
    error = float((of_shopper**2).sum() ** 0.5) / len(apart) * (many / max(many - 1, 1)) ** 0.5
    return Worth(value, value - Z_95 * error, value + Z_95 * error)
