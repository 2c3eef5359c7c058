"""The demo's figures: what `--json` writes."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from streams.demo.site import Site
from streams.trainer import Report


class Latency(msgspec.Struct, frozen=True):
    """One client, one call after the other; milliseconds."""

    calls: int
    p50_ms: float
    p99_ms: float


class Figures(msgspec.Struct):
    """Seconds per stage, what was loaded, each model's metrics, latencies."""

    events_taken: int = 0
    lines_read: int = 0
    lines_refused: int = 0
    seconds: dict[str, float] = {}
    models: dict[str, dict[str, float]] = {}
    fusion_weights: dict[str, dict[str, float]] = {}
    page_view: Latency | None = None
    event_to_changed_list: Latency | None = None

    def take(self, report: Report) -> None:
        """Note how a training did."""
        self.models = {one.name: one.means() for one in report.evaluations}
        self.fusion_weights = {task: msgspec.structs.asdict(line) for task, line in report.manifest.weights.items()}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times one stage."""
        begin = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begin, 1)


def measure_page_views(site: Site, shoppers: list[str], calls: int = 300) -> Latency:
    """Lists for the shoppers in turn."""
    return _timed(calls, lambda i: site.list_for(shoppers[i % len(shoppers)], count=20))


def measure_changes(site: Site, shoppers: list[str], item_ids: list[str], calls: int = 50) -> Latency:
    """From the post of a click to the answer that knows of it."""

    def click_and_look(i: int) -> dict[str, Any]:
        shopper = shoppers[i % len(shoppers)]
        token = site.post_event(shopper, "view_item", {"item_id": item_ids[i % len(item_ids)]})
        return site.list_for(shopper, token, count=20)

    return _timed(calls, click_and_look)


def _timed(calls: int, call: Callable[[int], object]) -> Latency:
    taken = []
    for i in range(calls):
        begin = time.perf_counter()
        call(i)
        taken.append((time.perf_counter() - begin) * 1000)
    taken.sort()
    return Latency(calls, round(taken[calls // 2], 2), round(taken[int(calls * 0.99)], 2))
