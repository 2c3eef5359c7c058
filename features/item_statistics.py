"""Item statistics: purchases, views, buyers and ratings of each item, as of the end of each day on which they changed.

Counting is by day, so it does not matter in which order the events of a day come. An event counts from the end of the
day on which it came to be known, and decays from the time at which it happened. What an event changes is said by
`features.item_changes`, for the statistics of the stream, too.
"""

from array import array
from dataclasses import dataclass
from math import exp2
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from features.item_changes import Change
from features.item_partials import HALF_LIFE_MS
from features.item_snapshot import Totals
from infra.clock import DAY_MS
from infra.keys import record_key

PRIOR_RATINGS: Final = 5.0
PRIOR_MEAN: Final = 3.5
"""An item's mean rating starts as that of five ratings of 3.5: one enthusiast does not make a bestseller."""

_COMPACT_AT: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class Snapshots:
    """Items at the ends of days (ms), as columns: `values` by feature."""

    keys: list[str]
    at_ms: npt.NDArray[np.int64]
    values: dict[str, npt.NDArray[Any]]


def rating_mean(stars: npt.NDArray[Any], ratings: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Mean ratings of items by their sums and counts, smoothed."""
    means: npt.NDArray[np.float64] = (PRIOR_RATINGS * PRIOR_MEAN + stars) / (PRIOR_RATINGS + ratings)
    return means


def values_now(tenant: str, totals: Totals) -> Snapshots:
    """What the stream knows of items, told as the days tell it: each as of the end of the day of its newest event."""
    at_ms = (totals.at // DAY_MS + 1) * DAY_MS
    left = np.exp2((totals.era - at_ms) / HALF_LIFE_MS)
    values = {
        "decayed_purchases": np.maximum(0.0, totals.purchases * left),
        "decayed_views": totals.views * left,
        "buyers": totals.buyers,
        "rating_mean": rating_mean(totals.stars, totals.ratings),
        "rating_count": totals.ratings,
        "counted_at": at_ms,
    }
    return Snapshots([record_key(tenant, item_id) for item_id in totals.item_ids], at_ms, values)


class _Running:
    """One item while its days go by."""

    __slots__ = ("buyers", "day", "purchases", "ratings", "stars", "views")

    def __init__(self) -> None:
        self.day = 0
        self.purchases = self.views = self.stars = self.ratings = self.buyers = 0.0

    def roll(
        self, day: int, bought: float, viewed: float, starred: float, rated: float, new_buyers: float
    ) -> tuple[float, float, float, float, float]:
        left = exp2((self.day - day) * DAY_MS / HALF_LIFE_MS) if self.day else 0.0
        self.day = day
        self.purchases = self.purchases * left + bought
        self.views = self.views * left + viewed
        self.buyers += new_buyers
        self.stars += starred
        self.ratings += rated
        return max(0.0, self.purchases), self.views, self.buyers, self.stars, self.ratings


class ItemCounter:
    """Collects contributions and gives them back as daily snapshots.

    Memory grows with pairs of item and day (48 bytes each in arrays), not with events.
    """

    def __init__(self) -> None:
        self._items: dict[tuple[str, str], int] = {}
        self._keys: list[str] = []
        self._cells = array("q")  # day << 32 | item
        self._sums = tuple(array("d") for _ in range(5))  # purchases, views, stars, ratings, buyers
        self._compacted = 0

    def add(self, tenant: str, change: Change, known_ms: int) -> None:
        """Count one change, which came to be known at a time (ms)."""
        day = known_ms // DAY_MS
        weight = exp2((change.since - (day + 1) * DAY_MS) / HALF_LIFE_MS)
        row = (change.purchases * weight, change.views * weight, change.stars, change.ratings, change.buyers)
        if not any(row):
            return
        self._cells.append(day << 32 | self._number(tenant, change.item_id))
        for column, value in zip(self._sums, row, strict=True):
            column.append(value)
        if len(self._cells) - self._compacted > _COMPACT_AT:
            self._compact()

    def snapshots(self) -> Snapshots:
        """Every item at the end of every day that changed it, by day."""
        self._compact()
        cells = _view(self._cells)
        items, days = cells & 0xFFFF_FFFF, cells >> 32
        columns = [days, *map(_view, self._sums)]
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
            "rating_mean": rating_mean(stars, ratings),
            "rating_count": ratings.astype(np.int64),
            "counted_at": at_ms,
        }
        return Snapshots([self._keys[item] for item in items.tolist()], at_ms, values)

    def _number(self, tenant: str, item_id: str) -> int:
        number = self._items.setdefault((tenant, item_id), len(self._keys))
        if number == len(self._keys):
            self._keys.append(record_key(tenant, item_id))
        return number

    def _compact(self) -> None:
        """One entry per day and item, in order."""
        cells, inverse = np.unique(_view(self._cells), return_inverse=True)
        sums = [np.bincount(inverse, weights=_view(column), minlength=len(cells)) for column in self._sums]
        self._cells = array("q", cells.tobytes())
        self._sums = tuple(array("d", column.tobytes()) for column in sums)
        self._compacted = len(self._cells)


def _view(column: "array[Any]") -> npt.NDArray[Any]:
    return np.frombuffer(column, dtype=column.typecode) if len(column) else np.empty(0, column.typecode)
