"""The demo's figures: what `--json` writes."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from models.artifact import Manifest
from models.fusion import SOURCES
from streams.demo.site import Shopper, Site, places

_LOOKED_AT: Final = 20  # items of a list

Seconds = Callable[[], float]


class Latency(msgspec.Struct, frozen=True):
    """One client, one call after the other; milliseconds."""

    calls: int
    p50_ms: float | None
    p99_ms: float | None


class Changes(msgspec.Struct, frozen=True):
    """From a click to the list that knows of it, one after the other; milliseconds of those that succeeded.

    `stale` lists were given up on before they knew of the click, `unchanged` ones knew of it and were as before: both
    failed.
    """

    calls: int
    stale: int
    unchanged: int
    p50_ms: float | None
    p99_ms: float | None


class Figures(msgspec.Struct):
    """Seconds per stage, what was loaded, each model's metrics, latencies; `unknown` says why something is null."""

    events_taken: int | None = None
    lines_read: int | None = None
    lines_refused: int | None = None
    seconds: dict[str, float] = {}
    model_version: str | None = None
    models: dict[str, dict[str, float]] = {}
    fusion_weights: dict[str, dict[str, float]] = {}
    page_view: Latency | None = None
    event_to_changed_list: Changes | None = None
    unknown: dict[str, str] = {}

    def take(self, manifest: Manifest) -> None:
        """Note how the model did, when it was trained."""
        self.model_version = manifest.version
        self.models = manifest.metrics
        self.fusion_weights = {
            task: {name: getattr(line, name) for name in SOURCES} for task, line in manifest.weights.items()
        }

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times one stage."""
        begin = time.monotonic()
        yield
        self.seconds[name] = round(time.monotonic() - begin, 1)


def measure_page_views(
    site: Site, shoppers: Sequence[str], calls: int = 300, seconds: Seconds = time.perf_counter
) -> Latency:
    """Lists for the shoppers in turn."""
    taken = []
    for i in range(calls):
        begin = seconds()
        site.list_for(shoppers[i % len(shoppers)], count=_LOOKED_AT)
        taken.append((seconds() - begin) * 1000)
    return Latency(calls, _percentile(taken, 0.5), _percentile(taken, 0.99))


def measure_changes(
    site: Site,
    shoppers: Sequence[Shopper],
    item_ids: Sequence[str],
    calls: int = 50,
    seconds: Seconds = time.perf_counter,
) -> Changes:
    """From the post of a click to the answer that knows of it and is another list than the one before.

    The shoppers are none of the story's: what they click on stays in their rows.
    """
    taken: list[float] = []
    failed: Counter[str] = Counter()
    for i in range(calls):
        shopper = shoppers[i % len(shoppers)]
        before = site.list_for(shopper, count=_LOOKED_AT)
        begin = seconds()
        token = site.post_event(shopper, "view_item", {"item_id": item_ids[i % len(item_ids)]})
        after = site.list_for(shopper, token, count=_LOOKED_AT)
        ms = (seconds() - begin) * 1000
        if after["freshness"]["stale"]:
            failed["stale"] += 1
        elif places(after) == places(before):
            failed["unchanged"] += 1
        else:
            taken.append(ms)
    return Changes(calls, failed["stale"], failed["unchanged"], _percentile(taken, 0.5), _percentile(taken, 0.99))


def _percentile(taken: Sequence[float], share: float) -> float | None:
    return round(sorted(taken)[int(len(taken) * share)], 2) if taken else None
