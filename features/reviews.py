"""What buyers wrote of items, from the archive. Ratings are features of the stream (`features.item_statistics`)."""

from collections.abc import Callable, Container
from typing import Final

import msgspec
import pyarrow as pa

from features.archive import EventArchive
from features.events import event_time_ms, received, shopper_id
from infra.errors import BadInput

MAX_REVIEWS: Final = 5
"""Of an item, the first ones written: so that not each further one makes the item's texts other than they were."""


class Review(msgspec.Struct, frozen=True):
    """What a buyer wrote; nothing says who."""

    text: str
    rating: int | None = None


def reviews_of(
    archive: EventArchive, tenant: str, items: Container[str], progress: Callable[[int], None]
) -> dict[str, list[Review]]:
    """The first reviews of each of the items that have a text, one of each buyer: their last.

    A review of several items is of none in particular, and left out. `progress` hears how many more records were
    looked at. What cannot be read as an event is passed over: it is among the dead letters.
    """
    latest: dict[tuple[str, str], tuple[int, Review]] = {}
    for batch in archive.scan(columns=("event_name", "value", "received_at")):
        names, values, times = (column.to_pylist() for column in _plain(batch))
        for name, value, at_ms in zip(names, values, times, strict=True):
            if name != "review_item":
                continue
            try:
                event = received(value, at_ms)
            except BadInput:
                continue
            if event.tenant != tenant or not event.text or len(event.items) != 1:
                continue
            item_id = event.items[0].item_id
            told = (event_time_ms(event), Review(event.text, event.rating))
            key = (item_id, shopper_id(event))
            if item_id in items and (key not in latest or latest[key][0] <= told[0]):
                latest[key] = told
        progress(batch.num_rows)
    found: dict[str, list[tuple[int, str, Review]]] = {}
    for (item_id, shopper), (at_ms, review) in latest.items():
        found.setdefault(item_id, []).append((at_ms, shopper, review))
    return {
        item_id: [one[2] for one in sorted(told, key=lambda one: one[:2])[:MAX_REVIEWS]]
        for item_id, told in found.items()
    }


def _plain(batch: "pa.RecordBatch") -> "list[pa.Array]":
    names, values, times = batch.columns
    return [names, values, times.cast(pa.int64())]
