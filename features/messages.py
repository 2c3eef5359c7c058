"""Trigger records: what marketing automation consumes from `shop.triggers.v1`."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

import msgspec

TriggerKind = Literal["cart_abandoned"]


class TriggerItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An item of a message, with the catalogue's values at the moment of the decision."""

    item_id: str
    name: str
    price: Decimal | None = None
    currency: str | None = None
    image_url: str | None = None
    url: str | None = None


class Copy(msgspec.Struct, frozen=True, omit_defaults=False, kw_only=True):
    """The message's text, checked against the catalogue."""

    subject: str
    title: str
    body: str
    locale: str
    source: Literal["template", "llm"] = "template"
    checked: bool = True


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One message that is due. `trigger_id` follows from tenant, shopper, kind and due time: a repeat has the same."""

    trigger_id: str
    kind: TriggerKind
    tenant: str
    shopper_id: str
    channels: tuple[str, ...]
    items: tuple[TriggerItem, ...]
    copy: Copy
    eligible_at: datetime
    expires_at: datetime
    consent_basis: str
