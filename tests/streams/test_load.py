"""Loading on a real Redis and the embedded broker: both ways give the same rows, a second load none."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis import Redis
from rich.console import Console

from features.archive import EventArchive
from features.catalog import decode_record
from features.catalog_store import CatalogStore
from features.events import event_time_ms, to_ms
from infra import redis as infra_redis
from infra.clock import ManualClock
from infra.errors import BadInput, Refused
from infra.kafka import Follower, log_id
from infra.keys import LIVE
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS
from streams.batch import PartitionBatch
from streams.holds import Hold
from streams.load import LoadRequest, load, load_command
from streams.load_report import LoadReport, print_report, write_report
from streams.pipeline import build_pipeline
from streams.progress import Phases
from streams.spool import Window
from tests.streams.files import REES46_HEADER, RETAIL_HEADER, retail_line, written

NOW = ManualClock(to_ms(datetime(2026, 11, 24, 12, tzinfo=UTC)))


@pytest.fixture
def empty(redis_url: str) -> Iterator[Redis]:
    """A client of an empty Redis for code that blocks."""
    client = Redis.from_url(redis_url)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def retail(tmp_path: Path) -> Path:
    """Forty invoices of seven customers and some strangers, not in the order of time."""
    lines = [
        retail_line(
            f"5{n:05}", f"8{m}", m + 1, f"{m + 1}.50",
            at=f"2011-03-{1 + (n * 7) % 28:02} 10:00:00",
            customer=f"178{n % 7:02}.0" if n % 8 else "",
        )
        for n in range(40)
        for m in range(1 + n % 5)
    ]  # fmt: skip
    return written(tmp_path, "retail.csv.gz", RETAIL_HEADER, *lines, lines[0], retail_line("9", "POST"), packed=True)


def quietly() -> Phases:
    return Phases(Console(file=StringIO()))


def run(settings: Settings, request: LoadRequest, phases: Phases | None = None) -> LoadReport:
    with phases or quietly() as shown:
        return load(settings, request, shown, NOW)


def direct(source: Path, **window: object) -> LoadRequest:
    return LoadRequest(str(source), "online-retail", direct=True, window=msgspec.convert(window, Window))


def rows(redis: Redis) -> dict[bytes, bytes | None]:
    keys: list[Any] = sorted(redis.scan_iter("daogou:*:row:*"))
    values: Any = redis.mget(keys) if keys else []
    return dict(zip(keys, values, strict=True))


def test_a_load_and_the_same_again(settings: Settings, empty: Redis, retail: Path) -> None:
    first = run(settings, direct(retail))
    assert first.lines_read == 122
    assert (first.lines_taken, first.lines_repeated, first.lines_refused) == (120, 1, 1)
    assert first.lines_unaccounted == 0
    assert (first.events, first.items, first.applied["applied"]) == (40, 5, 40)
    assert first.applied["late"] == first.applied["dead letters"] == 0
    held = rows(empty)
    assert len(held) == 12
    again = run(settings, direct(retail))
    assert rows(empty) == held
    assert (again.applied["applied"], again.applied["archived"]) == (0, 0)
    assert again.applied["applied before"] == 40
    assert len(list(EventArchive(settings.archive_dir).events())) == 40


class PlugPulledError(Exception):
    """Somebody pulled the plug."""


class Plug(Phases):
    """Is pulled when a phase has come so far."""

    def __init__(self, phase: str, after: int) -> None:
        super().__init__(Console(file=StringIO()))
        self._pulled_in, self._after = phase, after

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        with super().phase(name, total, unit) as advance:
            done = 0

            def advanced(more: int) -> None:
                nonlocal done
                done += more
                advance(more)
                if name == self._pulled_in and done >= self._after:
                    raise PlugPulledError

            yield advanced


@pytest.mark.parametrize(
    ("phase", "after"), [("read", 1), ("archived", 1), ("catalogue", 3), ("applied", 1), ("applied", 20)]
)
def test_a_load_that_was_interrupted_goes_on(
    phase: str, after: int, settings: Settings, empty: Redis, retail: Path
) -> None:
    run(settings.model_copy(update={"data_dir": settings.data_dir / "whole"}), direct(retail))
    whole = rows(empty)
    empty.flushall()
    with pytest.raises(PlugPulledError):
        run(settings, direct(retail), Plug(phase, after))
    report = run(settings, direct(retail))
    assert rows(empty) == whole
    applied = report.applied
    assert applied["applied"] + applied["applied before"] == 40


def test_overlapping_loads_of_one_file_are_one(settings: Settings, empty: Redis, retail: Path) -> None:
    run(settings.model_copy(update={"data_dir": settings.data_dir / "whole"}), direct(retail))
    whole = rows(empty)
    empty.flushall()
    middle = datetime(2011, 3, 15, tzinfo=UTC)
    before = run(settings, direct(retail, until=middle))
    after = run(settings, direct(retail, since=middle))
    assert before.events + after.events == 40
    assert before.lines_left_out == after.lines_taken
    assert before.lines_unaccounted == after.lines_unaccounted == 0
    assert rows(empty) == whole


def test_a_window_counts_what_it_leaves_out(settings: Settings, empty: Redis, retail: Path) -> None:
    report = run(settings, direct(retail, limit=3, moved_to=date(2026, 11, 23)))
    assert report.events == 3
    assert report.moved_days == 5725
    assert report.lines_taken + report.lines_left_out == 120
    archived = list(EventArchive(settings.archive_dir).events())
    assert {event.occurred_at.date() for event in archived} == {date(2026, 11, 2)}


def test_duplicates_within_a_file_and_times_that_tie(settings: Settings, empty: Redis, tmp_path: Path) -> None:
    line = "2019-10-01 00:00:00 UTC,view,7,99,,,1.00,5,s-1"
    other = "2019-10-01 00:00:00 UTC,view,8,99,,,1.00,5,s-1"
    path = written(tmp_path, "a.csv", REES46_HEADER, line, other, line, line)
    report = run(settings, LoadRequest(str(path), "rees46", direct=True))
    assert (report.lines_read, report.events, report.lines_repeated) == (4, 2, 2)
    assert report.applied["applied"] == 2


def test_refused_while_a_worker_holds_the_namespace(settings: Settings, empty: Redis, retail: Path) -> None:
    async def held() -> None:
        client = await infra_redis.connect(settings.redis, 5000)
        await Hold(client, LIVE, "worker", alone=False).take()
        await client.aclose()

    asyncio.run(held())
    with pytest.raises(Refused, match="held by a worker"):
        run(settings, direct(retail))
    assert rows(empty) == {}


class Consumer:
    """A worker in a thread: applies what is on the log by the worker's own pipeline and store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._consume()))

    def __enter__(self) -> "Consumer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    async def _consume(self) -> None:
        settings = self._settings
        client = await infra_redis.connect(settings.redis, 5000)
        logs = {topic: log_id(settings.kafka, topic, settings.embedded_log) for topic in (EVENTS, CATALOG)}
        followers = {topic: Follower(settings.kafka, topic, "start", embedded=True) for topic in logs}
        pipeline, items = build_pipeline(settings, client), CatalogStore(client)
        await pipeline.claim(range(settings.partition_count), logs[EVENTS])
        while not self._ending.is_set():
            for topic, follower in followers.items():
                for record in await asyncio.to_thread(follower.read, 1000, 0.01):
                    where = record.partition, logs[topic]
                    if topic == EVENTS:
                        await pipeline.apply([PartitionBatch(*where, [record])])
                    else:
                        facet = decode_record(record.key, record.value)
                        await items.apply(record.partition, [facet], logs[topic], record.offset)
        for follower in followers.values():
            follower.close()
        await client.aclose()


def test_through_the_log_gives_the_same_rows(settings: Settings, empty: Redis, retail: Path) -> None:
    run(settings, direct(retail))
    whole = rows(empty)
    empty.flushall()
    through = replace(direct(retail), direct=False)
    with Consumer(settings):
        report = run(settings, through)
        loaded = {key: value for key, value in rows(empty).items() if key in whole}
        run(settings, through)
        again = {key: value for key, value in rows(empty).items() if key in whole}
    assert report.lines_unaccounted == 0
    assert report.applied == {"catalogue records": 10, "events sent": 40}
    assert loaded == again == whole


def test_nothing_consumes_is_said_and_waited_for(settings: Settings, empty: Redis, retail: Path) -> None:
    heard = StringIO()
    worker = Consumer(settings)

    class Starting(Phases):
        def say(self, text: str) -> None:
            super().say(text)
            if "nothing consumes shop.catalog.v1" in text:
                worker.__enter__()

    with Starting(Console(file=heard, width=80), monotonic=count().__next__) as phases:
        load(settings, replace(direct(retail), direct=False), phases, NOW)
    worker.__exit__()
    [said] = [line for line in heard.getvalue().splitlines() if "nothing consumes" in line]
    assert "start `daogou worker`" in said
    assert said.endswith(" records wait for it)")  # in one line, however narrow the terminal


def test_live_events_are_not_history(settings: Settings, empty: Redis, tmp_path: Path) -> None:
    old = '{"event_name": "page_view", "user_id": "u", "occurred_at": "2026-10-01T00:00:00Z"}'
    new = '{"event_name": "page_view", "user_id": "u", "occurred_at": "2026-11-24T00:00:00Z"}'
    path = written(tmp_path, "a.jsonl", old, new)
    request = LoadRequest(str(path), "jsonlines", live=True)
    with Consumer(settings):
        report = run(settings, request)
    assert (report.events, report.refused["too_old"].count) == (1, 1)


def test_events_are_completed_from_the_catalogue(settings: Settings, empty: Redis, tmp_path: Path) -> None:
    catalogue = written(tmp_path, "items.csv", "id,name,category,brand,price", "t1,Tea,Food > Tea,Leaf,3 EUR")
    view = (
        '{"event_name": "view_item", "user_id": "u", "occurred_at": "2020-01-01T00:00:00Z", '
        '"items": [{"item_id": "t1"}]}'
    )
    assert run(settings, LoadRequest(items=catalogue, direct=True)).items == 1
    run(settings, LoadRequest(str(written(tmp_path, "a.jsonl", view)), "jsonlines", direct=True))
    [event] = EventArchive(settings.archive_dir).events()
    assert (event.items[0].category, event.items[0].brand, str(event.items[0].price)) == ("Tea", "Leaf", "3")
    assert event_time_ms(event) == to_ms(datetime(2020, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    "request_",
    [
        LoadRequest(),
        LoadRequest("a.csv", "nothing"),
        LoadRequest("a.csv", "taobao", live=True, direct=True),
        LoadRequest("a.csv", "taobao", window=Window(limit=-1)),
        LoadRequest("a.csv", "taobao", window=Window(since=datetime(2017, 1, 1))),
    ],
)
def test_requests_that_do_not_fit_together(settings: Settings, request_: LoadRequest) -> None:
    window = request_.window
    with pytest.raises(BadInput):
        load_command(
            settings,
            request_.source,
            request_.mapping,
            live=request_.live,
            direct=request_.direct,
            since=window.since,
            limit=window.limit,
        )


def test_the_table_and_the_file(settings: Settings, empty: Redis, retail: Path, tmp_path: Path) -> None:
    report = run(settings, direct(retail))
    shown = StringIO()
    print_report(report, Console(file=shown, width=120))
    assert "refused: postage" in shown.getvalue()
    assert "unaccounted" not in shown.getvalue()
    write_report(report, tmp_path / "report.json")
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=LoadReport) == report
