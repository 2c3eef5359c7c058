"""Item-to-item: each interaction speaks for its item's neighbours, the newer the louder."""

from typing import Any, Final, NamedTuple

import numpy as np

from features.shoppers import MAX_INTERACTIONS
from models.interactions import Floats, Ints

RECENCY: Final = 0.97


class Said(NamedTuple):
    """What the interactions of one shopper say: `shares` for candidates, by each interaction that has a row.

    `back` counts interactions from the newest on. A place may come more than once; the one behind the last candidate
    stands for what is none.
    """

    places: Ints  # [interactions, neighbours]
    shares: Floats  # [interactions, neighbours]
    back: Ints  # [interactions]

    def summed(self, candidates: int) -> Floats:
        """What is said for each candidate."""
        summed = np.zeros(candidates + 1, np.float32)
        np.add.at(summed, self.places.ravel(), self.shares.ravel())
        return summed[:-1]

    def loudest(self, chosen: Ints, candidates: int) -> Ints:
        """For each of the chosen candidates the interaction that spoke most for it, the newest where several did;
        counted back from the newest, -1 where none spoke.
        """
        asked = np.full(candidates + 1, -1, np.int32)
        asked[chosen] = np.arange(len(chosen))
        told, shares = asked.take(self.places.ravel()), self.shares.ravel()
        heard = np.flatnonzero(told >= 0)[::-1]  # the oldest first
        heard = heard[np.argsort(shares.take(heard), kind="stable")]  # what is said loudest is said last
        loudest = np.full(len(chosen), -1, np.int64)
        loudest[told[heard]] = np.where(shares[heard] > 0, self.back[heard // max(self.shares.shape[1], 1)], -1)
        return loudest


class ItemToItem:
    """The neighbours of every item, as far as they are candidates."""

    def __init__(self, neighbours: Any, scores: Any, place: Ints, candidates: int, recency: float = RECENCY) -> None:
        """`neighbours` [items, n]: rows, -1 for none, with `scores`; `place` [items]: of candidates, -1 for others;
        `recency`: how loud an interaction is of the next newer one.
        """
        self._faded = (recency ** np.arange(MAX_INTERACTIONS)).astype(np.float32)
        others = np.asarray(neighbours)
        places = np.where(others >= 0, place[np.maximum(others, 0)], -1)
        self._shares = np.where(places >= 0, scores, 0).astype(np.float32)
        self._places = np.where(places >= 0, places, candidates).astype(np.int32)

    def said(self, rows: Ints) -> Said:
        """By interactions: the rows of their items, the newest first, -1 for items without one."""
        back = np.flatnonzero(rows[:MAX_INTERACTIONS] >= 0)
        known = rows[back]
        shares = self._shares.take(known, 0) * self._faded.take(back)[:, None]
        return Said(self._places.take(known, 0).astype(np.int64), shares, back)
