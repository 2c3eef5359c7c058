"""Events: what shoppers do, as the log holds it. Names are GA4's e-commerce names in snake case, and ours."""

from datetime import datetime
from decimal import Decimal
from typing import Final, Literal, get_args

import msgspec

EventName = Literal[
    "page_view",
    "view_item_list",
    "select_item",
    "view_item",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "view_cart",
    "begin_checkout",
    "purchase",
    "refund",
    "add_to_wishlist",
    "remove_from_wishlist",
    "dislike_item",
    "review_item",
    "identify",
    "consent_updated",
]
EVENT_NAMES: Final[tuple[EventName, ...]] = get_args(EventName)

MAX_ITEMS: Final = 500
MAX_ID: Final = 256


class EventItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of an event. `price` is per unit, in the event's currency."""

    item_id: str
    price: Decimal | None = None
    quantity: int = 1
    index: int | None = None
    item_list_id: str | None = None
    category: str | None = None
    brand: str | None = None


class Context(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where the event happened: page URL, BCP 47 locale, IANA time zone."""

    page: str | None = None
    locale: str | None = None
    time_zone: str | None = None


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event in its envelope, as it stands on `shop.events.v1` (JSON).

    Times are aware; `event_time_ms` gives the time that features use. `load_id` marks history put in by `daogou load`
    (no messages come of it, and any age is taken); the HTTP interface never sets it.
    """

    event_name: EventName
    occurred_at: datetime
    event_id: str
    source: str = "site"
    schema_version: int = 1
    tenant: str = "default"
    anonymous_id: str | None = None
    user_id: str | None = None
    session_id: str | None = None
    sent_at: datetime | None = None
    received_at: datetime | None = None
    items: tuple[EventItem, ...] = ()
    currency: str | None = None
    value: Decimal | None = None
    transaction_id: str | None = None
    search_term: str | None = None
    recommendation_id: str | None = None
    rating: int | None = None
    text: str | None = None
    traits: dict[str, str] | None = None
    consent: dict[str, bool] | None = None
    context: Context | None = None
    replay_id: str | None = None
    load_id: str | None = None
