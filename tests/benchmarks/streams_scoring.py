"""With scoring: from a live event to the changed list of its shopper, under a steady stream of events."""

from typing import Final

from tests.benchmarks.streams_figures import Bar, Found, shares, spread_ms, worked
from tests.benchmarks.streams_folding import prepare, refusals
from tests.benchmarks.streams_live import Timetable
from tests.benchmarks.streams_shop import ITEMS, Shoppers, release_random
from tests.benchmarks.streams_stage import PARTITIONS, BenchWorker, Ground, Stage, meters, stage

FULL: Final = 2_000
QUIET: Final = 50
_BARS: Final = {
    FULL: {"p50": Bar("2,000/s: p50 ms", 60, most=True), "p99": Bar("2,000/s: p99 ms", 250, most=True)},
    QUIET: {"p95": Bar("50/s: p95 ms", 40, most=True)},
}
_WATCHED: Final = {FULL: 10, QUIET: 1}
_WARM_S: Final = 3.0
_BEHIND_S: Final = 0.25


def scoring(ground: Ground) -> Found:
    """2,000 events a second, then 50; every list is made by a model of 20,000 items with random parameters."""
    with stage(ground, "scoring") as on:
        release_random(on.settings, ground.seed)
        shoppers = Shoppers(ground.names(), ground.seed, PARTITIONS)
        missed = prepare(on, shoppers)
        summary = []
        with on.worker() as worker:
            on.until_listed(worker, len(shoppers.names))
            Timetable(on, shoppers, QUIET, ground.seed).watch_lists(_WARM_S, 1)
            for rate in (QUIET, FULL):
                line, fell_short = _at(ground, on, worker, shoppers, rate)
                summary.append(line)
                missed += fell_short
    return Found("; ".join(summary), missed)


def _at(ground: Ground, on: Stage, worker: BenchWorker, shoppers: Shoppers, rate: int) -> tuple[str, list[str]]:
    seconds = 10.0 if ground.quick else 60.0
    before = meters(worker)
    seen = Timetable(on, shoppers, rate, ground.seed + rate).watch_lists(seconds, _WATCHED[rate])
    after = meters(worker)
    found = spread_ms(seen.changed_s)
    text = ", ".join(f"{name} {ms:,.1f}" for name, ms in found.items())
    print(f"{'scoring':<10} {rate:,} events/s, {ITEMS:,} items: event → changed list, ms: {text}; ", end="")
    print(f"{len(seen.changed_s):,} looked at, {seen.missed} never came, {worked(before, after)}, ", end="")
    print(f"generator at most {seen.late_s * 1000:.0f} ms behind")
    print(f"{'':<10} time: {shares(before, after)}", flush=True)
    missed = [bar.missed(found[name]) for name, bar in _BARS[rate].items()]
    missed += refusals(before.refused, after.refused)
    if seen.late_s > _BEHIND_S:
        missed.append(f"{rate:,}/s: the generator was {seen.late_s:.1f} s behind its timetable")
    if seen.missed:
        missed.append(f"{rate:,}/s: {seen.missed} lists never came")
    return f"{rate:,}/s p50 {found['p50']:,.0f} p95 {found['p95']:,.0f} p99 {found['p99']:,.0f} ms", [
        one for one in missed if one
    ]
