"""Lists and events read by time, each once, wherever they lie."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr

from features.archive import EventArchive, archive_row
from features.events import encode
from infra.errors import NotEmbedded
from infra.kafka import Outgoing
from infra.kafka_admin import log_id
from infra.settings import Settings
from infra.topics import DECISIONS, EVENTS
from serving import decisions
from streams.decision_reading import DecisionReading, EventReading, Period, opened
from tests.bulk import BulkProducer
from tests.streams.lists import HOUR_MS, START_MS, decision
from tests.streams.shop import LOG, PARTITIONS, T0, event, outgoing, partition_of_event

T0_MS = int(T0.timestamp() * 1000)


@pytest.fixture
def here(broker: str, tmp_path: Path) -> Settings:
    return Settings(
        kafka=broker,
        redis=SecretStr("redis://127.0.0.1:1/0"),  # nobody asks it
        embedded_log=LOG,
        data_dir=tmp_path,
        partitions=PARTITIONS,
    )


def produced(settings: Settings, *records: Outgoing) -> None:
    bulk = BulkProducer(settings.kafka, embedded=True)
    bulk.send_all(records)
    bulk.close()


def test_lists_are_read_by_time_each_once_and_those_of_other_shops_never(here: Settings) -> None:
    made = [decision(f"r{n}", ["tea"], hour=n) for n in range(4)]
    foreign = msgspec.structs.replace(decision("r9", ["tea"], hour=1), tenant="other")
    raws = [*map(decisions.encode, [*made, made[1], foreign]), b"no list", None]
    produced(here, *(Outgoing(DECISIONS, n % PARTITIONS, "k", raw) for n, raw in enumerate(raws)))
    reading, period, read = DecisionReading(here), Period(START_MS + HOUR_MS, START_MS + 3 * HOUR_MS), list[int]()
    spans = reading.spans(period)
    found = [one.recommendation_id for one in reading.read(spans, period, read.append)]
    assert sorted(found) == ["r1", "r2"]
    assert (reading.passed.repeated, reading.passed.unreadable) == (1, 2)
    assert sum(read) == len(raws)
    assert not reading.forgotten(spans)


def test_events_come_from_archive_and_log_each_once(here: Settings) -> None:
    """The first half is archived; one event was sent twice, and one is of history that never was on the log."""
    events = [event("ann", "view_item", "tea", minute=n) for n in range(10)]
    events.append(events[7])
    produced(
        here, *map(outgoing, events), outgoing(event("ann", "search", minute=3)), outgoing(event("bob", "purchase"))
    )
    log = log_id(here.brokers, EVENTS, LOG)
    home = partition_of_event(events[0])
    old = event("ann", "view_item", "tart", minute=2, load_id="load-1")
    archive = EventArchive(here.archive_at)
    archive.write(archive_row((log, home, n), T0_MS, b"k", encode(one)) for n, one in enumerate(events[:5]))
    archive.write([archive_row(("load-1", home, 0), T0_MS, b"k", encode(old))])
    reading = EventReading(here, ["view_item"])
    minute = 60_000
    found = list(reading.read(Period(T0_MS + minute, T0_MS + 9 * minute), lambda _: None))
    assert sorted(one.event_id for one in found) == sorted([old.event_id, *(one.event_id for one in events[1:9])])
    assert reading.passed.repeated == 1
    assert all(one.received_at is not None and one.received_at - T0 < timedelta(minutes=9) for one in found)


def test_without_a_running_shop_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(NotEmbedded, match="forgets the lists"):
        opened(Settings(data_dir=tmp_path))
