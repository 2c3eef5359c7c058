"""What becomes of the lines of a file: a mapping is a generator of these, their lines add up."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Final

import msgspec

from features.catalog import Content, FacetRecord, Item, Price, Stock, facets
from features.events import Event, EventItem, EventName
from streams.mappings.origin import Origin

MAX_NAME: Final = 300
MAX_TEXT: Final = 10_000
MAX_CATEGORIES: Final = 10


@dataclass(frozen=True, slots=True)
class Taken:
    """An event, made from so many lines."""

    event: Event
    lines: int = 1


@dataclass(frozen=True, slots=True)
class Refused:
    """Lines that become nothing: why (a stable code), and the first of them, counted from 1."""

    code: str
    line: int
    lines: int = 1
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Repeated:
    """Lines that say what an earlier line has said, word for word."""

    lines: int = 1


@dataclass(frozen=True, slots=True)
class Described:
    """An item that the source tells of."""

    item_id: str
    content: Content | None = None
    price: Price | None = None
    stock: Stock | None = None

    def records(self, tenant: str) -> list[FacetRecord]:
        """One record of `shop.catalog.v1` per facet that is known."""
        return facets(self.item(), tenant)

    def item(self) -> Item:
        """The item as far as the source tells of it."""
        return Item(item_id=self.item_id, content=self.content, price=self.price, stock=self.stock)


@dataclass(frozen=True, slots=True)
class Undescribed:
    """A row of the source's own catalogue that becomes no item, and why."""

    code: str
    line: int
    detail: str = ""


Outcome = Taken | Refused | Repeated | Described | Undescribed


@dataclass(frozen=True, slots=True)
class Mapping:
    """One kind of source: `outcomes` reads it once, in one pass; `count` counts its lines by itself, as a
    check.

    `version` is raised when the same file begins to give other events: a direct load then counts in a log of
    its own.
    """

    name: str
    version: int
    what: str
    outcomes: Callable[[Origin], Iterator[Outcome]]
    count: Callable[[Origin], int]


def event_of(
    origin: Origin,
    name: EventName,
    event_id: str,
    occurred_at: datetime,
    *,
    user_id: str | None = None,
    anonymous_id: str | None = None,
    items: tuple[EventItem, ...] = (),
    session_id: str | None = None,
) -> Event:
    """An event of this load; orders and money are added by whoever knows them."""
    return Event(
        event_name=name,
        occurred_at=occurred_at,
        received_at=origin.received_at,
        event_id=event_id,
        source=origin.source,
        tenant=origin.tenant,
        user_id=user_id,
        anonymous_id=anonymous_id,
        session_id=session_id,
        items=items,
        load_id=origin.load_id,
    )


def content_id(*parts: str) -> str:
    """An event id that follows from what the line says: the same line has the same id in every load."""
    return blake2b("\x1f".join(parts).encode(), digest_size=10).hexdigest()


def with_order(event: Event, *, transaction_id: str, currency: str, value: object) -> Event:
    """The event as an order: its number and what was paid in all."""
    return msgspec.structs.replace(event, transaction_id=transaction_id, currency=currency, value=value)
