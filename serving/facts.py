"""What a list may take from a shopper's state: all of it, the present session's part, or nothing."""

from collections.abc import Container
from typing import Final, Literal

from features.shopper_bought import holds
from features.shoppers import SESSION_GAP_MS, State
from serving.sources import Facts

Personalization = Literal["full", "session", "none"]

NOBODY: Final = Facts()


class Owned:
    """Everything that a shopper bought: what the state weighs, and what it only knows of."""

    __slots__ = ("_before", "_weighed")

    def __init__(self, weighed: Container[str], before: bytes) -> None:
        self._weighed = weighed
        self._before = before

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._weighed or (isinstance(item_id, str) and holds(self._before, item_id))


def facts_of(state: State, personalization: Personalization, session_id: str | None, now_ms: int) -> Facts:
    """The facts for one list. What is in the cart, disliked or bought is kept out whatever the
    personalization, as long as the state is read at all.
    """
    bought = frozenset(item_id for item_id, one in state.purchased.items() if one.orders > 0)
    owned = Owned(bought, state.bought_before) if state.bought_before else bought
    if personalization == "full":
        return Facts(
            in_cart=state.cart.keys(),
            disliked=state.disliked.keys(),
            owned=owned,
            interactions=state.interactions,
            cart=state.cart.keys(),
            bought=bought,
            wished=state.wishes.keys(),
            categories=frozenset(name for name, one in state.categories.items() if one.value > 0),
        )
    since = _session_start(state, session_id, now_ms)
    met = [one for one in state.interactions if since is not None and one.at >= since]
    ids = frozenset(one.item_id for one in met)
    now_bought = frozenset(one.item_id for one in met if one.kind == "purchase")
    return Facts(
        in_cart=state.cart.keys(),
        disliked=state.disliked.keys(),
        owned=owned,
        interactions=met,
        cart=state.cart.keys() & ids,
        bought=bought & now_bought,
        wished=state.wishes.keys() & ids,
    )


def _session_start(state: State, session_id: str | None, now_ms: int) -> int | None:
    """When the present session began; None when the known one is over or another than the caller's."""
    session = state.session
    if session is None:
        return None
    if session_id is not None:
        return session.started_at if session.session_id == session_id else None
    return session.started_at if now_ms - session.last_at <= SESSION_GAP_MS else None
