"""A made-up past: events of some shoppers as the log holds them, archived and built into the offline log."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from features.archive import ArchiveRow, EventArchive, archive_row
from features.events import Event, EventItem, EventName, encode, event_time_ms, record_key_of
from features.history import Counts
from features.offline import StoreAt
from features.offline_build import build
from infra.places import Place

START = datetime(2026, 5, 1, tzinfo=UTC)
LATENESS_MS = 86_400_000
NAMES: tuple[EventName, ...] = (
    "view_item",
    "view_item",
    "view_item",
    "select_item",
    "add_to_cart",
    "purchase",
    "refund",
    "remove_from_cart",
    "dislike_item",
    "add_to_wishlist",
    "search",
    "review_item",
)


def moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC)


def made_event(number: int, at: datetime, choose: random.Random, **changed: Any) -> Event:
    """Something a shopper did at `at`, received two seconds later."""
    name = choose.choice(NAMES)
    items = [
        EventItem(
            item_id=f"i{choose.randrange(12)}",
            price=choose.choice([None, Decimal(1), Decimal("19.99")]),
            quantity=choose.randint(1, 3),
            category=choose.choice([None, "tea", "pots"]),
            brand=choose.choice([None, "Leaf"]),
        )
        for _ in range(choose.randint(1, 2))
    ]
    fields: dict[str, Any] = {
        "event_name": name,
        "event_id": f"e{number}",
        "user_id": f"s{choose.randrange(8)}",
        "occurred_at": at,
        "received_at": at + timedelta(seconds=2),
        "items": tuple(items),
        "search_term": "tea" if name == "search" else None,
        "rating": choose.randint(1, 5) if name == "review_item" else None,
    }
    return Event(**fields | changed)


def made_events(count: int, seed: int, days: int = 12) -> list[Event]:
    """Events in the order of their time, some at one moment, with seconds and whole hours among them."""
    choose = random.Random(seed)
    steps = sorted(choose.randrange(days * 24 * 12) for _ in range(count))
    return [made_event(n, START + timedelta(minutes=5 * step), choose) for n, step in enumerate(steps)]


def archived(root: Place | Path, events: Iterable[Event | bytes], log: str = "kafka", partitions: int = 4) -> None:
    """Put events on a log, each shopper's in one partition, and the log into the archive."""
    offsets = [0] * partitions
    rows: list[ArchiveRow] = []
    for event in events:
        key = b"" if isinstance(event, bytes) else record_key_of(event).encode()
        partition = sum(key) % partitions
        value = event if isinstance(event, bytes) else encode(event)
        rows.append(archive_row((log, partition, offsets[partition]), 1_777_593_600_000, key, value))
        offsets[partition] += 1
    EventArchive(root).write(rows)


@dataclass(frozen=True)
class Past:
    """Where a past lies, and its events."""

    root: Path
    events: Sequence[Event]

    @property
    def store(self) -> StoreAt:
        return StoreAt(self.root / "offline", self.root / "registry.db", project="past")

    def built(self) -> tuple[Counts, list[int]]:
        """Build the offline log; what was counted, and the progress that was told."""
        told: list[int] = []
        return build(self.root / "archive", self.root / "offline", LATENESS_MS, told.append), told


def past(root: Path, events: Sequence[Event]) -> Past:
    """A past of these events, archived in this order, and its offline log built."""
    archived(root / "archive", events)
    made = Past(root, events)
    made.built()
    return made


def before(events: Iterable[Event], key: str, label: datetime) -> list[Event]:
    """The events of a shopper strictly before a label, in the given order."""
    limit = label.timestamp() * 1000
    return [event for event in events if record_key_of(event) == key and event_time_ms(event) < limit]
