"""What of a catalogue's changes is told to the shoppers' partitions: derived from the items before and after. Pure.

An item is compared as it was before some records with how it is after them, so several changes of one are one, and
what came to nothing is not told. It can be bought when it may be shown: named, not hidden, not out of stock.

- `price_dropped`: a lower price in the same currency.
- `out_of_stock`: it can be bought no more, be it sold out, hidden or removed; `back_in_stock`: it can again.
- `low_stock`: at most so many pieces are left, and there were more, or nobody counted.
- `new_arrival`: an item that nobody heard of before, and that can be bought.

A shop's first catalogue is no news: within the first day of a tenant's catalogue nothing is told of an item or a stock
that was not heard of before. That is counted by the times of the records, so it does not depend on who reads them when.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from features.catalog import Item
from features.event_rules import EARLIEST, LATEST
from features.events import Event, encode
from features.items_changed import ITEMS_CHANGED, MAX_CHANGED, ChangeKind, ItemChange, ItemsChanged
from infra.clock import DAY_MS

FIRST_LOAD_MS: Final = DAY_MS
# A record takes 1 MiB; escaped ids of 500 items may be as much.
MAX_BYTES: Final = 500_000
LOW_STOCK: Final = 5
_SOURCE: Final = "daogou"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Key = tuple[str, str]  # tenant, item id
Items = Mapping[Key, Item | None]

_encoder: Final = msgspec.json.Encoder()


class Place(NamedTuple):
    """Where the last record of an item lies on the catalogue's log, and when it was written, ms."""

    offset: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Telling:
    """Makes events of the changes of one partition of the catalogue.

    `last` has the place of each item's last record; `low_stock` is the number of pieces that are few.
    """

    log: str
    partition: int
    low_stock: int
    last: Mapping[Key, Place]

    def events(self, before: Items, after: Items, began: Mapping[str, int]) -> list[Event]:
        """The events, in the order of the catalogue's log, each as it is for partition 0 (`into` gives the others).

        `began` says when each tenant's catalogue began, ms.
        """
        made: list[Event] = []
        for tenant in dict.fromkeys(tenant for tenant, _ in after):
            changes = []
            for key in (key for key in after if key[0] == tenant):
                place = self.last[key]
                heard_of = place.at_ms >= began[tenant] + FIRST_LOAD_MS
                change = change_of(before.get(key), after[key], key[1], place.offset, heard_of, self.low_stock)
                if change is not None:
                    changes.append(change)
            made += [self._event(tenant, items) for items in _chunks(sorted(changes, key=lambda one: one.offset))]
        return made

    def _event(self, tenant: str, items: Sequence[ItemChange]) -> Event:
        at = _time(self.last[tenant, items[-1].item_id].at_ms)
        told = ItemsChanged(catalogue_log=self.log, catalogue_partition=self.partition, into=0, items=tuple(items))
        return _named(
            Event(
                event_name="items_changed",
                event_id=ITEMS_CHANGED,
                source=_SOURCE,
                tenant=tenant,
                occurred_at=at,
                received_at=at,
                changed=told,
            )
        )


def into(event: Event, partition: int) -> Event:
    """The same event for another partition, with an id of its own."""
    assert event.changed is not None, "an event of this name says what changed"
    return _named(msgspec.structs.replace(event, changed=msgspec.structs.replace(event.changed, into=partition)))


def change_of(
    before: Item | None, after: Item | None, item_id: str, offset: int, heard_of: bool, low_stock: int
) -> ItemChange | None:
    """What became of an item; None: nothing that is told. `heard_of`: the shop's first catalogue was there before."""
    kinds = tuple(_kinds(before, after, heard_of, low_stock))
    if not kinds:
        return None
    was, price = (None if item is None else item.price for item in (before, after))
    pieces_before, pieces = (
        None if item is None or item.stock is None else item.stock.quantity for item in (before, after)
    )
    same = was is not None and price is not None and was.currency == price.currency
    return ItemChange(
        item_id=item_id,
        kinds=kinds,
        offset=offset,
        price_before=was.price if was is not None and same else None,
        price=None if price is None else price.price,
        currency=None if price is None else price.currency,
        quantity_before=pieces_before,
        quantity=pieces,
    )


def _kinds(before: Item | None, after: Item | None, heard_of: bool, low_stock: int) -> Iterator[ChangeKind]:
    now = after is not None and after.may_be_shown
    if before is None or before.content is None:
        if now and heard_of:
            yield "new_arrival"
        return
    was, known = before.may_be_shown, heard_of or before.stock is not None
    if after is not None and _dropped(before, after):
        yield "price_dropped"
    if now and not was:
        yield "back_in_stock"
    elif was and not now and (known or after is None or after.stock == before.stock):
        yield "out_of_stock"
    elif was and now and known and _few(after, low_stock) and not _few(before, low_stock):
        yield "low_stock"


def _dropped(before: Item, after: Item) -> bool:
    was, now = before.price, after.price
    return was is not None and now is not None and was.currency == now.currency and now.price < was.price


def _few(item: Item | None, low_stock: int) -> bool:
    quantity = None if item is None or item.stock is None else item.stock.quantity
    return quantity is not None and quantity <= low_stock


def _chunks(changes: Sequence[ItemChange]) -> Iterator[list[ItemChange]]:
    chunk: list[ItemChange] = []
    size = 0
    for change in changes:
        weight = len(_encoder.encode(change))
        if chunk and (len(chunk) == MAX_CHANGED or size + weight > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(change)
        size += weight
    if chunk:
        yield chunk


def _named(event: Event) -> Event:
    """With the id that follows from all that it tells: where it is told, of which offsets, and what."""
    said = encode(msgspec.structs.replace(event, event_id=ITEMS_CHANGED))
    return msgspec.structs.replace(event, event_id=hashlib.blake2b(said, digest_size=16).hexdigest())


def _time(at_ms: int) -> datetime:
    """A time that an event may have: a clock that is far out moves it to the bound."""
    try:
        return min(max(_EPOCH + timedelta(milliseconds=at_ms), EARLIEST), LATEST)
    except OverflowError:
        return LATEST
