"""A made-up shop of half a year: two kinds of tea drinkers, each with their half of the items."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from features.catalog import Content, Item, Price
from features.events import Event, EventItem, EventName

START = datetime(2026, 5, 1, tzinfo=UTC)
SHOPPERS, ITEMS, DAYS = 60, 40, 150
HALVES = 2
FAVOURITES = 6


def catalogue() -> list[Item]:
    """Every item, in the order of its id; those of one half have a category of their own."""
    return [
        Item(
            item_id=f"i{number:02}",
            content=Content(name=f"{half_name(number)} {number}", category=half_name(number), brand=f"b{number % 3}"),
            price=Price(price=Decimal(2 + number % 7), currency="EUR"),
        )
        for number in range(ITEMS)
    ]


def half_name(number: int) -> str:
    return ("tea", "pots")[number % HALVES]


def visits(seed: int = 1) -> list[Event]:
    """What happened, in the order of its time: about every nine days a shopper looks at two items of their half and
    buys one or two, every other time a favourite.
    """
    rng = np.random.default_rng(seed)
    events: list[Event] = []
    for shopper in range(SHOPPERS):
        half = [item for item in range(ITEMS) if item % HALVES == shopper % HALVES]
        liked = rng.choice(half, FAVOURITES, replace=False).tolist()
        day = float(rng.uniform(0, 9))
        while day < DAYS:
            at = START + timedelta(days=day)
            chosen = [int(rng.choice(liked if rng.random() < 0.5 else half)) for _ in range(int(rng.integers(1, 3)))]
            looked = rng.choice(half, 2, replace=False).tolist()
            for minute, item in enumerate(looked):
                events.append(_event(shopper, "view_item", at - timedelta(minutes=9 - minute), [item]))
            events.append(_event(shopper, "purchase", at, list(dict.fromkeys(chosen))))
            day += float(rng.uniform(5, 13))
    return sorted(events, key=lambda event: (event.occurred_at, event.event_id))


def _event(shopper: int, name: EventName, at: datetime, numbers: Sequence[int]) -> Event:
    at = at.replace(microsecond=0)
    return Event(
        event_name=name,
        event_id=f"{name}-{shopper}-{at:%m%d%H%M%S}",
        user_id=f"s{shopper:02}",
        occurred_at=at,
        received_at=at + timedelta(seconds=2),
        items=tuple(
            EventItem(item_id=f"i{number:02}", price=Decimal(2 + number % 7), category=half_name(number))
            for number in numbers
        ),
        currency="EUR",
    )
