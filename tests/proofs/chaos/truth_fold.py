"""The truth about one shopper: which of the events count, and what they come to. Imports nothing of the project.

Written from the design (sections 2 and 4): the events that count are sorted by event time and folded once, from
nothing. Bounds, weights and half-lives that the design leaves open are these constants.
"""

from bisect import bisect_right, insort
from dataclasses import dataclass, field
from math import isfinite, log
from typing import Any, Final

DAY_MS: Final = 86_400_000
MAX_INTERACTIONS: Final = 50
MAX_RECENT: Final = 2048
MAX_CART, MAX_WISHES, MAX_PURCHASED, MAX_DISLIKED, MAX_AFFINITIES = 100, 200, 200, 200, 10
MAX_QUANTITY: Final = 1_000_000
SETTLES_MS: Final = DAY_MS // 4
SESSION_GAP_MS: Final = 30 * 60 * 1000
AFFINITY_HALF_LIFE_MS: Final = 30 * DAY_MS
PURCHASE_HALF_LIFE_MS: Final = 90 * DAY_MS
WEIGHTS: Final = {"view_item": 1.0, "add_to_wishlist": 2.0, "add_to_cart": 3.0, "purchase": 5.0, "dislike_item": -3.0}
INTERACTIONS: Final = ("select_item", "view_item", "add_to_wishlist", "add_to_cart", "purchase")


@dataclass(frozen=True)
class Happened:
    """An event as the truth reads it: `lines` are (item, price, quantity, category, brand), one for each item."""

    at: int
    source: str
    event_id: str
    name: str
    live: bool
    session_id: str | None
    lines: tuple[tuple[str, str | None, int, str | None, str | None], ...]
    currency: str | None
    search_term: str | None
    consent: dict[str, bool]
    context: dict[str, Any]
    rating: int | None = None
    rated: tuple[str, ...] = ()

    @property
    def place(self) -> tuple[int, str, str]:
        """What events are put in order by."""
        return self.at, self.source, self.event_id


@dataclass
class Admission:
    """The rule of duplicates and lateness, applied in the order of the log; `admitted` is in the order of event time.

    `told` says that there is a row though nothing is admitted: all that it held was handed over (`newest` is when), or
    it knows of a device without a history. `offsets` are of the records that may have changed the row, and after them.
    """

    lateness_ms: int
    admitted: list[Happened] = field(default_factory=list)
    floor: int = 0
    newest: int = 0
    told: bool = False
    linked_to: str | None = None
    offsets: list[int] = field(default_factory=list)
    _times: list[int] = field(default_factory=list)
    _kept: dict[tuple[str, str], int] = field(default_factory=dict)

    def verdict(self, event: Happened) -> str:
        """What becomes of it: `applied`, `duplicates` or `late`."""
        name = (event.source, event.event_id)
        if name in self._kept and self._kept[name] > self.floor:
            return "duplicates"
        return "late" if event.at <= self.floor else "applied"

    def meet(self, event: Happened) -> str:
        """Take it, if it is to be applied; what became of it."""
        verdict = self.verdict(event)
        if verdict == "applied":
            insort(self.admitted, event, key=lambda one: one.place)
            self._kept[event.source, event.event_id] = event.at
            insort(self._times, event.at)
            self.newest = max(self.newest, event.at)
            self._raise_floor()
        return verdict

    def settled(self) -> int:
        """How many of those admitted the row holds no ids of any more: they settle by quarters of a day."""
        until = self.floor - self.floor % SETTLES_MS
        if len(self._times) > MAX_RECENT:
            until = max(until, self._times[-MAX_RECENT - 1])
        return bisect_right(self._times, until)

    def recent(self) -> list[tuple[int, str, str]]:
        """The ids that are kept, in the order of event time."""
        return [one.place for one in self.admitted[self.settled() :]]

    def _raise_floor(self) -> None:
        self.floor = max(self.floor, self.newest - self.lateness_ms)
        above = len(self._times) - bisect_right(self._times, self.floor)
        if above > MAX_RECENT:
            self.floor = self._times[-MAX_RECENT - 1]


@dataclass
class Line:
    """What lies in a cart."""

    quantity: int
    price: str | None
    currency: str | None
    at: int


@dataclass
class Bought:
    """Orders of one item; `weight` is decayed, as of `last_at`."""

    orders: int
    first_at: int
    last_at: int
    weight: float


@dataclass
class Person:
    """What a shopper's events come to."""

    interactions: list[tuple[str, str, int]] = field(default_factory=list)
    cart: dict[str, Line] = field(default_factory=dict)
    cart_changed_at: int = 0  # by a live event, as all three
    cart_live_at: int = 0
    cart_visit: tuple[str, int] | None = None
    wishes: dict[str, int] = field(default_factory=dict)
    purchased: dict[str, Bought] = field(default_factory=dict)
    disliked: dict[str, int] = field(default_factory=dict)
    categories: dict[str, tuple[float, int]] = field(default_factory=dict)
    brands: dict[str, tuple[float, int]] = field(default_factory=dict)
    log_price_sum: tuple[float, int] = (0.0, 0)
    log_price_weight: tuple[float, int] = (0.0, 0)
    views: int = 0
    orders: int = 0
    session: tuple[str, int, int, int] | None = None
    last_search: str | None = None
    consent: dict[str, bool] = field(default_factory=dict)
    locale: str | None = None
    time_zone: str | None = None
    newest: int = 0


def person(events: list[Happened]) -> Person:
    """All events that count, folded in the order of (event time, source, id)."""
    who = Person()
    for event in sorted(events, key=lambda one: (one.at, one.source, one.event_id)):
        _happen(who, event)
    return who


def cart_due(who: Person, abandoned_ms: int) -> int | None:
    """When the cart counts as abandoned; None without a timer.

    That long after its last change, or after the last event of the visit that changed it, whichever is later; only
    live events count.
    """
    return who.cart_live_at + abandoned_ms if who.cart and who.cart_live_at else None


def decayed(value: float, since: int, at: int, half_life: int) -> float:
    """A sum as of `since`, at the time `at`."""
    return value * 0.5 ** ((at - since) / half_life)


def _happen(who: Person, event: Happened) -> None:
    who.newest = event.at
    _visit(who, event)
    if event.live and who.session and who.cart_visit == who.session[:2]:
        who.cart_live_at = event.at
    who.consent.update(event.consent)
    who.locale = event.context.get("locale", who.locale)
    who.time_zone = event.context.get("time_zone", who.time_zone)
    who.last_search = event.search_term or who.last_search
    match event.name:
        case "view_item":
            who.views += len(event.lines)
        case "add_to_cart":
            _add(who, event)
        case "remove_from_cart":
            _remove(who, event)
        case "purchase":
            _buy(who, event)
        case "refund":
            _give_back(who, event)
        case "add_to_wishlist":
            _note(who.wishes, event, MAX_WISHES)
        case "remove_from_wishlist":
            for item, *_ in event.lines:
                who.wishes.pop(item, None)
        case "dislike_item":
            _note(who.disliked, event, MAX_DISLIKED)
    if event.name in ("add_to_cart", "purchase", "add_to_wishlist"):
        for item, *_ in event.lines:
            who.disliked.pop(item, None)
    if event.name in INTERACTIONS:
        _meet(who, event)
    if event.name in WEIGHTS:
        _like(who, event, WEIGHTS[event.name])


def _visit(who: Person, event: Happened) -> None:
    now = who.session
    goes_on = now is not None and (
        event.session_id == now[0] if event.session_id is not None else event.at - now[2] < SESSION_GAP_MS
    )
    if now is not None and goes_on:
        who.session = (now[0], now[1], event.at, now[3] + 1)
    else:
        who.session = (event.session_id or f"at-{event.at}", event.at, event.at, 1)


def _add(who: Person, event: Happened) -> None:
    for item, price, quantity, _, _ in event.lines:
        had = who.cart.get(item)
        if had is None:
            who.cart[item] = Line(quantity, price, event.currency, event.at)
            continue
        had.quantity, had.at = min(had.quantity + quantity, MAX_QUANTITY), event.at
        if price is not None:
            had.price, had.currency = price, event.currency
    for item in sorted(who.cart, key=lambda item: (who.cart[item].at, item))[: max(0, len(who.cart) - MAX_CART)]:
        del who.cart[item]
    _cart_changed(who, event)


def _remove(who: Person, event: Happened) -> None:
    there = [line for line in event.lines if line[0] in who.cart]
    for item, _, quantity, _, _ in there:
        line = who.cart[item]
        if line.quantity <= quantity:
            del who.cart[item]
        else:
            line.quantity, line.at = line.quantity - quantity, event.at
    if there:
        _cart_changed(who, event)


def _buy(who: Person, event: Happened) -> None:
    who.orders += 1
    for item, *_ in event.lines:
        had = who.purchased.get(item)
        if had is None:
            who.purchased[item] = Bought(1, event.at, event.at, 1.0)
        else:
            weight = decayed(had.weight, had.last_at, event.at, PURCHASE_HALF_LIFE_MS)
            had.orders, had.last_at, had.weight = had.orders + 1, event.at, weight + 1.0

    def rank(item: str) -> tuple[float, int, str]:
        had = who.purchased[item]
        return decayed(had.weight, had.last_at, event.at, PURCHASE_HALF_LIFE_MS), had.last_at, item

    for item in sorted(who.purchased, key=rank)[: max(0, len(who.purchased) - MAX_PURCHASED)]:
        del who.purchased[item]
    bought = {item for item, *_ in event.lines} & who.cart.keys()
    for item in bought:
        del who.cart[item]
    if bought:
        _cart_changed(who, event)


def _give_back(who: Person, event: Happened) -> None:
    for item, *_ in event.lines:
        had = who.purchased.get(item)
        if had is not None and had.orders > 1:
            had.orders, had.weight = had.orders - 1, max(0.0, had.weight - 1.0)
        elif had is not None:
            del who.purchased[item]


def _cart_changed(who: Person, event: Happened) -> None:
    if not who.cart:
        who.cart_changed_at = who.cart_live_at = 0
        who.cart_visit = None
    elif event.live and who.session:
        who.cart_changed_at = who.cart_live_at = event.at
        who.cart_visit = who.session[:2]


def _note(kept: dict[str, int], event: Happened, most: int) -> None:
    for item, *_ in event.lines:
        kept[item] = event.at
    for item in sorted(kept, key=lambda item: (kept[item], item))[: max(0, len(kept) - most)]:
        del kept[item]


def _meet(who: Person, event: Happened) -> None:
    """A view right after the click on the same item is the same meeting."""
    last = who.interactions[-1] if who.interactions else None
    if event.name == "view_item" and last and event.lines and last[:2] == (event.lines[0][0], "select_item"):
        who.interactions.pop()
    who.interactions += [(item, event.name, event.at) for item, *_ in event.lines]
    del who.interactions[:-MAX_INTERACTIONS]


def _like(who: Person, event: Happened, weight: float) -> None:
    for _, price, _, category, brand in event.lines:
        for sums, name in ((who.categories, category), (who.brands, brand)):
            if name is not None:
                _raise(sums, name, weight, event.at)
        amount = float(price or 0)
        if weight > 0 and amount > 0 and isfinite(amount):
            who.log_price_sum = (_now(who.log_price_sum, event.at) + weight * log(amount), event.at)
            who.log_price_weight = (_now(who.log_price_weight, event.at) + weight, event.at)


def _raise(sums: dict[str, tuple[float, int]], name: str, weight: float, at: int) -> None:
    """Ten heavy hitters: a newcomer takes the place and the worth of the least."""
    if name in sums:
        sums[name] = (_now(sums[name], at) + weight, at)
    elif len(sums) < MAX_AFFINITIES:
        sums[name] = (weight, at)
    elif weight > 0:
        least = min(sums, key=lambda one: (_now(sums[one], at), sums[one][1], one))
        sums[name] = (max(0.0, _now(sums.pop(least), at)) + weight, at)


def _now(sum_: tuple[float, int], at: int) -> float:
    return decayed(*sum_, at, AFFINITY_HALF_LIFE_MS)
