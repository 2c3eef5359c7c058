"""Who met what, when: the columns that models and baselines are fitted on and evaluated with."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Interactions:
    """One row for each item of each event, sorted by (shopper, at, order). Shoppers and items are indices into
    `shoppers` and `items`; `at` is event time in ms; `order` numbers events (a basket's lines share one).
    """

    shoppers: tuple[str, ...]
    items: tuple[str, ...]
    shopper: Ints
    item: Ints
    at: Ints
    order: Ints

    def __len__(self) -> int:
        return len(self.item)

    def between(self, begin_ms: int, end_ms: int) -> "Interactions":
        """The rows with begin ≤ at < end."""
        keep = (self.at >= begin_ms) & (self.at < end_ms)
        return Interactions(
            self.shoppers, self.items, self.shopper[keep], self.item[keep], self.at[keep], self.order[keep]
        )

    def before(self, end_ms: int) -> "Interactions":
        """The rows with at < end."""
        return self.between(np.iinfo(np.int64).min, end_ms)
