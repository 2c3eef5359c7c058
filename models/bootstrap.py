"""How sure a mean over shoppers is: shoppers are drawn anew a thousand times, for all columns of a table at once."""

from typing import Any, Final

import msgspec
import numpy as np

DRAWS: Final = 1000
_AT_ONCE: Final = 2_000_000  # drawn shoppers, 8 bytes each


class Difference(msgspec.Struct, frozen=True):
    """How much more one is than the other, with the 95 % interval of it."""

    mean: float
    low: float
    high: float

    @property
    def sure(self) -> bool:
        """The whole interval lies on one side of nothing."""
        return self.low > 0 or self.high < 0


def draws_of(values: Any, seed: int, draws: int = DRAWS) -> Any:
    """[draws, columns]: means over shoppers that are drawn with replacement; all columns have the same draws.

    Args:
        values: [shoppers, columns]; NaN where a shopper does not count for a column.
        seed: of the draws.
        draws: how many.
    """
    table = np.asarray(values, np.float64)
    counted = np.isfinite(table)
    columns = np.concatenate([np.where(counted, table, 0), counted], axis=1)
    size, rng = len(table), np.random.default_rng(seed)
    found = []
    for begin in range(0, draws, step := max(1, _AT_ONCE // max(size, 1))):
        rows = min(step, draws - begin)
        chosen = rng.integers(0, max(size, 1), (rows, size)) + np.arange(rows)[:, None] * size
        times = np.bincount(chosen.ravel(), minlength=rows * size).reshape(rows, size)
        found.append(times @ columns)
    sums, counts = np.split(np.concatenate(found), 2, axis=1)
    return np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0)


def bounds(drawn: Any) -> tuple[float, float]:
    """The middle 95 % of one column of draws; (0, 0) where nobody counts."""
    known = drawn[np.isfinite(drawn)]
    if not len(known):
        return 0.0, 0.0
    low, high = np.percentile(known, (2.5, 97.5))
    return float(low), float(high)


def difference(one: Any, other: Any, seed: int, draws: int = DRAWS) -> Difference:
    """one − other: [shoppers] each, of the same shoppers in the same order, drawn together.

    NaN: the shopper does not count on that side. So it compares two models over all shoppers (paired), and one group
    of shoppers with another, too.
    """
    both = np.stack([np.asarray(one, np.float64), np.asarray(other, np.float64)], axis=1)
    drawn = draws_of(both, seed, draws)
    low, high = bounds(drawn[:, 0] - drawn[:, 1])
    return Difference(mean_of(both[:, 0]) - mean_of(both[:, 1]), low, high)


def mean_of(values: Any) -> float:
    """Of those that count; 0 where nobody does."""
    known = np.asarray(values)[np.isfinite(values)]
    return float(known.mean()) if len(known) else 0.0
