"""Groups of shoppers and of wanted items that a mean may hide, each beside its opposite."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from infra.clock import DAY_MS
from models.interactions import Interactions, Ints
from models.ranking import Found

NEW_DAYS: Final = 30
HEAD: Final = 0.2
"""The share of the items that count as popular ones; all others are the long tail."""

FEWEST: Final = 30
"""Shoppers that a segment and its opposite need: of fewer, nothing is said."""

COUNTRIES: Final = 10


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of what was to be found.

    Args:
        name: as the tables say it.
        opposite: what it is compared with.
        meaning: one sentence.
        counted: [m] whether a wanted item (`Found.wanted`) counts; those of the opposite are all others.
    """

    name: str
    opposite: str
    meaning: str
    counted: Any


def segments_of(
    found: Found, before: Interactions, at_ms: int, countries: Sequence[str | None] | None = None
) -> list[Segment]:
    """The segments of one task that have, as their opposites, at least `FEWEST` shoppers.

    Args:
        found: of any model; who wanted what is the same for all.
        before: the prefix.
        at_ms: its end.
        countries: of each shopper; None: nothing is known.
    """
    whose = found.whose()
    some = _by_history(np.asarray(found.shoppers), before, at_ms)
    every = [Segment(one.name, one.opposite, one.meaning, one.counted[whose]) for one in some]
    every.append(_long_tail(found, before))
    if countries is not None:
        of = np.array([countries[shopper] or "" for shopper in found.shoppers.tolist()], dtype=object)
        every += [
            Segment(f"country {name}", "all other countries", "Where the shopper is.", (of == name)[whose])
            for name in _largest(of)
        ]
    return [one for one in every if _enough(whose, one.counted) and _enough(whose, ~one.counted)]


def _by_history(shoppers: Ints, before: Interactions, at_ms: int) -> list[Segment]:
    counts = np.bincount(before.shopper, minlength=len(before.shoppers))[shoppers]
    first = np.searchsorted(before.shopper, shoppers)
    since = np.full(len(shoppers), at_ms, np.int64)
    since[counts > 0] = before.at[first[counts > 0]]
    middle = float(np.median(counts)) if len(counts) else 0.0
    return [
        Segment(
            "new shoppers",
            "old shoppers",
            f"First seen less than {NEW_DAYS} days before the split, or after it.",
            since > at_ms - NEW_DAYS * DAY_MS,
        ),
        Segment(
            "light shoppers",
            "heavy shoppers",
            f"Bought at most {middle:g} items before the split, as half of those who are asked.",
            counts <= middle,
        ),
    ]


def _long_tail(found: Found, before: Interactions) -> Segment:
    counts = np.bincount(before.item, minlength=len(before.items))
    order = np.argsort(-counts, kind="stable")
    head = np.zeros(len(counts), bool)
    head[order[: round(HEAD * len(counts))]] = True
    meaning = f"Wanted items outside of the {HEAD:.0%} bought most often; their places are those among all items."
    return Segment("long-tail items", "popular items", meaning, ~head[found.wanted])


def _largest(of: Any) -> list[str]:
    names, counts = np.unique(of[of != ""].astype(str), return_counts=True)
    return [str(names[place]) for place in np.argsort(-counts, kind="stable")[:COUNTRIES]]


def _enough(whose: Ints, counted: Any) -> bool:
    return len(np.unique(whose[counted])) >= FEWEST
