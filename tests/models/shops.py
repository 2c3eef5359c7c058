"""Purchases written by hand, and a checkerboard whose answer follows by reasoning."""

from collections.abc import Sequence

import numpy as np

from models.interactions import Interactions, Ints

SIDE = 20
DAY_MS = 86_400_000


def bought(rows: Sequence[tuple[int, int, int]], shoppers: int, items: int) -> Interactions:
    """Purchases (shopper, item, at), each an order of its own, in any order."""
    numbered = sorted((shopper, at, order, item) for order, (shopper, item, at) in enumerate(rows))
    shopper, at, order, item = np.array(numbered, np.int64).reshape(-1, 4).T
    names = tuple(f"s{n}" for n in range(shoppers)), tuple(f"i{n}" for n in range(items))
    return Interactions(*names, shopper, item, at, order)


def colour_of(shopper: int) -> list[int]:
    """The items that a shopper of the checkerboard buys: those of one colour, but for the diagonal."""
    return [item for item in range(SIDE) if (shopper + item) % 2 == 0 and item != shopper]


def checkerboard(seed: int) -> Interactions:
    """Shopper u buys the items of one colour, each once, on days of its own order; item u is withheld."""
    rng = np.random.default_rng(seed)
    rows = []
    for shopper in range(SIDE):
        items: Ints = rng.permutation(colour_of(shopper))
        rows += [(shopper, item, day * DAY_MS) for day, item in enumerate(items.tolist())]
    return bought(rows, SIDE, SIDE)
