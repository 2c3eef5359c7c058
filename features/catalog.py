"""Items: what the shop sells, in three facets that change apart: content, price and stock; and what is made of it."""

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from features.event_fields import Id, Pieces, Tenant
from features.event_rules import check_amount
from features.events import Event, EventItem
from features.refusals import UNREADABLE, refusal
from infra.errors import BadInput
from infra.keys import record_key, split_record_key

Facet = Literal["content", "price", "stock"]
FACETS: Final[tuple[Facet, ...]] = get_args(Facet)


class Content(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the item is. `category` is the most specific one, `categories` the path from the root."""

    name: str
    description: str = ""
    category: str | None = None
    categories: tuple[str, ...] = ()
    brand: str | None = None
    url: str | None = None
    image_url: str | None = None
    attributes: dict[str, str] = {}
    hidden: bool = False


class Price(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one unit costs."""

    price: Decimal
    currency: Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")]


class Stock(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Whether it can be bought. `quantity` of None: not counted."""

    available: bool = True
    quantity: Pieces | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An item as a whole; a facet not heard of yet is None."""

    item_id: str
    content: Content | None = None
    price: Price | None = None
    stock: Stock | None = None

    @property
    def named(self) -> bool:
        """Whether it has a name. The door refuses an empty one; older records may hold it."""
        return self.content is not None and bool(self.content.name.strip())

    @property
    def may_be_shown(self) -> bool:
        """Named, not hidden and not out of stock."""
        return (
            self.content is not None
            and self.named
            and not self.content.hidden
            and (self.stock is None or (self.stock.available and self.stock.quantity != 0))
        )


Language = Literal["zh", "en"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)

AttributeName = Literal[
    "type", "colour", "material", "pattern", "size", "weight", "volume", "pack_count", "audience", "use", "style",
    "feature", "compatible_with",
]  # fmt: skip
"""What an enriched item may say of itself; `pack_count` is a whole number, the others are texts."""


class Attribute(msgspec.Struct, frozen=True):
    """One thing that is known of an item, and from whom: `rule`, `llm:MODEL`, `merchant` or `reviews`."""

    name: AttributeName
    value: str | int
    source: str


class Wording(msgspec.Struct, frozen=True):
    """A search phrase or a description, and who wrote it."""

    language: Language
    text: str
    source: str


class Dropped(msgspec.Struct, frozen=True):
    """What a language model said and was not believed."""

    what: str
    reason: str


class EnrichedItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An item as search and text encoder see it. It is made of the item's content alone, not of price and stock.

    `fallback` says why rules made it although a language model was to.
    """

    item_id: str
    attributes: tuple[Attribute, ...] = ()
    phrases: tuple[Wording, ...] = ()
    descriptions: tuple[Wording, ...] = ()
    dropped: tuple[Dropped, ...] = ()
    fallback: str = ""


class FacetRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One record of `shop.catalog.v1`: the whole of one facet. One without a facet removes the item."""

    tenant: Tenant
    item_id: Id
    content: Content | None = None
    price: Price | None = None
    stock: Stock | None = None


_item_encoder: Final = msgspec.msgpack.Encoder()
_item_decoder: Final = msgspec.msgpack.Decoder(Item)
_record_encoder: Final = msgspec.json.Encoder()
_record_decoder: Final = msgspec.json.Decoder(FacetRecord)


def encode(item: Item) -> bytes:
    """The item packed for Redis."""
    return _item_encoder.encode(item)


def decode(raw: bytes) -> Item:
    """The inverse of `encode`.

    Raises:
        msgspec.DecodeError: the bytes are no item.
    """
    return _item_decoder.decode(raw)


def encode_record(record: FacetRecord) -> bytes | None:
    """The value of a record of the log; None, a tombstone, for a removal."""
    return _record_encoder.encode(record) if facets_of(record) else None


def decode_record(key: bytes | None, value: bytes | None) -> FacetRecord:
    """The record that key and value of the log hold; a tombstone is a removal.

    Raises:
        BadInput: they hold none; `reason` says why.
    """
    try:
        if value is not None:
            record = _record_decoder.decode(value)
        else:
            tenant, item_id, _ = split_record_key((key or b"").decode())
            record = msgspec.convert({"tenant": tenant, "item_id": item_id}, FacetRecord)
    except UNREADABLE as error:
        raise refusal(error, FacetRecord) from None
    if record.price is not None:
        check_amount("price.price", record.price.price)
    if value is not None and len(facets_of(record)) != 1:
        raise BadInput("A catalogue record holds exactly one facet.", code="one_facet_required")
    return record


def facets_of(record: FacetRecord | Item) -> list[Facet]:
    """Which facets a record or an item holds."""
    return [facet for facet in FACETS if getattr(record, facet) is not None]


def key_of(record: FacetRecord) -> str:
    """The key of a record of one facet; for a removal see `record_keys`."""
    return record_key(record.tenant, record.item_id, *facets_of(record))


def record_keys(tenant: str, item_id: str) -> list[str]:
    """The record keys of an item's facets: a removal is a tombstone for each."""
    return [record_key(tenant, item_id, facet) for facet in FACETS]


def facets(item: Item, tenant: str) -> list[FacetRecord]:
    """The records that say all that is known of an item."""
    return [
        FacetRecord(tenant=tenant, item_id=item.item_id, **{facet: getattr(item, facet)}) for facet in facets_of(item)
    ]


def apply(item: Item | None, record: FacetRecord) -> Item | None:
    """The item after a record: its facet replaced as a whole; a record without a facet removes the item."""
    held = facets_of(record)
    if not held:
        return None
    known = Item(item_id=record.item_id) if item is None else item
    return msgspec.structs.replace(known, **{facet: getattr(record, facet) for facet in held})


def gone(item_id: str) -> Item:
    """What features say of an item that was removed: nothing is known of it, and it cannot be bought."""
    return Item(item_id=item_id, stock=Stock(available=False))


def complete(event: Event, lookup: Callable[[str], Item | None]) -> Event:
    """The event with what its lines lack of category, brand and price as the catalogue has it now.

    A price is filled in only in the event's currency. An event that names neither prices nor a currency takes
    over the catalogue's.
    """
    if not event.items:
        return event
    found = [lookup(line.item_id) for line in event.items]
    currency = event.currency
    if currency is None and all(line.price is None for line in event.items):
        currency = next((item.price.currency for item in found if item and item.price), None)
    lines = tuple(
        line if item is None else _completed(line, item, currency)
        for line, item in zip(event.items, found, strict=True)
    )
    return msgspec.structs.replace(event, items=lines, currency=currency)


def _completed(line: EventItem, item: Item, currency: str | None) -> EventItem:
    content, price = item.content, item.price
    return msgspec.structs.replace(
        line,
        category=line.category or (content.category if content else None),
        brand=line.brand or (content.brand if content else None),
        price=price.price if line.price is None and price is not None and price.currency == currency else line.price,
    )
