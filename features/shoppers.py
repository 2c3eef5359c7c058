"""The shopper row and its pure fold: `(row, event) -> row`.

A row is `settled` (the state after all events older than the allowed lateness, folded in event-time order), `recent`
(the events since, sorted, which are also the ids that duplicates are found by) and `state` (settled with recent folded
on top). A late event is put in its place among `recent` and the state is folded anew from `settled`: the order of
arrival cannot change the result, to the last bit. Nothing here depends on offsets or on the hour of processing.
"""

from typing import Final

import msgspec

MAX_INTERACTIONS: Final = 50
MAX_CART: Final = 100
MAX_WISHES: Final = 200
MAX_PURCHASED: Final = 200
MAX_AFFINITIES: Final = 10
MAX_RECENT: Final = 2048
SESSION_GAP_MS: Final = 30 * 60 * 1000


class Interaction(msgspec.Struct, array_like=True, frozen=True):
    """A shopper met an item: `kind` is the event's name, `at` event time in ms."""

    item_id: str
    kind: str
    at: int


class CartLine(msgspec.Struct, array_like=True):
    """What lies in the cart: `price` is a decimal string as last seen."""

    quantity: int
    price: str | None
    currency: str | None
    at: int


class Purchased(msgspec.Struct, array_like=True):
    """How often an item was bought: orders less refunds, first and last time in ms, mean gap follows from them.

    `weight` is the count decayed with a half-life of 90 days, as of `last_at`.
    """

    orders: int
    first_at: int
    last_at: int
    weight: float


class Decayed(msgspec.Struct, array_like=True):
    """A sum that halves every `AFFINITY_HALF_LIFE_MS`, as of `at` (ms)."""

    value: float
    at: int


class Session(msgspec.Struct, array_like=True):
    """The visit that the newest event belongs to."""

    session_id: str
    started_at: int
    last_at: int
    events: int


class State(msgspec.Struct, array_like=True):
    """What is known of a shopper. Lists and maps are bounded; times are event time in ms."""

    interactions: list[Interaction] = []  # oldest first
    cart: dict[str, CartLine] = {}
    cart_live_at: int = 0  # last change of the cart by a live (not loaded) event; 0: none since it was emptied
    wishes: dict[str, int] = {}  # item id -> when
    purchased: dict[str, Purchased] = {}
    disliked: dict[str, int] = {}
    categories: dict[str, Decayed] = {}
    brands: dict[str, Decayed] = {}
    log_price_sum: Decayed = msgspec.field(default_factory=lambda: Decayed(0.0, 0))
    log_price_weight: Decayed = msgspec.field(default_factory=lambda: Decayed(0.0, 0))
    views: int = 0
    orders: int = 0
    session: Session | None = None
    last_search: str | None = None
    consent: dict[str, bool] = {}
    locale: str | None = None
    time_zone: str | None = None
    newest: int = 0  # event time of the newest event, 0: none


class Step(msgspec.Struct, array_like=True, frozen=True):
    """An event, packed to what the fold needs. Sorts by (at, source, event_id)."""

    at: int
    source: str
    event_id: str
    name: str
    live: bool
    session_id: str | None
    lines: tuple[tuple[str, str | None, int, str | None, str | None], ...]  # item, price, quantity, category, brand
    currency: str | None
    extra: dict[str, str | bool] | None  # consent, locale, time zone, search term


class Row(msgspec.Struct, array_like=True):
    """The unit of state. `settled` and `recent` stay packed until they are needed; readers decode `state` alone."""

    state: State
    floor: int  # event time; an event at or below it is too late
    recent: msgspec.Raw  # list[Step], sorted
    settled: msgspec.Raw  # State
