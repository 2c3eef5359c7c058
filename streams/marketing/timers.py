"""When messages are due. A timer follows from the shopper's state alone, so a replay sets the same ones."""

from typing import Final

from features.messages import TriggerKind
from features.shoppers import State
from infra.keys import record_key, split_record_key

CART_ABANDONED: Final[TriggerKind] = "cart_abandoned"


def member(tenant: str, kind: TriggerKind, shopper_id: str) -> str:
    """A timer's name in the sorted set of its partition."""
    return record_key(tenant, kind, shopper_id)


def split_member(name: str) -> tuple[str, str, str]:
    """(tenant, kind, shopper id) of a timer."""
    tenant, kind, shopper_id = split_record_key(name)
    return tenant, kind, shopper_id


def cart_due(state: State, abandoned_ms: int) -> int | None:
    """When the cart counts as abandoned, ms; None for an empty one and for one that only history filled.

    It runs from the cart's last live change, or from the last live event of that visit: whoever still looks around has
    not left.
    """
    if not state.cart or state.cart_live_at <= 0:
        return None
    return state.cart_live_at + abandoned_ms
