"""One step of the fold: `advance(state, step)`.

Every bound is kept here, and by event time and ids alone, so that the same steps in the same order give the
same bytes. The values in a state's maps are replaced, never changed: states may share them.
"""

from collections.abc import Callable
from math import isfinite, log
from typing import Final, TypeVar

from features.decay import affinity_at, purchase_weight_at, raise_sum
from features.shopper_bought import added, bounded, taken_back
from features.shopper_state import (
    AFFINITY_WEIGHTS,
    CONSENT,
    INTERACTION_KINDS,
    MAX_CART,
    MAX_CART_QUANTITY,
    MAX_CONSENTS,
    MAX_DISLIKED,
    MAX_INTERACTIONS,
    MAX_PURCHASED,
    MAX_WISHES,
    SESSION_GAP_MS,
    CartLine,
    Decayed,
    Interaction,
    Purchased,
    Session,
    State,
    Step,
)

_T = TypeVar("_T")


def copied(state: State) -> State:
    """A state that can be advanced without changing this one."""
    return State(
        state.interactions.copy(),
        state.cart.copy(),
        state.cart_live_at,
        state.wishes.copy(),
        state.purchased.copy(),
        state.disliked.copy(),
        state.categories.copy(),
        state.brands.copy(),
        state.log_price_sum,
        state.log_price_weight,
        state.views,
        state.orders,
        state.session,
        state.last_search,
        state.consent.copy(),
        state.locale,
        state.time_zone,
        state.newest,
        state.bought_before,
        state.cart_changed_at,
    )


def advance(state: State, step: Step) -> None:
    """Put one step, not older than all before it, on top of the state."""
    state.newest = step.at
    _visit(state, step)
    if step.extra is not None:
        _told(state, step.extra)
    change = _CHANGES.get(step.name)
    if change is not None:
        change(state, step)
    if step.name in INTERACTION_KINDS:
        meet(state, step)
    weight = AFFINITY_WEIGHTS.get(step.name)
    if weight is not None:
        _like(state, step, weight)


def _visit(state: State, step: Step) -> None:
    """The session goes on, by its id where one is given, else by a gap of less than half an hour."""
    now = state.session
    if now is not None and (
        now.session_id == step.session_id if step.session_id is not None else step.at - now.last_at < SESSION_GAP_MS
    ):
        now = Session(now.session_id, now.started_at, step.at, now.events + 1, now.cart)
    else:
        now = Session(step.session_id or f"at-{step.at}", step.at, step.at, 1)
    state.session = now
    # Whoever still looks around has not left the cart alone; one who comes back another day has.
    if step.live and now.cart and state.cart_live_at:
        state.cart_live_at = step.at


def _told(state: State, extra: dict[str, str | bool]) -> None:
    for name, value in extra.items():
        if isinstance(value, bool):
            key = name.removeprefix(CONSENT)
            if key in state.consent or len(state.consent) < MAX_CONSENTS:
                state.consent[key] = value
        elif name == "locale":
            state.locale = value
        elif name == "time_zone":
            state.time_zone = value
        else:
            state.last_search = value


def _viewed(state: State, step: Step) -> None:
    state.views += len(step.lines)


def _put_in_cart(state: State, step: Step) -> None:
    for item, price, quantity, _, _ in step.lines:
        line = state.cart.get(item)
        if line is None:
            state.cart[item] = CartLine(quantity, price, step.currency, step.at)
        else:
            seen = (line.price, line.currency) if price is None else (price, step.currency)
            state.cart[item] = CartLine(min(line.quantity + quantity, MAX_CART_QUANTITY), *seen, step.at)
        state.disliked.pop(item, None)
    drop_least(state.cart, MAX_CART, lambda line: (line.at,))
    _cart_changed(state, step)


def _take_from_cart(state: State, step: Step) -> None:
    changed = False
    for item, _, quantity, _, _ in step.lines:
        line = state.cart.get(item)
        if line is None:
            continue
        changed = True
        if line.quantity > quantity:
            state.cart[item] = CartLine(line.quantity - quantity, line.price, line.currency, step.at)
        else:
            del state.cart[item]
    if changed:
        _cart_changed(state, step)


def _cart_changed(state: State, step: Step) -> None:
    if not state.cart:
        state.cart_live_at = state.cart_changed_at = 0
        _note_cart(state, changed=False)
    elif step.live:
        state.cart_live_at = state.cart_changed_at = step.at
        _note_cart(state, changed=True)


def _note_cart(state: State, *, changed: bool) -> None:
    visit = state.session
    if visit is not None and visit.cart != changed:
        state.session = Session(visit.session_id, visit.started_at, visit.last_at, visit.events, changed)


def _bought(state: State, step: Step) -> None:
    at, before = step.at, len(state.cart)
    state.orders += 1
    for item, _, _, _, _ in step.lines:
        bought = state.purchased.get(item)
        state.purchased[item] = (
            Purchased(1, at, at, 1.0)
            if bought is None
            else Purchased(bought.orders + 1, bought.first_at, at, purchase_weight_at(bought, at) + 1.0)
        )
        state.cart.pop(item, None)
        state.disliked.pop(item, None)
    light = drop_least(state.purchased, MAX_PURCHASED, lambda bought: (purchase_weight_at(bought, at), bought.last_at))
    if light:
        for item, bought in light:
            state.bought_before = added(state.bought_before, item, bought.last_at, bought.orders)
        state.bought_before = bounded(state.bought_before)
    if len(state.cart) < before:
        _cart_changed(state, step)


def _gave_back(state: State, step: Step) -> None:
    """A refund takes one order of each item back, the last one, which weighs 1 as of its time if it is weighed."""
    for item, _, _, _, _ in step.lines:
        bought = state.purchased.get(item)
        if bought is None:
            state.bought_before = taken_back(state.bought_before, item)
        elif bought.orders > 1:
            weight = max(0.0, bought.weight - 1.0)
            state.purchased[item] = Purchased(bought.orders - 1, bought.first_at, bought.last_at, weight)
        else:
            del state.purchased[item]


def _wished(state: State, step: Step) -> None:
    for item, _, _, _, _ in step.lines:
        state.wishes[item] = step.at
        state.disliked.pop(item, None)
    drop_least(state.wishes, MAX_WISHES, lambda at: (at,))


def _unwished(state: State, step: Step) -> None:
    for item, _, _, _, _ in step.lines:
        state.wishes.pop(item, None)


def _disliked(state: State, step: Step) -> None:
    for item, _, _, _, _ in step.lines:
        state.disliked[item] = step.at
    drop_least(state.disliked, MAX_DISLIKED, lambda at: (at,))


_CHANGES: Final[dict[str, Callable[[State, Step], None]]] = {
    "view_item": _viewed,
    "add_to_cart": _put_in_cart,
    "remove_from_cart": _take_from_cart,
    "purchase": _bought,
    "refund": _gave_back,
    "add_to_wishlist": _wished,
    "remove_from_wishlist": _unwished,
    "dislike_item": _disliked,
}


def meet(state: State, step: Step) -> None:
    """Keep the interactions. A view right after the click that led to it is the same meeting."""
    met = state.interactions
    follows = bool(met) and met[-1].kind == "select_item" and step.name == "view_item"
    if follows and step.lines and step.lines[0][0] == met[-1].item_id:
        met.pop()
    for line in step.lines:
        met.append(Interaction(line[0], step.name, step.at))
    if len(met) > MAX_INTERACTIONS:
        del met[:-MAX_INTERACTIONS]


def _like(state: State, step: Step, weight: float) -> None:
    at = step.at
    for _, price, _, category, brand in step.lines:
        if category is not None:
            raise_sum(state.categories, category, weight, at)
        if brand is not None:
            raise_sum(state.brands, brand, weight, at)
        if price is not None and weight > 0:
            amount = float(price)
            if amount > 0 and isfinite(amount):
                state.log_price_sum = Decayed(affinity_at(state.log_price_sum, at) + weight * log(amount), at)
                state.log_price_weight = Decayed(affinity_at(state.log_price_weight, at) + weight, at)


def drop_least(entries: dict[str, _T], most: int, rank: Callable[[_T], tuple[float, ...]]) -> list[tuple[str, _T]]:
    """Bring a map back within its bound; what went. Entries of one rank go in the order of their ids."""
    excess = len(entries) - most
    if excess <= 0:
        return []
    least = sorted(entries, key=lambda key: (rank(entries[key]), key))[:excess]
    return [(key, entries.pop(key)) for key in least]
