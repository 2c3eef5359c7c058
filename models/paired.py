"""How sure it is that one model is better than another: a bootstrap over shoppers, both on the same draws."""

import numpy as np
import numpy.typing as npt

DRAWS = 1000


def paired_interval(
    one: npt.NDArray[np.float64], other: npt.NDArray[np.float64], seed: int, draws: int = DRAWS
) -> tuple[float, float]:
    """The 95 % interval of the mean difference `one - other`.

    Args:
        one, other: [shoppers] a metric of the same shoppers in the same order.
        seed: of the draws.
        draws: how many.
    """
    apart = np.asarray(one, np.float64) - np.asarray(other, np.float64)
    if not len(apart):
        return 0.0, 0.0
    chosen = np.random.default_rng(seed).integers(0, len(apart), (draws, len(apart)))
    low, high = np.percentile(apart[chosen].mean(1), (2.5, 97.5))
    return float(low), float(high)
