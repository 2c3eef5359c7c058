"""What `items_changed` tells: changes of the catalogue that can start or stop a message, and where they lie on its log.

The owner of a catalogue partition derives them (`features.catalog_changes`) and puts one event into every partition of
`shop.events.v1`. The event follows from the catalogue's log and the items before, so a repeat has the same bytes. A
change has the offset of the record that made it: whoever has heard a catalogue partition up to some offset takes
from a later event what lies beyond, however the changes were cut into events.
"""

from decimal import Decimal
from typing import Annotated, Final, Literal, get_args

import msgspec
from msgspec import Meta

from features.event_fields import Id

ITEMS_CHANGED: Final = "items_changed"
MAX_CHANGED: Final = 500

ChangeKind = Literal["price_dropped", "back_in_stock", "out_of_stock", "low_stock", "new_arrival"]
CHANGE_KINDS: Final[tuple[ChangeKind, ...]] = get_args(ChangeKind)


class ItemChange(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What became of one item: price per unit and pieces in stock, before and now; None: not known, or not counted.

    A price before is told in the currency of the present one.
    """

    item_id: Id
    kinds: Annotated[tuple[ChangeKind, ...], Meta(min_length=1, max_length=len(CHANGE_KINDS))]
    offset: Annotated[int, Meta(ge=0)]
    price_before: Decimal | None = None
    price: Decimal | None = None
    currency: Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")] | None = None
    quantity_before: int | None = None
    quantity: int | None = None


class ItemsChanged(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Changes of items of one partition of the catalogue, for one partition of the events (`into`).

    `catalogue_log` is the id of the catalogue's log.
    """

    catalogue_log: Id
    catalogue_partition: Annotated[int, Meta(ge=0)]
    into: Annotated[int, Meta(ge=0)]
    items: Annotated[tuple[ItemChange, ...], Meta(min_length=1, max_length=MAX_CHANGED)]
