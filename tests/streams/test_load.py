"""Loading on a real Redis and the embedded broker: both ways give the same rows, a second load none."""

from dataclasses import replace
from datetime import UTC, date, datetime
from io import StringIO
from itertools import count
from pathlib import Path

import msgspec
from redis import Redis
from rich.console import Console

from features.archive import EventArchive
from features.events import event_time_ms, to_ms
from infra.settings import Settings
from streams.load import LoadRequest, load
from streams.load_report import LoadReport, print_report, write_report
from streams.progress import Phases
from tests.streams.files import REES46_HEADER, written
from tests.streams.loads import NOW, Consumer, direct, rows, run


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
    assert len(list(EventArchive(settings.archive_at).events())) == 40


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
    archived = list(EventArchive(settings.archive_at).events())
    assert {event.occurred_at.date() for event in archived} == {date(2026, 11, 2)}


def test_duplicates_within_a_file_and_times_that_tie(settings: Settings, empty: Redis, tmp_path: Path) -> None:
    line = "2019-10-01 00:00:00 UTC,view,7,99,,,1.00,5,s-1"
    other = "2019-10-01 00:00:00 UTC,view,8,99,,,1.00,5,s-1"
    path = written(tmp_path, "a.csv", REES46_HEADER, line, other, line, line)
    report = run(settings, LoadRequest(str(path), "rees46", direct=True))
    assert (report.lines_read, report.events, report.lines_repeated) == (4, 2, 2)
    assert report.applied["applied"] == 2


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


def test_an_older_file_for_known_shoppers_is_on_the_log_and_changes_no_row(
    settings: Settings, empty: Redis, tmp_path: Path
) -> None:
    """The worker passes over what is too late. The table does not pretend otherwise."""
    view = '{{"event_name": "page_view", "user_id": "late-one", "occurred_at": "20{}-01-01T00:00:00Z"}}'
    new, old = (str(written(tmp_path, f"{year}.jsonl", view.format(year))) for year in (21, 20))
    with Consumer(settings):
        run(settings, LoadRequest(new, "jsonlines"))
        before = rows(empty)
        report = run(settings, LoadRequest(old, "jsonlines"))
        assert rows(empty) == before
    shown = StringIO()
    print_report(report, Console(file=shown, width=120))
    assert "taken" not in shown.getvalue().replace("items taken", "")
    assert "│ on the log" in shown.getvalue()
    assert "older than the allowed lateness" in " ".join(shown.getvalue().split())


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
    [event] = EventArchive(settings.archive_at).events()
    assert (event.items[0].category, event.items[0].brand, str(event.items[0].price)) == ("Tea", "Leaf", "3")
    assert event_time_ms(event) == to_ms(datetime(2020, 1, 1, tzinfo=UTC))


def test_a_catalogue_of_one_item_leaves_the_stored_ones_known(settings: Settings, empty: Redis, tmp_path: Path) -> None:
    """What the load brings counts, facet by facet; the rest is taken from the catalogue that is there."""
    header = "id,name,category,brand,price"
    stored = written(tmp_path, "items.csv", header, "t1,Tea,Food > Tea,Leaf,3 EUR", "p1,Pot,Pots,Clay,9 EUR")
    run(settings, LoadRequest(items=stored, direct=True))
    view = (
        '{"event_name": "view_item", "user_id": "u", "occurred_at": "2020-01-01T00:00:00Z", '
        '"items": [{"item_id": "t1"}, {"item_id": "p1"}, {"item_id": "k1"}]}'
    )
    events = str(written(tmp_path, "a.jsonl", view))
    brought = written(tmp_path, "one.csv", header, "k1,Cup,Cups,Clay,2 EUR", "p1,Large pot,Large pots,Clay,")
    report = run(settings, LoadRequest(events, "jsonlines", items=brought, direct=True))
    assert report.items == 2
    [event] = EventArchive(settings.archive_at).events()
    told = [(line.category, line.brand, str(line.price)) for line in event.items]
    assert told == [("Tea", "Leaf", "3"), ("Large pots", "Clay", "9"), ("Cups", "Clay", "2")]


def test_the_table_and_the_file(settings: Settings, empty: Redis, retail: Path, tmp_path: Path) -> None:
    report = run(settings, direct(retail))
    shown = StringIO()
    print_report(report, Console(file=shown, width=120))
    assert "refused: postage" in shown.getvalue()
    assert "│ taken" in shown.getvalue()
    assert "on the log" not in shown.getvalue()
    assert "unaccounted" not in shown.getvalue()
    write_report(report, tmp_path / "report.json")
    assert msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=LoadReport) == report
