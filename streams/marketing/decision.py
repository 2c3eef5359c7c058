"""The decision of a cart that was left alone: a message, or the reason why there is none. Pure."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from features.catalog import Item
from features.messages import Trigger, TriggerItem
from features.shoppers import State
from infra.clock import DAY_MS
from infra.keys import record_key
from streams.marketing import copy
from streams.marketing.timers import CART_ABANDONED

# How long a message may be sent after it became due, and how old a timer may be when it is found.
LIFETIME_MS: Final = DAY_MS
MAX_ITEMS: Final = 5

# A shopper with an account can be written to; of an anonymous one only the browser is known.
_USER_CHANNELS: Final = ("email", "push", "site")
_ANONYMOUS_CHANNELS: Final = ("site",)


def cart_abandoned(
    tenant: str,
    shopper_id: str,
    state: State,
    items: Mapping[str, Item],
    due_ms: int,
    now_ms: int,
    told_ms: int | None = None,
) -> Trigger | str:
    """The message for a cart, or why not: `expired`, `empty_cart`, `duplicate`, `no_consent`, `out_of_stock`.

    `told_ms` is when the shopper's last message was due. Another one needs a live change of the cart after it: an
    event that comes late, or a further look around, moves the due time but makes no other abandonment of it.

    Consent: a shopper who said no to `marketing` gets nothing. One who said yes gets it on that basis
    (`consent`); one who was never asked gets it as somebody who began to buy (`soft_opt_in`), which the
    sending system weighs against the law of the shopper's country before it sends.
    """
    if now_ms - due_ms > LIFETIME_MS:
        return "expired"
    if not state.cart:
        return "empty_cart"
    if told_ms is not None and state.cart_changed_at <= told_ms:
        return "duplicate"
    consent = state.consent.get("marketing")
    if consent is False:
        return "no_consent"
    newest_first = sorted(state.cart.items(), key=lambda line: (-line[1].at, line[0]))
    shown = [_told(items[i]) for i, _ in newest_first if i in items and items[i].may_be_shown][:MAX_ITEMS]
    if not shown:
        return "out_of_stock"
    eligible = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=due_ms)
    return Trigger(
        trigger_id=trigger_id(tenant, shopper_id, due_ms),
        kind=CART_ABANDONED,
        tenant=tenant,
        shopper_id=shopper_id,
        channels=_USER_CHANNELS if shopper_id.startswith("u-") else _ANONYMOUS_CHANNELS,
        items=tuple(shown),
        copy=copy.cart_abandoned(shown, state.locale),
        eligible_at=eligible,
        expires_at=eligible + timedelta(milliseconds=LIFETIME_MS),
        consent_basis="consent" if consent else "soft_opt_in",
    )


def trigger_id(tenant: str, shopper_id: str, due_ms: int) -> str:
    """The id that this message has, whoever makes it and however often."""
    text = record_key(tenant, shopper_id, CART_ABANDONED, str(due_ms))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _told(item: Item) -> TriggerItem:
    assert item.content is not None, "may_be_shown says that it has content"
    return TriggerItem(
        item_id=item.item_id,
        name=copy.plain(item.content.name),
        price=item.price.price if item.price else None,
        currency=item.price.currency if item.price else None,
        image_url=item.content.image_url,
        url=item.content.url,
    )
