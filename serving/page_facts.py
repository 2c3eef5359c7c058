"""What only the page to try things out asks: how large the shop is, and whether a message is of the past."""

from datetime import UTC, datetime

import msgspec

from features.events import Id
from features.shoppers import State
from infra.errors import BadInput


class ShopFacts(msgspec.Struct, frozen=True):
    """Items that may be shown, and after how many seconds a cart that is left alone gives a message."""

    items: int
    cart_abandoned_s: int


class ShopperQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which shopper."""

    user_id: Id | None = None
    anonymous_id: Id | None = None

    @property
    def shopper_id(self) -> str:
        """As rows and messages name them.

        Raises:
            BadInput: neither is given.
        """
        if self.user_id is not None:
            return f"u-{self.user_id}"
        if self.anonymous_id is None:
            raise BadInput("Give user_id or anonymous_id.", path="user_id", code="shopper_required")
        return f"a-{self.anonymous_id}"


class ShopperFacts(msgspec.Struct, frozen=True):
    """The shopper's newest purchase, if there is one, and what time it is here."""

    last_purchase_at: datetime | None
    now: datetime


def shopper_facts(state: State | None, now_ms: int) -> ShopperFacts:
    """The facts of a shopper's state."""
    bought = max((one.last_at for one in state.purchased.values()), default=None) if state else None
    return ShopperFacts(None if bought is None else _time(bought), _time(now_ms))


def _time(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)
