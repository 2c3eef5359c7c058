"""The statistics of all items, merged from the partials of all partitions into one immutable snapshot.

It depends on the partials alone: everything in it is as of the newest event that they know of, and the same partials
give the same bytes. A snapshot has the 200,000 items of most worth, and of each the 20 best neighbours of a kind.

A neighbour's score is the decayed number of meetings over the root of both items' decayed views (or orders), each with
five more: so two items met once and together are no better than two that are often met, and mostly together.
"""

from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import repeat
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from features.item_partials import ERA_MS, HALF_LIFE_MS, ORDER_TREND, TREND_HALF_LIFE_MS, Partial

SNAPSHOT_ITEMS: Final = 200_000
NEIGHBOURS: Final = 20
DAMPING: Final = 5.0

_HALVINGS: Final = ERA_MS // HALF_LIFE_MS
_TREND_HALVINGS: Final = ERA_MS // TREND_HALF_LIFE_MS
_FORMAT: Final = 1

Floats = npt.NDArray[np.float64]
Whole = npt.NDArray[np.int64]


class Neighbours(msgspec.Struct, array_like=True, frozen=True):
    """Of item n the neighbours from `starts[n]` up to `starts[n + 1]`, best first (uint32, uint32, float32)."""

    starts: bytes
    items: bytes
    scores: bytes

    def of(self, n: int) -> list[tuple[int, float]]:
        """The neighbours of an item, best first: its number and score of each."""
        first, last = np.frombuffer(self.starts, "<u4", 2, 4 * n).tolist()
        items = np.frombuffer(self.items, "<u4", last - first, 4 * first)
        scores = np.frombuffer(self.scores, "<f4", last - first, 4 * first)
        return list(zip(items.tolist(), scores.tolist(), strict=True))


class Snapshot(msgspec.Struct, array_like=True, frozen=True):
    """Items in the order of their ids, and columns of float64, as of `at` (ms); `seen` and `bought` together."""

    format: int
    at: int
    item_ids: list[str]
    views: bytes
    purchases: bytes
    trend: bytes
    rating_mean: bytes
    seen: Neighbours
    bought: Neighbours

    def column(self, name: str) -> Floats:
        """`views`, `purchases`, `trend` or `rating_mean`."""
        return np.frombuffer(getattr(self, name), "<f8")


class _Format(msgspec.Struct, array_like=True):
    """The first field of a snapshot."""

    format: int


def encode(snapshot: Snapshot) -> bytes:
    """The snapshot packed; equal ones give equal bytes."""
    return msgspec.msgpack.encode(snapshot)


def decode(raw: bytes) -> Snapshot | None:
    """The inverse of `encode`; None for a snapshot of a format that this version does not know.

    Raises:
        msgspec.DecodeError: the bytes are no snapshot.
    """
    if msgspec.msgpack.decode(raw, type=_Format).format != _FORMAT:
        return None
    return msgspec.msgpack.decode(raw, type=Snapshot)


def version_of(raw: bytes) -> str:
    """A name that follows from the packed snapshot."""
    return blake2b(raw, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Pairs:
    """Undirected pairs, each in both directions, by item and neighbour: numbers and decayed sums."""

    items: Whole
    others: Whole
    sums: Floats


@dataclass(frozen=True, slots=True)
class Totals:
    """Items in the order of their ids; sums are in units of the era that begins at `era`; `at` is the newest event."""

    era: int
    item_ids: list[str]
    at: Whole
    views: Floats
    purchases: Floats
    trend: Floats
    buyers: Whole
    stars: Floats
    ratings: Whole
    seen: Pairs
    bought: Pairs


@dataclass(slots=True)
class _Met:
    items: "array[int]" = field(default_factory=lambda: array("q"))
    others: "array[int]" = field(default_factory=lambda: array("q"))
    eras: "array[int]" = field(default_factory=lambda: array("q"))
    sums: "array[float]" = field(default_factory=lambda: array("d"))


class Merger:
    """Adds up partials: of each partition those of its items, partitions and items in an order that is always the
    same.
    """

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._rows: list[array[Any]] = [array(kind) for kind in "qqdddqqq"]
        self._met = _Met(), _Met()

    def add(self, item_id: str, one: Partial) -> None:
        """Add the partial of an item."""
        item, era = self._number(item_id), one.at // ERA_MS
        row = item, one.at, one.views, one.purchases, one.trend, one.buyers, one.stars, one.ratings
        for column, value in zip(self._rows, row, strict=True):
            column.append(value)
        for met, neighbours in zip(self._met, (one.seen_with, one.bought_with), strict=True):
            if neighbours:
                met.items.extend(repeat(item, len(neighbours)))
                met.others.extend(map(self._number, neighbours))
                met.eras.extend(repeat(era, len(neighbours)))
                met.sums.extend(neighbours.values())

    def totals(self) -> Totals | None:
        """The sums; None where nothing was added."""
        if not self._rows[0]:
            return None
        item_ids = sorted(self._numbers)
        place = np.empty(len(item_ids), np.int64)
        place[[self._numbers[item_id] for item_id in item_ids]] = np.arange(len(item_ids))
        items, at, views, purchases, trend, buyers, stars, ratings = map(_view, self._rows)
        where, many, era = place[items], len(item_ids), int(at.max()) // ERA_MS
        newest = np.zeros(many, np.int64)
        np.maximum.at(newest, where, at)
        back = at // ERA_MS - era

        def total(values: npt.NDArray[Any], halvings: int = 0) -> Floats:
            return _added(where, np.ldexp(values.astype(np.float64), halvings * back), many)

        return Totals(
            era=era * ERA_MS,
            item_ids=item_ids,
            at=newest,
            views=total(views, _HALVINGS),
            purchases=total(purchases, _HALVINGS),
            trend=total(trend, _TREND_HALVINGS),
            buyers=total(buyers).astype(np.int64),
            stars=total(stars),
            ratings=total(ratings).astype(np.int64),
            seen=_pairs(self._met[0], place, era),
            bought=_pairs(self._met[1], place, era),
        )

    def _number(self, item_id: str) -> int:
        return self._numbers.setdefault(item_id, len(self._numbers))


def snapshot_of(totals: Totals, rating_mean: Floats) -> Snapshot:
    """The snapshot of these sums."""
    at = int(totals.at.max())
    weight = np.exp2((totals.era - at) / HALF_LIFE_MS)
    views, purchases = totals.views * weight, np.maximum(totals.purchases * weight, 0.0)
    trend = totals.trend * np.exp2((totals.era - at) / TREND_HALF_LIFE_MS)
    kept = _heaviest(views + ORDER_TREND * purchases)
    return Snapshot(
        _FORMAT,
        at,
        [totals.item_ids[n] for n in kept.tolist()],
        _bytes(views[kept]),
        _bytes(purchases[kept]),
        _bytes(np.maximum(trend[kept], 0.0)),
        _bytes(rating_mean[kept]),
        _best(totals.seen, weight, views, kept),
        _best(totals.bought, weight, purchases, kept),
    )


def _heaviest(worth: Floats) -> Whole:
    if len(worth) <= SNAPSHOT_ITEMS:
        return np.arange(len(worth))
    return np.sort(np.argsort(-worth, kind="stable")[:SNAPSHOT_ITEMS])


def _pairs(met: _Met, place: Whole, era: int) -> Pairs:
    """Both directions added up, in order."""
    items, others = place[_view(met.items)], place[_view(met.others)]
    sums = np.ldexp(_view(met.sums), _HALVINGS * (_view(met.eras) - era))
    keys = np.concatenate((items * len(place) + others, others * len(place) + items))
    pairs, inverse = np.unique(keys, return_inverse=True)
    return Pairs(
        pairs // max(1, len(place)),
        pairs % max(1, len(place)),
        _added(inverse, np.concatenate((sums, sums)), len(pairs)),
    )


def _best(pairs: Pairs, weight: float, single: Floats, kept: Whole) -> Neighbours:
    place = np.full(len(single), -1)
    place[kept] = np.arange(len(kept))
    there = (place[pairs.items] >= 0) & (place[pairs.others] >= 0)
    items, others = pairs.items[there], pairs.others[there]
    damped = np.sqrt((single[items] + DAMPING) * (single[others] + DAMPING))
    scores = (pairs.sums[there] * weight / damped).astype("<f4")
    order = np.lexsort((others, -scores, items))
    items, others, scores = place[items[order]], place[others[order]], scores[order]
    rank = np.arange(len(items)) - np.searchsorted(items, items)
    best = (rank < NEIGHBOURS) & (scores > 0)
    starts = np.searchsorted(items[best], np.arange(len(kept) + 1))
    return Neighbours(starts.astype("<u4").tobytes(), others[best].astype("<u4").tobytes(), scores[best].tobytes())


def _added(where: Whole, values: Floats, many: int) -> Floats:
    added: Floats = np.bincount(where, weights=values, minlength=many).astype(np.float64)
    return added


def _bytes(column: Floats) -> bytes:
    return column.astype("<f8").tobytes()


def _view(column: "array[Any]") -> npt.NDArray[Any]:
    return np.frombuffer(column, dtype=column.typecode) if len(column) else np.empty(0, column.typecode)
