"""Decayed sums of one item over some shoppers: what a partition keeps of it, and what the sum over partitions is.

Sums decay forwards: an event weighs 2^((its time - the era's begin) / half-life), so later ones weigh more, and
adding needs no look at the clock. An era has 896 days, a multiple of both half-lives, and sums are in units of the era
of the newest event: a new era multiplies them by a power of two, which is exact. So neither the order of arrival nor
where batches end leaves more than a rounding error, and the sum over partitions is plain addition.

Of each item at most 50 neighbours of a kind are kept. When there is one more, the ten of least decayed weight and it
go (those of one weight in the order of their ids). So what is kept of a neighbour is never too much; it lacks what it
had each time when it went, which was then less than each of the forty that stayed.
"""

from collections.abc import Sequence
from math import exp2, inf, ldexp, log2
from typing import Final

import msgspec

from features.item_changes import Change, Met
from infra.clock import DAY_MS

HALF_LIFE_MS: Final = 14 * DAY_MS
TREND_HALF_LIFE_MS: Final = DAY_MS
ERA_MS: Final = 896 * DAY_MS
ORDER_TREND: Final = 5.0
"""An order says as much of what is in fashion as so many views."""

MAX_NEIGHBOURS: Final = 50
KEPT_NEIGHBOURS: Final = 40

_HALVINGS: Final = ERA_MS // HALF_LIFE_MS
_TREND_HALVINGS: Final = ERA_MS // TREND_HALF_LIFE_MS


class Partial(msgspec.Struct, array_like=True, gc=False):
    """What is counted of an item. Sums are in units of the era of `at`, the newest event counted (ms).

    `purchases` are less what was given back; `buyers` have an order that was not. `seen_with` and `bought_with` hold
    what was met before by whoever met the item: the merge adds both directions.
    """

    at: int = 0
    views: float = 0.0
    purchases: float = 0.0
    trend: float = 0.0
    buyers: int = 0
    stars: int = 0
    ratings: int = 0
    seen_with: dict[str, float] = {}
    bought_with: dict[str, float] = {}


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Partial)


def encode(partial: Partial) -> bytes:
    """The partial packed for Redis; equal ones with their neighbours in one order give equal bytes."""
    return _encoder.encode(partial)


def decode(raw: bytes) -> Partial:
    """The inverse of `encode`.

    Raises:
        msgspec.DecodeError: the bytes are no partial.
    """
    return _decoder.decode(raw)


def add(partial: Partial, change: Change) -> None:
    """Put one change on top of the partial, which is changed."""
    if change.at > partial.at:
        _into_era(partial, change.at)
        partial.at = change.at
    era = partial.at // ERA_MS * ERA_MS
    if change.views or change.purchases:
        age = change.since - era
        weight = exp2(age / HALF_LIFE_MS)
        trend = exp2(age / TREND_HALF_LIFE_MS) if age > -ERA_MS else 0.0
        partial.views += change.views * weight
        partial.purchases += change.purchases * weight
        partial.trend += (change.views + ORDER_TREND * change.purchases) * trend
    partial.buyers += change.buyers
    partial.stars += change.stars
    partial.ratings += change.ratings
    if change.seen_with:
        partial.seen_with = _met(partial.seen_with, change.seen_with, era)
    if change.bought_with:
        partial.bought_with = _met(partial.bought_with, change.bought_with, era)


def worth(partial: Partial) -> float:
    """By how much of late an item was looked at and bought: a logarithm, the same order at every moment."""
    total = partial.views + ORDER_TREND * max(0.0, partial.purchases)
    return log2(total) + partial.at // ERA_MS * _HALVINGS if total > 0 else -inf


def _into_era(partial: Partial, at: int) -> None:
    """In units of the era of a time that is not earlier."""
    eras = at // ERA_MS - partial.at // ERA_MS
    if eras and partial.at:
        down = -_HALVINGS * eras
        partial.views = ldexp(partial.views, down)
        partial.purchases = ldexp(partial.purchases, down)
        partial.trend = ldexp(partial.trend, -_TREND_HALVINGS * eras)
        partial.seen_with = {item_id: ldexp(weight, down) for item_id, weight in partial.seen_with.items()}
        partial.bought_with = {item_id: ldexp(weight, down) for item_id, weight in partial.bought_with.items()}


def _met(known: dict[str, float], met: Sequence[Met], era: int) -> dict[str, float]:
    """With these neighbours, one after the other."""
    weighed, weight = -1, 0.0
    for item_id, at in met:
        if at != weighed:
            weighed, weight = at, exp2((at - era) / HALF_LIFE_MS)
        known[item_id] = known.get(item_id, 0.0) + weight
        if len(known) > MAX_NEIGHBOURS:
            heaviest = sorted(known.items(), key=lambda one: (-one[1], one[0]))[:KEPT_NEIGHBOURS]
            known = dict(heaviest)
    return known
