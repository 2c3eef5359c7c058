"""Made events for a proof: some come twice, some late, some are no events at all."""

import random
from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from features.events import Event, EventItem, EventName, encode, record_key_of
from infra.kafka import Outgoing
from infra.keys import partition_of
from infra.topics import EVENTS

CORRUPT: Final = b"\x00corrupt "

_LOOKS: Final[tuple[EventName, ...]] = ("view_item", "view_item", "view_item", "page_view", "search")
_SHOP: Final[tuple[EventName, ...]] = (*_LOOKS, "add_to_cart", "remove_from_cart", "purchase")


def records(count: int, seed: int, now: datetime, partitions: int, first: int = 0) -> Iterator[Outgoing]:
    """Events of the last day: one in fifty comes twice, one in fifty late, one in five hundred is corrupt.

    `first` is the number of the first event: their ids follow from it.
    """
    rng, shoppers = random.Random(seed), max(20, count // 60)
    for number in range(count):
        late = rng.random() < 0.02
        occurred = now - timedelta(hours=20 * (1 - number / count) + (3 * rng.random() if late else 0))
        one = _event(rng, first + number, (occurred, now), f"s{rng.randrange(shoppers)}")
        key = record_key_of(one)
        record = Outgoing(EVENTS, partition_of(key, partitions), key, encode(one))
        yield record
        if rng.random() < 0.02:
            yield record
        if rng.random() < 0.002:
            yield Outgoing(EVENTS, record.partition, record.key, CORRUPT + b"%d" % number)


def _event(rng: random.Random, number: int, at: tuple[datetime, datetime], user: str) -> Event:
    name = rng.choice(_SHOP)
    many = 0 if name in ("page_view", "search") else rng.randrange(1, 4)
    items = tuple(
        EventItem(item_id=f"i{rng.randrange(300)}", price=Decimal(rng.randrange(100, 9000)) / 100, category="c")
        for _ in range(many)
    )
    return Event(
        event_name=name,
        event_id=f"e{number}",
        occurred_at=at[0],
        received_at=at[1],
        user_id=user,
        items=items,
        currency="EUR" if items else None,
        transaction_id=f"o{number}" if name == "purchase" else None,
        search_term="tea" if name == "search" else None,
    )
