"""Who watches an item: has it in the cart or on the wish list, or looked at it lately. Pure, from the row alone.

A shopper watches at most 100 items by the cart, 200 by the wish list and `MAX_SEEN` by looking. Looking ends when the
item is bought or disliked, or when so many others were looked at since; time alone ends nothing here, for a row does
not depend on the hour: the index keeps since when, and readers leave out what is older than they want.
"""

from collections.abc import Iterator, Mapping
from typing import Final, Literal, NamedTuple, get_args

from features.shopper_state import INTERACTION_KINDS, State

Interest = Literal["cart", "wish", "seen"]
INTERESTS: Final[tuple[Interest, ...]] = get_args(Interest)
MAX_SEEN: Final = 10
# Steps that can change what somebody watches.
WATCHING: Final = INTERACTION_KINDS | {"remove_from_cart", "remove_from_wishlist", "dislike_item"}


class Moved(NamedTuple):
    """A shopper watches an item since `at` (event time, ms); None: not any more."""

    interest: Interest
    item_id: str
    at: int | None


def watched(state: State) -> dict[tuple[Interest, str], int]:
    """All that a shopper watches, and since when (event time, ms)."""
    found: dict[tuple[Interest, str], int] = {("cart", item_id): at for item_id, at in _since(state).items()}
    found |= {("wish", item_id): at for item_id, at in state.wishes.items()}
    return found | {("seen", item_id): at for item_id, at in _seen(state).items()}


def moved(before: State, after: State) -> list[Moved]:
    """What is watched otherwise after a change of a row."""
    changes: list[Moved] = []
    if before.cart != after.cart:
        changes += _differences("cart", _since(before), _since(after))
    if before.wishes != after.wishes:
        changes += _differences("wish", before.wishes, after.wishes)
    if before.interactions != after.interactions or before.disliked != after.disliked:
        changes += _differences("seen", _seen(before), _seen(after))
    return changes


def _since(state: State) -> dict[str, int]:
    return {item_id: line.at for item_id, line in state.cart.items()}


def _seen(state: State) -> dict[str, int]:
    """The items looked at last, each at its newest interaction; without those bought or disliked since."""
    found: dict[str, int] = {}
    passed: set[str] = set()
    disliked = state.disliked
    for met in reversed(state.interactions):
        item_id = met.item_id
        if item_id in found or item_id in passed:
            continue
        at = met.at
        if met.kind == "purchase" or (disliked and disliked.get(item_id, -1) >= at):
            passed.add(item_id)
            continue
        found[item_id] = at
        if len(found) == MAX_SEEN:
            break
    return found


def _differences(interest: Interest, before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[Moved]:
    for item_id, at in after.items():
        if before.get(item_id) != at:
            yield Moved(interest, item_id, at)
    for item_id in before:
        if item_id not in after:
            yield Moved(interest, item_id, None)
