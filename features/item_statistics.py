"""Item statistics: purchases, views, buyers and ratings of each item, as of the end of each day on which they changed.

Counting is by day, so it does not matter in which order the events of a day come. An event counts from the end of the
day on which it came to be known, and decays from the time at which it happened.
"""

from array import array
from dataclasses import dataclass
from math import exp2
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.events import Event
from infra.clock import DAY_MS
from infra.keys import record_key

HALF_LIFE_MS: Final = 14 * DAY_MS
PRIOR_RATINGS: Final = 5.0
PRIOR_MEAN: Final = 3.5
"""An item's mean rating starts as that of five ratings of 3.5: one enthusiast does not make a bestseller."""

_COMPACT_AT: Final = 2_000_000
_PURCHASE: Final = {"purchase": 1.0, "refund": -1.0}


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Items at the ends of days (ms), as columns: `values` by feature."""

    keys: list[str]
    at_ms: npt.NDArray[np.int64]
    values: dict[str, npt.NDArray[Any]]


class _Running:
    """One item while its days go by."""

    __slots__ = ("buyers", "day", "purchases", "ratings", "stars", "views")

    def __init__(self) -> None:
        self.day = self.buyers = 0
        self.purchases = self.views = self.stars = self.ratings = 0.0

    def roll(
        self, day: int, bought: float, viewed: float, starred: float, rated: float, new_buyers: int
    ) -> tuple[float, float, int, float, float]:
        left = exp2((self.day - day) * DAY_MS / HALF_LIFE_MS) if self.day else 0.0
        self.day = day
        self.purchases = max(0.0, self.purchases * left + bought)
        self.views = self.views * left + viewed
        self.buyers += new_buyers
        self.stars += starred
        self.ratings += rated
        return self.purchases, self.views, self.buyers, self.stars, self.ratings


class ItemCounter:
    """Collects contributions and gives them back as daily snapshots.

    Memory grows with pairs of item and day, and of item and buyer (8 bytes each in sorted arrays), not with events.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], int] = {}
        self._shoppers: dict[str, int] = {}
        self._keys: list[str] = []
        self._cells = array("q")  # day << 32 | item
        self._sums = tuple(array("d") for _ in range(4))  # purchases, views, ratings' sum, ratings' count
        self._buys = array("q")  # item << 32 | shopper
        self._buy_days = array("q")
        self._compacted = 0

    def add(self, event: Event, shopper: str, at_ms: int, known_ms: int) -> None:
        """Count one event, each item of it once. `shopper` is the record key of the shopper."""
        bought = _PURCHASE.get(event.event_name, 0.0)
        viewed = float(event.event_name == "view_item")
        rated = float(event.event_name == "review_item" and event.rating is not None)
        if not (bought or viewed or rated):
            return
        day = known_ms // DAY_MS
        weight = exp2((at_ms - (day + 1) * DAY_MS) / HALF_LIFE_MS)
        row = (bought * weight, viewed * weight, rated * (event.rating or 0), rated)
        for item_id in dict.fromkeys(line.item_id for line in event.items):
            item = self._number(event.tenant, item_id)
            self._cells.append(day << 32 | item)
            for column, value in zip(self._sums, row, strict=True):
                column.append(value)
            if bought > 0:
                self._buys.append(item << 32 | self._shoppers.setdefault(shopper, len(self._shoppers)))
                self._buy_days.append(day)
        if len(self._cells) - self._compacted > _COMPACT_AT:
            self._compact()

    def snapshots(self) -> Snapshots:
        """Every item at the end of every day that changed it, by day."""
        self._compact()
        cells = _view(self._cells)
        items, days = cells & 0xFFFF_FFFF, cells >> 32
        columns = [days, *map(_view, self._sums), self._new_buyers(cells)]
        rolled = np.empty((5, len(cells)))
        running: dict[int, _Running] = {}
        for row, (item, *cell) in enumerate(zip(items.tolist(), *(each.tolist() for each in columns), strict=True)):
            now = running.get(item)
            if now is None:
                now = running[item] = _Running()
            rolled[:, row] = now.roll(*cell)
        purchases, views, buyers, stars, ratings = rolled
        at_ms = (days + 1) * DAY_MS
        values = {
            "decayed_purchases": purchases,
            "decayed_views": views,
            "buyers": buyers.astype(np.int64),
            "rating_mean": (PRIOR_RATINGS * PRIOR_MEAN + stars) / (PRIOR_RATINGS + ratings),
            "rating_count": ratings.astype(np.int64),
            "counted_at": at_ms,
        }
        return Snapshots([self._keys[item] for item in items.tolist()], at_ms, values)

    def _number(self, tenant: str, item_id: str) -> int:
        number = self._items.setdefault((tenant, item_id), len(self._keys))
        if number == len(self._keys):
            self._keys.append(record_key(tenant, item_id))
        return number

    def _new_buyers(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """For each cell, how many shoppers bought the item on that day and never before."""
        first_cells = (_view(self._buy_days) << 32) | (_view(self._buys) >> 32)
        return np.bincount(np.searchsorted(cells, first_cells), minlength=len(cells))

    def _compact(self) -> None:
        """One entry per day and item, in order, and one per buyer: the first day."""
        cells, inverse = np.unique(_view(self._cells), return_inverse=True)
        sums = [np.bincount(inverse, weights=_view(column), minlength=len(cells)) for column in self._sums]
        self._cells = array("q", cells.tobytes())
        self._sums = tuple(array("d", column.tobytes()) for column in sums)
        order = np.lexsort((_view(self._buy_days), _view(self._buys)))
        pairs, first = np.unique(_view(self._buys)[order], return_index=True)
        self._buy_days = array("q", _view(self._buy_days)[order][first].tobytes())
        self._buys = array("q", pairs.tobytes())
        self._compacted = len(self._cells)


def _view(column: "array[Any]") -> npt.NDArray[Any]:
    return np.frombuffer(column, dtype=column.typecode) if len(column) else np.empty(0, column.typecode)
