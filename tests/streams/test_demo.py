"""The demo's own proofs: who plays, what its figures say, and what it does not know."""

import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO
from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from infra.clock import ManualClock
from infra.errors import Refused
from infra.keys import partition_of, record_key
from infra.settings import Settings
from models.artifact import write
from models.release import release
from streams.demo.command import _invite, _stay
from streams.demo.figures import Changes, Figures, measure_changes
from streams.demo.shop import SHOPPERS, Counts, PreparedShop, Remembered, counts_of, note_counts, use_released
from streams.demo.site import Shopper, Site
from streams.demo.visit import Cast, StoryBroken, Visit, cast_of, item_to_click
from streams.load_report import LoadReport
from tests.models.test_artifact import IDS, TOWER, arrays, manifest


@given(visit=st.integers(1, 40), partitions=st.sampled_from([1, 2, 8, 64, 1024]))
def test_buyer_and_bystander_are_two_of_one_partition(visit: int, partitions: int) -> None:
    """So the bystander's message proves that the buyer's would have come before it."""
    cast = cast_of(visit, SHOPPERS, "default", partitions)
    assert cast.shopper == SHOPPERS[(visit - 1) % len(SHOPPERS)]
    assert cast.bystander != cast.shopper
    homes = {partition_of(record_key("default", f"u-{who}"), partitions) for who in (cast.shopper, cast.bystander)}
    assert len(homes) == 1


class Shop(Site):
    """Answers with these lists, one after the other (a capital letter: with another reason); a second passes with
    each call.
    """

    def __init__(self, *answers: tuple[str, bool]) -> None:
        super().__init__("nowhere", 0, ManualClock(0))
        self._answers: Iterator[tuple[str, bool]] = iter(answers)
        self.posted = 0

    def list_for(self, shopper: Shopper, token: str | None = None, count: int = 8) -> dict[str, Any]:
        items, stale = next(self._answers)
        lines = [{"item_id": item.lower(), "reasons": [{"text": f"because {item}"}]} for item in items]
        return {"items": lines, "freshness": {"stale": stale}}

    def post_event(self, shopper: Shopper, name: str, *items: dict[str, Any]) -> str:
        self.posted += 1
        return "token"


def changes(*answers: tuple[str, bool]) -> Changes:
    ticks = count()
    return measure_changes(Shop(*answers), ["ann"], ["tea"], len(answers) // 2, seconds=lambda: float(next(ticks)))


def test_a_stale_list_and_one_that_is_as_before_fail_and_are_counted() -> None:
    fresh, stale, same = ("ba", False), ("ba", True), ("ab", False)
    before = ("ab", False)
    assert changes(before, fresh, before, stale, before, same) == Changes(3, 1, 1, 1000.0, 1000.0)
    assert changes(before, stale) == Changes(1, 1, 0, None, None)
    assert changes(before, fresh) == Changes(1, 0, 0, 1000.0, 1000.0)


def test_the_same_items_for_another_reason_are_another_list() -> None:
    assert changes(("ab", False), ("aB", False)).unchanged == 0


def test_visitors_who_are_measured_are_new_at_each_start() -> None:
    clock = ManualClock(1000)
    site = Site("nowhere", 0, clock)
    first = site.visitors(10)
    clock.move_ms(1)
    assert len({*first, *site.visitors(10)}) == 20


def line(item: str, because: str = "") -> dict[str, Any]:
    reason = {"text": because or "popular", "evidence": {"item_id": because} if because else {}}
    return {"item_id": item, "reasons": [reason], "properties": {}, "position": 1}


def answer(*items: dict[str, Any]) -> dict[str, Any]:
    fresh = {"stale": False, "lag_ms": 0}
    return {"items": list(items), "freshness": fresh, "model_version": "m", "took_ms": 1.0, "fallback": {}}


def test_the_item_to_click_is_the_reason_of_nothing_yet_and_alike_to_most() -> None:
    plain = [line(name) for name in "abcdefghij"]
    alike = {"b": "ac", "c": "adefj"}
    assert item_to_click(answer(*plain), lambda item: alike.get(item, ""))["item_id"] == "c"
    assert item_to_click(answer(*plain[:9], line("j", "c")), lambda item: alike.get(item, ""))["item_id"] == "b"
    assert item_to_click(answer(line("a", "b"), line("b", "a")), lambda _: "")["item_id"] == "a", "all are: any will do"


class Told(Site):
    """Answers with one list before the click, and one after it."""

    def __init__(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        super().__init__("nowhere", 0, ManualClock(0))
        self._lists = iter([before, after])

    def list_for(self, shopper: Shopper, token: str | None = None, count: int = 8) -> dict[str, Any]:
        return next(self._lists, {"items": []})

    def similar_to(self, item_id: str) -> set[str]:
        return set()

    def post_event(self, shopper: Shopper, name: str, *items: dict[str, Any]) -> str:
        return "token"

    def messages_after(self, cursor: str | None) -> tuple[list[dict[str, Any]], str | None]:
        return [], cursor


def told(tmp_path: Path, before: dict[str, Any], after: dict[str, Any]) -> str:
    """What the story says up to the cart, which no file can move the clock for."""
    out = StringIO()
    visit = Visit(
        Told(before, after),
        Console(file=out, width=200),
        tmp_path / "no" / "clock",
        60,
        log_file=Path("logs/worker.log"),
    )
    with pytest.raises((StoryBroken, FileNotFoundError)) as ended:
        visit.tell(Cast("ann", "bob"))
    return f"{out.getvalue()}{ended.value}"


def test_a_click_that_gives_the_same_items_new_reasons_is_a_change(tmp_path: Path) -> None:
    before = [line(name) for name in "abcdefghij"]
    story = told(tmp_path, answer(*before), answer(*before[:9], line("j", "c")))
    assert "1 of 20 places have another item or another reason" in story
    assert "goes into the cart" in story


def test_a_click_that_changes_nothing_breaks_the_story_and_names_the_log(tmp_path: Path) -> None:
    before = [line(name) for name in "abcdefghij"]
    story = told(tmp_path, answer(*before), answer(*before))
    assert "neither item nor reason; the worker's log is logs/worker.log" in story


def report(events: int, lines: int) -> LoadReport:
    return LoadReport(
        source="s", mapping="m", load_id="l", way="direct", lines_read=lines, lines_taken=0, lines_repeated=0,
        lines_left_out=0, refused={}, events=events, items=0, items_refused={}, moved_days=0, first_event_at=None,
        last_event_at=None, applied={}, seconds={},
    )  # fmt: skip


def test_both_parts_of_the_year_read_the_same_lines() -> None:
    assert counts_of([report(100, 900), report(20, 900)]) == Counts(events_taken=120, lines_read=900, lines_refused=0)


def test_a_second_start_knows_what_the_first_one_loaded() -> None:
    memory = Remembered(date(2026, 11, 23), loaded=True, counts=Counts(120, 900, 3))
    kept = msgspec.json.decode(msgspec.json.encode(memory), type=Remembered)
    figures = Figures()
    note_counts(figures, kept)
    assert (figures.events_taken, figures.lines_read, figures.lines_refused) == (120, 900, 3)
    assert figures.unknown == {}


def test_what_is_not_known_is_null_with_the_reason_and_never_zero() -> None:
    figures = Figures()
    note_counts(figures, msgspec.json.decode(b'{"year_ends": "2026-11-23", "loaded": true}', type=Remembered))
    told = msgspec.json.decode(msgspec.json.encode(figures))
    assert told["events_taken"] is told["lines_read"] is told["lines_refused"] is None
    assert set(told["unknown"]) == {"events_taken", "lines_read", "lines_refused"}


def test_a_second_start_reports_the_model_in_service(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, tenant="default")
    figures = Figures()
    assert not use_released(settings, figures)
    write(settings.models_dir, manifest("v7"), arrays(), TOWER, IDS)
    release(settings.models_dir, "v7", datetime(2026, 11, 1, tzinfo=UTC), None, force="a test")
    assert use_released(settings, figures)
    assert (figures.model_version, figures.models) == ("v7", manifest().metrics)
    assert figures.fusion_weights["all"]["item_to_item"] == pytest.approx(0.5)


def prepared(tmp_path: Path, *ends: BaseException) -> PreparedShop:
    """A shop that is looked at once for each of these, the last of which ends it."""
    left = iter(ends)

    def check() -> None:
        raise next(left)

    return PreparedShop(
        "h", 1, "http://h:1", Settings(data_dir=tmp_path), ("ann",), ["tea"], tmp_path / "worker.log", check
    )


def test_a_broken_story_is_said_the_shop_stays_up_and_the_end_is_the_error(tmp_path: Path) -> None:
    out, broken = StringIO(), StoryBroken("the demo's story broke: no [b]list[/b]")
    console = Console(file=out, width=200)
    with pytest.raises(StoryBroken):
        _stay(prepared(tmp_path, KeyboardInterrupt()), console, broken, pause_s=0.0)
    assert "no [b]list[/b]\nThe shop stays up all the same" in out.getvalue()
    with pytest.raises(KeyboardInterrupt):
        _stay(prepared(tmp_path, KeyboardInterrupt()), console, None, pause_s=0.0)


def test_the_examples_to_try_are_of_nobody_in_the_story(tmp_path: Path) -> None:
    out = StringIO()
    _invite(prepared(tmp_path), Console(file=out, width=500))
    assert "anonymous_id" in out.getvalue()
    assert not any(shopper in out.getvalue() for shopper in ("user_id", "ann"))


def test_a_shop_that_got_keys_meanwhile_ends_the_demo_with_what_happened() -> None:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b'{"detail": "Give a known key."}'
            self.send_response(401)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        with pytest.raises(Refused, match="has keys now"):
            Site("127.0.0.1", server.server_port, ManualClock(0)).similar_to("tea")
