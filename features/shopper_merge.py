"""Two rows of one person as one: `merge_rows(fold(a), fold(b)) = fold(a and b in event-time order)`.

Exact, to the last bit, is whatever the rows still hold as events: the recent ones are put in event-time order and
folded again. So the law holds wherever one of the two has nothing settled that is older than an event of the other,
which is every history that lies within the allowed lateness, or comes after what the other has settled.

Where both have settled, states are merged, and that is bounded, not exact:

- sums (views, orders, purchases with their decayed weights, affinities, prices) add, decayed to the newer time; the
  affinities are cut to their bound once more;
- interactions are put in order of time and the last 50 kept; wishes, dislikes and what was bought are united, each by
  its newest time;
- a cart line of both has the sum of the quantities, as two folds of the same additions would, and the newer price; one
  that the other side bought later is gone. A removal that the other side settled is not known any more;
- the session is that of the newest event, one session if both have its id;
- of a consent that the two sides settled differently, no time is known: no wins. Language, time zone and last search
  are those of the side with the newer event.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Final, TypeVar

import msgspec

from features.decay import affinity_at, purchase_weight_at
from features.shopper_bought import added, bounded, united
from features.shopper_state import (
    MAX_AFFINITIES,
    MAX_CART,
    MAX_CART_QUANTITY,
    MAX_CONSENTS,
    MAX_DISLIKED,
    MAX_INTERACTIONS,
    MAX_PURCHASED,
    MAX_RECENT,
    MAX_WISHES,
    CartLine,
    Decayed,
    Interaction,
    Purchased,
    Session,
    State,
    Step,
)
from features.shopper_step import advance, copied, drop_least
from features.shoppers import Row, packed, settling_of, unpacked

_T = TypeVar("_T")
_encoder: Final = msgspec.msgpack.Encoder()
_NO_STEPS: Final = _encoder.encode([])


def is_empty(row: Row) -> bool:
    """Whether a row holds nothing that was folded: it is new, or all of it was handed over."""
    return bytes(row.recent) == _NO_STEPS and unpacked(row)[0].newest == 0


def merge_rows(one: Row, other: Row) -> Row:
    """The row of both; what is known of identities is the first one's. Which is which makes no other difference."""
    if is_empty(other):
        return one
    if is_empty(one):
        return Row(other.state, other.floor, other.recent, other.settled, one.known)
    low, high = sorted((one, other), key=lambda row: row.floor)
    low_settled, low_recent = unpacked(low)
    high_settled, high_recent = unpacked(high)
    inside = bisect_right([step.at for step in low_recent], high_settled.newest)
    for step in low_recent[:inside]:  # the other side has settled later events already
        advance(low_settled, step)
    recent = _once(sorted([*low_recent[inside:], *high_recent], key=_order))
    floor = high.floor
    if len(recent) > MAX_RECENT:
        floor = max(floor, recent[-MAX_RECENT - 1].at)
    settled = merged([low_settled, high_settled])
    settling = settling_of([step.at for step in recent], floor)
    return packed(settled, recent[:settling], floor, recent[settling:], one.known)


def merged(states: Sequence[State]) -> State:
    """The states of one person as one, whatever their order; the given ones are not changed."""
    told = sorted((state for state in states if state.newest), key=lambda state: (state.newest, _encoder.encode(state)))
    if len(told) < 2:
        return copied(told[0]) if told else State()
    cart = _cart(told)
    purchased, before = _bought(told)
    wishes = _newest(told, attrgetter("wishes"), MAX_WISHES)
    return State(
        interactions=_interactions(told),
        cart=cart,
        cart_live_at=max(state.cart_live_at for state in told) if cart else 0,
        wishes=wishes,
        purchased=purchased,
        disliked=_disliked(told, cart, wishes, purchased),
        categories=_sums(state.categories for state in told),
        brands=_sums(state.brands for state in told),
        log_price_sum=_sum(state.log_price_sum for state in told),
        log_price_weight=_sum(state.log_price_weight for state in told),
        views=sum(state.views for state in told),
        orders=sum(state.orders for state in told),
        session=_session(told),
        last_search=_last(state.last_search for state in told),
        consent=_consent(told),
        locale=_last(state.locale for state in told),
        time_zone=_last(state.time_zone for state in told),
        newest=told[-1].newest,
        bought_before=before,
        cart_changed_at=max(state.cart_changed_at for state in told) if cart else 0,
    )


def _order(step: Step) -> tuple[int, str, str]:
    return step.at, step.source, step.event_id


def _once(steps: Iterable[Step]) -> list[Step]:
    """Without those whose source and id came before."""
    return list({(step.source, step.event_id): step for step in reversed(list(steps))}.values())[::-1]


def _interactions(told: Sequence[State]) -> list[Interaction]:
    """In order of time; those of one event stay together, events of one moment go by what they say."""
    groups = [
        (at, tuple((one.item_id, one.kind) for one in together))
        for state in told
        for at, together in groupby(state.interactions, key=lambda one: one.at)
    ]
    return [Interaction(*one, at) for at, together in sorted(groups) for one in together][-MAX_INTERACTIONS:]


def _cart(told: Sequence[State]) -> dict[str, CartLine]:
    cart: dict[str, CartLine] = {}
    for state in told:
        for item, line in state.cart.items():
            if any(item in other.purchased and other.purchased[item].last_at > line.at for other in told):
                continue
            known = cart.get(item)
            if known is None:
                cart[item] = line
                continue
            older, newer = sorted((known, line), key=lambda each: each.at)
            price, currency = (older if newer.price is None else newer).price, newer.currency
            if newer.price is None:
                currency = older.currency
            cart[item] = CartLine(min(known.quantity + line.quantity, MAX_CART_QUANTITY), price, currency, newer.at)
    drop_least(cart, MAX_CART, lambda line: (line.at,))
    return cart


def _newest(told: Sequence[State], of: Callable[[State], dict[str, int]], most: int) -> dict[str, int]:
    times: dict[str, int] = {}
    for state in told:
        for item, at in of(state).items():
            times[item] = max(at, times.get(item, 0))
    drop_least(times, most, lambda at: (at,))
    return times


def _disliked(
    told: Sequence[State], cart: dict[str, CartLine], wishes: dict[str, int], purchased: dict[str, Purchased]
) -> dict[str, int]:
    """Whoever put it into the cart, wished or bought it afterwards likes it again."""
    times = _newest(told, attrgetter("disliked"), MAX_DISLIKED)
    liked = {item: line.at for item, line in cart.items()}
    for item, at in [*wishes.items(), *((item, bought.last_at) for item, bought in purchased.items())]:
        liked[item] = max(at, liked.get(item, 0))
    return {item: at for item, at in times.items() if at >= liked.get(item, 0)}


def _bought(told: Sequence[State]) -> tuple[dict[str, Purchased], bytes]:
    purchased: dict[str, Purchased] = {}
    before = b""
    for state in told:
        before = united(before, state.bought_before)
        for item, bought in state.purchased.items():
            known = purchased.get(item)
            if known is None:
                purchased[item] = bought
                continue
            last_at = max(known.last_at, bought.last_at)
            weight = purchase_weight_at(known, last_at) + purchase_weight_at(bought, last_at)
            first_at = min(known.first_at, bought.first_at)
            purchased[item] = Purchased(known.orders + bought.orders, first_at, last_at, weight)
    at = max((bought.last_at for bought in purchased.values()), default=0)
    for item, bought in drop_least(
        purchased, MAX_PURCHASED, lambda bought: (purchase_weight_at(bought, at), bought.last_at)
    ):
        before = added(before, item, bought.last_at, bought.orders)
    return purchased, bounded(before)


def _sum(parts: Iterable[Decayed]) -> Decayed:
    told = list(parts)
    at = max(part.at for part in told)
    return Decayed(sum(affinity_at(part, at) for part in told), at)


def _sums(of: Iterable[dict[str, Decayed]]) -> dict[str, Decayed]:
    parts: dict[str, list[Decayed]] = {}
    for sums in of:
        for name, part in sums.items():
            parts.setdefault(name, []).append(part)
    all_of = {name: _sum(its) for name, its in parts.items()}
    at = max((sum_.at for sum_ in all_of.values()), default=0)
    drop_least(all_of, MAX_AFFINITIES, lambda sum_: (affinity_at(sum_, at), sum_.at))
    return all_of


def _session(told: Sequence[State]) -> Session | None:
    known = [state.session for state in told if state.session is not None]
    if not known:
        return None
    last = max(known, key=lambda session: session.last_at)
    same = [session for session in known if session.session_id == last.session_id]
    started_at = min(session.started_at for session in same)
    events, cart = sum(session.events for session in same), any(session.cart for session in same)
    return Session(last.session_id, started_at, last.last_at, events, cart)


def _consent(told: Sequence[State]) -> dict[str, bool]:
    consent: dict[str, bool] = {}
    for state in told:
        for kind, given in state.consent.items():
            if kind in consent or len(consent) < MAX_CONSENTS:
                consent[kind] = given and consent.get(kind, True)
    return consent


def _last(values: Iterable[_T | None]) -> _T | None:
    """The last of those that say something."""
    return next((value for value in reversed(list(values)) if value is not None), None)
