"""What of a catalogue's changes is told to the shoppers' partitions: derived from the items before and after. Pure.

An item is compared before and after each record, not over a batch of them: so what is told of an offset follows from
the log alone, however it is cut when it is read again, and whoever knows the last offset heard misses and repeats
nothing. An item can be bought when it may be shown: named, not hidden, not out of stock.

- `price_dropped`: a lower price in the same currency.
- `out_of_stock`: it can be bought no more, be it sold out, hidden or removed; `back_in_stock`: it can again.
- `low_stock`: at most so many pieces are left, and there were more, or nobody counted.
- `new_arrival`: an item that nobody heard of before, and that can be bought.

A shop's first catalogue is no news: within the first day of a tenant's catalogue nothing is told of an item or a stock
that was not heard of before. That is counted by the times of the records, from the earliest that any partition has
read: one that is read long after the others can only make the first day end sooner.
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

_encoder: Final = msgspec.json.Encoder()


class Place(NamedTuple):
    """Where a record lies on the catalogue's log, and when it was written, ms."""

    offset: int
    at_ms: int


class Step(NamedTuple):
    """An item before and after one record; None: it is not there."""

    tenant: str
    item_id: str
    before: Item | None
    after: Item | None


class _Told(NamedTuple):
    change: ItemChange
    at_ms: int


@dataclass(frozen=True, slots=True)
class Telling:
    """Makes events of the changes of one partition of the catalogue.

    `places` are those of the records, in their order; `low_stock` is the number of pieces that are few.
    """

    log: str
    partition: int
    low_stock: int
    places: Sequence[Place]

    def events(self, steps: Sequence[Step], began: Mapping[str, int]) -> list[Event]:
        """The events, in the order of the catalogue's log, each as it is for partition 0 (`into` gives the others).

        `steps` are what the records did, `began` says when each tenant's catalogue began, ms.
        """
        found: dict[str, list[_Told]] = {}
        for step, place in zip(steps, self.places, strict=True):
            heard_of = place.at_ms >= began[step.tenant] + FIRST_LOAD_MS
            change = change_of(step.before, step.after, step.item_id, place.offset, heard_of, self.low_stock)
            if change is not None:
                found.setdefault(step.tenant, []).append(_Told(change, place.at_ms))
        return [self._event(tenant, chunk) for tenant, told in found.items() for chunk in _chunks(told)]

    def _event(self, tenant: str, told: Sequence[_Told]) -> Event:
        at = _time(told[-1].at_ms)
        items = tuple(one.change for one in told)
        return _named(
            Event(
                event_name="items_changed",
                event_id=ITEMS_CHANGED,
                source=_SOURCE,
                tenant=tenant,
                occurred_at=at,
                received_at=at,
                changed=ItemsChanged(catalogue_log=self.log, catalogue_partition=self.partition, into=0, items=items),
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
    if before is None or not before.named:
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


def _chunks(told: Sequence[_Told]) -> Iterator[list[_Told]]:
    chunk: list[_Told] = []
    size = 0
    for one in told:
        weight = len(_encoder.encode(one.change))
        if chunk and (len(chunk) == MAX_CHANGED or size + weight > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
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
