"""A small shop for the tests: events by short words, records with the right partitions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from features.events import Context, Event, EventItem, EventName, encode, record_key_of, to_ms
from infra.kafka import Outgoing
from infra.keys import partition_of
from infra.topics import EVENTS
from streams.batch import PartitionBatch
from streams.direct import ArchivedRecord

PARTITIONS = 8
LOG = "log-of-the-test"
T0 = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


def event(
    shopper: str,
    name: EventName,
    *item_ids: str,
    minute: float = 0.0,
    event_id: str | None = None,
    load_id: str | None = None,
    locale: str | None = None,
    consent: dict[str, bool] | None = None,
) -> Event:
    """An event of `u-<shopper>` at a minute after T0."""
    at = T0 + timedelta(minutes=minute)
    return Event(
        event_name=name,
        occurred_at=at,
        received_at=at,
        event_id=event_id or f"{shopper}-{name}-{'-'.join(item_ids)}-{minute}",
        user_id=shopper,
        session_id="s1",
        items=tuple(EventItem(item_id=i, price=Decimal("9.50"), category="tea", brand="b") for i in item_ids),
        currency="EUR" if item_ids else None,
        transaction_id=f"o-{shopper}-{minute}" if name in ("purchase", "refund") else None,
        consent=consent,
        context=Context(locale=locale) if locale else None,
        load_id=load_id,
    )


def partition_of_event(one: Event) -> int:
    """Where an event belongs."""
    return partition_of(record_key_of(one), PARTITIONS)


def outgoing(one: Event) -> Outgoing:
    """An event on its way to the log."""
    return Outgoing(EVENTS, partition_of_event(one), record_key_of(one), encode(one))


@dataclass
class Log:
    """A log in memory: appends records and cuts batches out of it."""

    name: str = LOG
    records: dict[int, list[ArchivedRecord]] = field(default_factory=dict)

    def append(self, *events: Event) -> None:
        """Each event at the end of its partition."""
        for one in events:
            self.append_raw(partition_of_event(one), encode(one), record_key_of(one).encode())

    def append_raw(
        self, partition: int, value: bytes | None, key: bytes | None = None, timestamp: int = to_ms(T0)
    ) -> int:
        """Any bytes, at the end of a partition, written at a time (ms); the offset."""
        of_it = self.records.setdefault(partition, [])
        of_it.append(ArchivedRecord(len(of_it), key, value, timestamp))
        return len(of_it) - 1

    def batches(self, start: int = 0, stop: int | None = None) -> Sequence[PartitionBatch]:
        """The records from offset `start` on, up to `stop`, of every partition."""
        return [
            PartitionBatch(p, self.name, records[start:stop])
            for p, records in sorted(self.records.items())
            if records[start:stop]
        ]
