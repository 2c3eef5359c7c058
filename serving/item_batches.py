"""`POST /v1/items:batch`: many items at once; good ones of a mixed batch are taken, the others named."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from features.catalog import Content, FacetRecord, Item, Price, Stock
from features.events import MAX_ID, Id
from infra.errors import BadInput, NotFound
from serving import bodies
from serving.item_lists import check_item_id
from serving.items import ItemWriter
from serving.problems import Fault, Refusal

MAX_ITEMS: Final = 1000


class ItemOfBatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An item; each facet that is given replaces the one before as a whole. A new item needs content."""

    item_id: Id
    content: Content | None = None
    price: Price | None = None
    stock: Stock | None = None


Batch = Annotated[list[ItemOfBatch], Meta(min_length=1, max_length=MAX_ITEMS)]


class RejectedItem(msgspec.Struct, frozen=True):
    """An item that was not taken: its index in the array, and what is wrong with it."""

    index: int
    item_id: str | None
    code: str
    path: str
    message: str


class VersionOfItem(msgspec.Struct, frozen=True):
    """Where an item is on the catalogue's log now."""

    item_id: str
    version: int


class ItemsTaken(msgspec.Struct, frozen=True):
    """How many items are on the log, with their versions, and which are not."""

    accepted: int
    rejected: list[RejectedItem]
    items: list[VersionOfItem]
    consistency_token: str


_batch: Final = msgspec.json.Decoder(list[msgspec.Raw])
_item: Final = msgspec.json.Decoder(ItemOfBatch)
_any: Final = msgspec.json.Decoder(dict[str, Any])


async def take(writer: ItemWriter, raw: bytes) -> ItemsTaken:
    """Put the good items of a body on the log, in their order.

    Raises:
        Undecodable: not JSON.
        BadInput: none was good, or their number is out of bounds.
        KafkaAway: not acknowledged; some may be on the log, and sending all again changes nothing.
    """
    sent = bodies.decode(_batch, raw)
    if not 1 <= len(sent) <= MAX_ITEMS:
        raise BadInput(f"Send 1 to {MAX_ITEMS} items in one call.", code="wrong_number_of_items")
    records, rejected, accepted = _sorted_out(writer, sent)
    if not records:
        raise _none_good(rejected)
    offsets = await writer.write(records)
    at: dict[str, int] = {}
    for record, offset in zip(records, offsets, strict=True):
        at[record.item_id] = max(offset, at.get(record.item_id, -1))
    versions = [VersionOfItem(item_id, version) for item_id, version in at.items()]
    return ItemsTaken(accepted, rejected, versions, writer.token(at.items()))


def _sorted_out(writer: ItemWriter, sent: Sequence[msgspec.Raw]) -> tuple[list[FacetRecord], list[RejectedItem], int]:
    records: list[FacetRecord] = []
    rejected: list[RejectedItem] = []
    named: set[str] = set()
    for index, raw in enumerate(sent):
        try:
            item = bodies.decode(_item, bytes(raw))
            records += _records(writer, item, named)
        except BadInput as error:
            rejected.append(RejectedItem(index, _id_of(raw), error.reason, error.path, error.message))
    return records, rejected, len(sent) - len(rejected)


def _records(writer: ItemWriter, item: ItemOfBatch, named: set[str]) -> list[FacetRecord]:
    """The records of one item; `named` are those that this batch itself gives content."""
    check_item_id(item.item_id)
    if item.content is None and item.price is None and item.stock is None:
        raise BadInput("Give content, price or stock.", path="content", code="missing_field")
    if item.content is None and item.item_id not in named and not writer.knows(item.item_id):
        raise NotFound("There is no such item: give its content first.", path="item_id")
    records = writer.records(Item(item_id=item.item_id, content=item.content, price=item.price, stock=item.stock))
    if item.content is not None:
        named.add(item.item_id)
    return records


def _id_of(raw: msgspec.Raw) -> str | None:
    try:
        given = _any.decode(raw).get("item_id")
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    return given if isinstance(given, str) and len(given) <= MAX_ID else None


def _none_good(rejected: Sequence[RejectedItem]) -> BadInput:
    codes = {one.code for one in rejected}
    faults = tuple(
        Fault(f"[{one.index}].{one.path}" if one.path else f"[{one.index}]", one.message) for one in rejected
    )
    code = codes.pop() if len(codes) == 1 else "no_valid_item"
    return Refusal(422, code, "None of the items was taken; errors says why.", faults=faults)
