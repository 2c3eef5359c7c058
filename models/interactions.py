"""Who met what, when: the columns that models and baselines are fitted on and evaluated with."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

KINDS: Final = (
    "purchase", "add_to_cart", "add_to_wishlist", "view_item", "select_item", "dislike_item", "refund",
)  # fmt: skip
"""Names of events; `Interactions.kind` holds their places."""


@dataclass(frozen=True, slots=True)
class Interactions:
    """One row for each item of each event, sorted by (shopper, at, order). Shoppers and items are indices into
    `shoppers` and `items`; `at` is event time in ms; `order` numbers events (a basket's lines share one). `kind` is
    the event's place in `KINDS`; None where all are purchases.
    """

    shoppers: tuple[str, ...]
    items: tuple[str, ...]
    shopper: Ints
    item: Ints
    at: Ints
    order: Ints
    kind: Ints | None = None

    def __len__(self) -> int:
        return len(self.item)

    @property
    def kinds(self) -> Ints:
        """[rows]: places in `KINDS`."""
        return np.zeros(len(self), np.int64) if self.kind is None else self.kind

    def between(self, begin_ms: int, end_ms: int) -> "Interactions":
        """The rows with begin ≤ at < end."""
        return self.chosen((self.at >= begin_ms) & (self.at < end_ms))

    def before(self, end_ms: int) -> "Interactions":
        """The rows with at < end."""
        return self.between(np.iinfo(np.int64).min, end_ms)

    def of_kinds(self, names: Collection[str]) -> "Interactions":
        """The rows of some kinds, without those of names that are no kind."""
        wanted = [place for place, name in enumerate(KINDS) if name in names]
        return self.chosen(np.isin(self.kinds, wanted))

    def chosen(self, keep: npt.NDArray[np.bool_]) -> "Interactions":
        """The rows that are marked."""
        kind = None if self.kind is None else self.kind[keep]
        return Interactions(
            self.shoppers, self.items, self.shopper[keep], self.item[keep], self.at[keep], self.order[keep], kind
        )
