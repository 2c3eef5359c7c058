"""The truth about messages: which carts were left alone so long that their shoppers are told. Own code throughout."""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final
from urllib.parse import quote

from tests.proofs.chaos.catalogue_made import shown
from tests.proofs.chaos.truth_fold import DAY_MS, Person, cart_due

_MAX_ITEMS: Final = 5


@dataclass(frozen=True)
class Message:
    """What goes out; `items` are (id, name, price)."""

    shopper: str
    eligible_ms: int
    items: tuple[tuple[str, str, str], ...]
    basis: str


def message_id(tenant: str, shopper: str, due_ms: int) -> str:
    """The id that follows from whose cart it is and when it was due."""
    text = "|".join(quote(word, safe="") for word in (tenant, shopper, "cart_abandoned", str(due_ms)))
    return blake2b(text.encode(), digest_size=16).hexdigest()


def message(shopper: str, who: Person, abandoned_ms: int, began_ms: int) -> Message | None:
    """The message for a cart that is due; None: nothing goes out.

    A timer that had been due for a day when the run began is too old for one.
    """
    due = cart_due(who, abandoned_ms)
    if due is None or began_ms - due > DAY_MS or who.consent.get("marketing") is False:
        return None
    newest_first = sorted(who.cart, key=lambda item: (-who.cart[item].at, item))
    items = tuple((item, *there) for item in newest_first if (there := shown(item)) is not None)[:_MAX_ITEMS]
    basis = "consent" if who.consent.get("marketing") else "soft_opt_in"
    return Message(shopper, due, items, basis) if items else None
