"""What is known of a shopper, and an event packed to what the fold needs; bounds and weights."""

from typing import Final

import msgspec

from infra.clock import DAY_MS

MAX_INTERACTIONS: Final = 50
MAX_CART: Final = 100
MAX_WISHES: Final = 200
MAX_PURCHASED: Final = 200  # weighed; all others that were bought are in `bought_before`
MAX_AFFINITIES: Final = 10
MAX_RECENT: Final = 2048
MAX_DISLIKED: Final = 200
MAX_CONSENTS: Final = 40
MAX_CART_QUANTITY: Final = 1_000_000  # of one item in a cart; a line of an event has less
SESSION_GAP_MS: Final = 30 * 60 * 1000
AFFINITY_HALF_LIFE_MS: Final = 30 * DAY_MS
PURCHASE_HALF_LIFE_MS: Final = 90 * DAY_MS
# A step carries consent as `consent.<kind>` among its extras.
CONSENT: Final = "consent."
# What an event says about a shopper's liking of the item's category and brand.
AFFINITY_WEIGHTS: Final = {
    "view_item": 1.0,
    "add_to_wishlist": 2.0,
    "add_to_cart": 3.0,
    "purchase": 5.0,
    "dislike_item": -3.0,
}
# What is kept as an interaction: the shopper turned to the item, and not away from it.
INTERACTION_KINDS: Final = frozenset(("select_item", "view_item", "add_to_wishlist", "add_to_cart", "purchase"))


class Interaction(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A shopper met an item: `kind` is the event's name, `at` event time in ms."""

    item_id: str
    kind: str
    at: int


class CartLine(msgspec.Struct, array_like=True, gc=False):
    """What lies in the cart: `price` is a decimal string as last seen."""

    quantity: int
    price: str | None
    currency: str | None
    at: int


class Purchased(msgspec.Struct, array_like=True, gc=False):
    """How often an item was bought: orders less refunds, first and last time in ms (the mean gap follows).

    `weight` is the count decayed with a half-life of 90 days, as of `last_at`.
    """

    orders: int
    first_at: int
    last_at: int
    weight: float


class Decayed(msgspec.Struct, array_like=True, gc=False):
    """A sum that halves every `AFFINITY_HALF_LIFE_MS`, as of `at` (ms)."""

    value: float
    at: int


class Session(msgspec.Struct, array_like=True, gc=False):
    """The visit that the newest event belongs to."""

    session_id: str
    started_at: int
    last_at: int
    events: int
    cart: bool = False  # the cart was changed in it, live


class State(msgspec.Struct, array_like=True, gc=False):
    """What is known of a shopper. Lists and maps are bounded; times are event time in ms.

    New fields go to the end with a default: rows of earlier versions are read with it.
    """

    interactions: list[Interaction] = []  # oldest first
    cart: dict[str, CartLine] = {}
    cart_live_at: int = 0  # last live (not loaded) event of the visit that last changed it live; 0: empty, or none
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
    bought_before: bytes = b""  # items bought and not in `purchased`, as `features.shopper_bought` packs them
    cart_changed_at: int = 0  # last change of the cart by a live event; 0: empty, or none


Line = tuple[str, str | None, int, str | None, str | None]  # item, price, quantity, category, brand


class Step(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An event, packed to what the fold needs. Sorts by (at, source, event_id)."""

    at: int
    source: str
    event_id: str
    name: str
    live: bool
    session_id: str | None
    lines: tuple[Line, ...]
    currency: str | None
    extra: dict[str, str | bool] | None  # consent, locale, time zone, search term
