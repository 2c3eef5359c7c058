"""Taobao user behaviour (Tianchi data set 649): `user,item,category,behaviour,unix time`, no header.

The data set says that it covers nine days, 2017-11-25 to 2017-12-03 in Shanghai; a day on each side is taken
too, times beyond are slips. There are no names and no prices: an item is named by its numbers. Lines that are
repeated exactly give the same event, which the loader counts as a duplicate.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from features.catalog import Content
from features.events import EventItem, EventName
from streams.mappings.origin import Origin, count_lines, text_lines
from streams.mappings.outcomes import Described, Mapping, Outcome, Refused, Taken, content_id, event_of

_NAMES: Final[dict[str, EventName]] = {
    "pv": "view_item",
    "cart": "add_to_cart",
    "fav": "add_to_wishlist",
    "buy": "purchase",
}
# 2017-11-24 00:00 and 2017-12-05 00:00 in Shanghai (UTC+8, no summer time).
EARLIEST_S: Final = int(datetime(2017, 11, 23, 16, tzinfo=UTC).timestamp())
LATEST_S: Final = int(datetime(2017, 12, 4, 16, tzinfo=UTC).timestamp())


def outcomes(origin: Origin) -> Iterator[Outcome]:
    """One event per line, items at the end."""
    categories: dict[str, str] = {}
    for number, line in enumerate(text_lines(origin.file), 1):
        fields = line.rstrip("\r\n").split(",")
        if len(fields) != 5 or not all(fields):
            yield Refused("cut", number, detail=f"{len(fields)} fields, 5 are due")
            continue
        user, item, category, behaviour, seconds = fields
        name = _NAMES.get(behaviour)
        if name is None:
            yield Refused("unknown_behaviour", number, detail=f"behaviour {behaviour[:20]!r}")
        elif not (user.isdecimal() and item.isdecimal() and category.isdecimal()):
            yield Refused("not_a_number", number, detail="user, item and category are numbers")
        elif not _plausible(seconds):
            yield Refused("time_out_of_range", number, detail=f"time {seconds[:20]!r}")
        else:
            categories[item] = category
            yield Taken(
                event_of(
                    origin,
                    name,
                    content_id(user, item, behaviour, seconds),
                    datetime.fromtimestamp(int(seconds), UTC),
                    user_id=user,
                    items=(EventItem(item_id=item, category=category),),
                )
            )
    for item, category in categories.items():
        yield Described(item, Content(name=f"Item {item}, kind {category}", category=category, categories=(category,)))


def _plausible(seconds: str) -> bool:
    return seconds.isdecimal() and len(seconds) <= 12 and EARLIEST_S <= int(seconds) < LATEST_S


TAOBAO: Final = Mapping("taobao", 1, "Taobao user behaviour: CSV without header, may be gzip", outcomes, count_lines)
