"""Own repeats: how much is left of what a shopper did with each item.

Purchases are in the row as sums that halve in 90 days, for up to 200 items; other steps are those among the last 50
interactions.
"""

from math import exp2
from typing import Final

import msgspec

from features.shoppers import State
from infra.clock import DAY_MS


class Repeats(msgspec.Struct, frozen=True):
    """How they are counted. A purchase counts 1.

    Args:
        half_life_days: of every step. Of an item's earlier orders only their sum at the last one is known, so another
            half-life than 90 days begins there.
        put_aside: what a step into the cart or onto the wish list counts.
        looked_at: what a view counts.
    """

    half_life_days: float = 90.0
    put_aside: float = 0.0
    looked_at: float = 0.0


HALF_LIVES_DAYS: Final = (90.0, 365.0, 30.0, 7.0)
STEPS: Final = ((0.0, 0.0), (1.0, 1.0), (1.0, 0.3))
FORMS: Final = tuple(Repeats(days, *steps) for steps in STEPS for days in HALF_LIVES_DAYS)
"""Those that are tried, the usual one first."""
WIDEST: Final = FORMS[:: len(HALF_LIVES_DAYS)]
"""One of each choice of steps: whatever half-life, the same items are a shopper's own."""


def form_name(form: Repeats) -> str:
    """As a part of scores."""
    return f"repeat {form.half_life_days:g}/{form.put_aside:g}/{form.looked_at:g}"


def left_of(state: State, repeats: Repeats, at_ms: int) -> dict[str, float]:
    """By item, what is left at a time; steps of later count as of then."""
    per_ms = 1 / (repeats.half_life_days * DAY_MS)
    left = {
        item: bought.weight * exp2(min(bought.last_at - at_ms, 0) * per_ms) for item, bought in state.purchased.items()
    }
    counts = _counts(repeats)
    if counts:
        for met in state.interactions:
            count = counts.get(met.kind)
            if count:
                left[met.item_id] = left.get(met.item_id, 0.0) + count * exp2(min(met.at - at_ms, 0) * per_ms)
    return left


def _counts(repeats: Repeats) -> dict[str, float]:
    """By kind; none where purchases alone count."""
    if not repeats.put_aside and not repeats.looked_at:
        return {}
    aside, looked = repeats.put_aside, repeats.looked_at
    return {"add_to_cart": aside, "add_to_wishlist": aside, "view_item": looked, "select_item": looked}
