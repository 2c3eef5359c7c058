"""How popular each item was at moments of the time that is learned from.

A step is learned with the popularity of its own day: with that of the last day alone, what was sold out or out of
season by then would seem unpopular when it was bought, and the tower would learn to believe recent popularity less
than it should be believed.
"""

from typing import Final, NamedTuple

import numpy as np

from infra.clock import DAY_MS
from models.interactions import Floats, Interactions, Ints

HALF_LIVES_DAYS: Final = (7.0, 90.0)
"""The short one hears what sells this week; the long one tells apart what has not been sold for weeks."""
_APART_MS: Final = 2 * DAY_MS
_MOST_NUMBERS: Final = 40_000_000


class Then(NamedTuple):
    """Log popularity: `logs` [moments, items], of each moment as known at it. The last one is the end.

    `begin` is the first moment, in ms, at which nothing is known; the others follow every `apart` ms.
    """

    begin: int
    apart: int
    logs: Floats

    def rows(self, at: Ints) -> Ints:
        """The newest moment that is not after each time; times before and after all moments get the nearest."""
        return np.clip((at - self.begin) // self.apart, 0, len(self.logs) - 1)


def popular_then(bought: Interactions, at_ms: int, most: int = _MOST_NUMBERS) -> Then:
    """Popularity every other day until `at_ms`: the mean of two rates of purchases, of a short and a long half-life.

    Args:
        bought: before `at_ms`.
        at_ms: the end.
        most: bound of the numbers that are kept; where it is met, moments lie further apart.
    """
    size = len(bought.items)
    span = max(at_ms - int(bought.at.min(initial=at_ms)), 0)
    apart = max(_APART_MS, -(-span // max(most // max(size, 1) - 2, 1)))
    count = span // apart + 1
    begin = at_ms - count * apart
    period = (bought.at - begin) // apart
    order = np.argsort(period, kind="stable")
    cuts = np.searchsorted(period[order], np.arange(count + 1))
    logs = np.zeros((count + 1, size), np.float32)
    decayed = np.zeros((len(HALF_LIVES_DAYS), size))
    for moment in range(1, count + 1):
        some = order[cuts[moment - 1] : cuts[moment]]
        age = begin + moment * apart - bought.at[some]
        rates = np.zeros(size)
        for sums, days in zip(decayed, HALF_LIVES_DAYS, strict=True):
            half_life = days * DAY_MS
            sums *= 0.5 ** (apart / half_life)
            sums += np.bincount(bought.item[some], 0.5 ** (age / half_life), minlength=size)
            # Of what a purchase a day would have come to by then.
            rates += sums * np.log(2) / days / (1 - 0.5 ** (moment * apart / half_life))
        logs[moment] = log_popularity((rates / len(HALF_LIVES_DAYS)).astype(np.float32))
    return Then(begin, apart, logs)


def log_popularity(popular: Floats) -> Floats:
    """[items]: of mean 0; what is not sold is somewhat below the least."""
    sold = popular[popular > 0]
    floor = 0.5 * float(np.percentile(sold, 5)) if len(sold) else 1.0
    logs = np.log(popular + floor)
    return np.asarray(logs - logs.mean(), np.float32)
