"""What a list may take from a shopper's state: all of it, the present session's part, or nothing."""

from typing import Final, Literal

from features.shoppers import SESSION_GAP_MS, State
from serving.ranking import Facts

Personalization = Literal["full", "session", "none"]

NOBODY: Final = Facts()


def facts_of(state: State, personalization: Personalization, session_id: str | None, now_ms: int) -> Facts:
    """The facts for one list. What is in the cart, disliked or bought is kept out whatever the
    personalization, as long as the state is read at all.
    """
    barred = state.cart.keys() | state.disliked.keys()
    bought = frozenset(item_id for item_id, one in state.purchased.items() if one.orders > 0)
    if personalization == "full":
        return Facts(
            barred=barred,
            owned=bought,
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
        barred=barred,
        owned=bought,
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
