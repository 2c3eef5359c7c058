"""Steps: events packed to what the fold of a shopper's row needs, and no more."""

from typing import Final

from features.events import Event, event_time_ms
from features.shopper_state import CONSENT, INTERACTION_KINDS, MAX_CART_QUANTITY, Line, Step

# Events whose lines say something lasting; impressions and the like would only fill the row.
_WITH_LINES: Final = INTERACTION_KINDS | {
    "remove_from_cart",
    "refund",
    "remove_from_wishlist",
    "dislike_item",
}
# Their price, category and brand too.
_WITH_DETAILS: Final = INTERACTION_KINDS | {"dislike_item"}


def step_of(event: Event) -> Step:
    """The event, packed to what the fold needs."""
    name = event.event_name
    return Step(
        event_time_ms(event),
        event.source,
        event.event_id,
        name,
        event.load_id is None,
        event.session_id,
        _lines(event) if name in _WITH_LINES else (),
        event.currency,
        _extra(event),
    )


def _lines(event: Event) -> tuple[Line, ...]:
    """One line per item; lines of one item are one with the sum of quantities."""
    details = event.event_name in _WITH_DETAILS
    lines: dict[str, Line] = {}
    for item in event.items:
        price = None if item.price is None or not details else f"{item.price:f}"
        category, brand = (item.category, item.brand) if details else (None, None)
        same = lines.get(item.item_id)
        quantity = item.quantity if same is None else min(item.quantity + same[2], MAX_CART_QUANTITY)
        lines[item.item_id] = (item.item_id, price, quantity, category, brand)
    return tuple(lines.values())


def _extra(event: Event) -> dict[str, str | bool] | None:
    extra: dict[str, str | bool] = {}
    if event.search_term is not None:
        extra["search_term"] = event.search_term
    if event.context is not None:
        if event.context.locale is not None:
            extra["locale"] = event.context.locale
        if event.context.time_zone is not None:
            extra["time_zone"] = event.context.time_zone
    for key in sorted(event.consent or ()):
        extra[CONSENT + key] = event.consent[key] if event.consent else False
    return extra or None
