"""Fold, Feast's online write and the fence, without scoring: how many events a second one worker applies."""

from collections.abc import Iterator
from itertools import islice
from typing import Final

from infra.kafka import Outgoing
from infra.keys import split_record_key
from tests.benchmarks.streams_figures import Bar, Found, rates, shares, slope_mib_per_min, stood_still, worked
from tests.benchmarks.streams_shop import BEFORE_TAOBAO, Shoppers, not_full, taobao
from tests.benchmarks.streams_stage import PARTITIONS, Ground, Stage, meters, stage, watched

DIFFERENT: Final = Bar("all different: events/s", 10_000)
TEN: Final = Bar("ten each: events/s", 30_000)
# Memory that grows by more than this a minute is not flat: five minutes of it would be 10 MiB.
FLAT: Final = Bar("memory: MiB/min", 2, most=True)
_SPARE: Final = 1.4
_CHECKED: Final = 200


def all_different(ground: Ground) -> Found:
    """Every event of a batch is another shopper's."""
    shoppers = Shoppers(ground.names(), ground.seed, PARTITIONS)
    return _five_minutes(ground, "different", shoppers, shoppers.all_different(), DIFFERENT)


def ten_each(ground: Ground) -> Found:
    """Ten events per shopper and batch."""
    shoppers = Shoppers(ground.names(), ground.seed, PARTITIONS)
    return _five_minutes(ground, "ten each", shoppers, shoppers.ten_each(), TEN)


def _five_minutes(ground: Ground, name: str, shoppers: Shoppers, events: Iterator[Outgoing], bar: Bar) -> Found:
    seconds, warm_s, window_s = (20.0, 5.0, 2.0) if ground.quick else (300.0, 15.0, 5.0)
    with stage(ground, name.replace(" ", "-")) as on:
        missed = prepare(on, shoppers)
        rate = probed(on, events, 20_000 if ground.quick else 100_000)
        total = on.fill(islice(events, int(rate * (warm_s + seconds) * _SPARE)))
        with on.worker() as worker:
            watched(on, [worker], warm_s, total)
            before = meters(worker)
            samples = watched(on, [worker], seconds, total)
            after = meters(worker)
        found, grows = rates(samples, window_s), slope_mib_per_min(samples)
        print(f"{name:<10} {found}, {worked(before, after)}, longest stand {stood_still(samples):.1f} s")
        print(
            f"{'':<10} worker's memory {samples[0].rss_mib:.0f} → {samples[-1].rss_mib:.0f} MiB, {grows:+.2f} MiB/min"
        )
        print(f"{'':<10} time: {shares(before, after)}", flush=True)
        missed += [bar.missed(found.mean), *refusals(before.refused, after.refused), *_rows(on)]
        if not ground.quick:  # a short run still fills its caches
            missed.append(FLAT.missed(grows))
        if samples[-1].applied >= total:
            missed.append(f"{name}: the log of {total:,} ran out, so the worker waited for nothing to do")
    return Found(f"{name} {found.mean:,.0f} events/s", [one for one in missed if one])


def taobao_pattern(ground: Ground) -> Found:
    """A file of Taobao's in its own order; its shoppers have full rows before. Stated, no bar."""
    assert ground.source is not None, "main() asks for it"
    events = taobao(ground.source, PARTITIONS, 20_000 if ground.quick else None)
    names = list(dict.fromkeys(split_record_key(record.key)[1].removeprefix("u-") for record in events))
    with stage(ground, "taobao") as on:
        missed = prepare(on, Shoppers(names, ground.seed, PARTITIONS, BEFORE_TAOBAO))
        begin = on.total
        total = on.fill(events)
        with on.worker() as worker:
            # The first fifth warms up, the last tenth may have fewer partitions left: neither counts.
            on.until_applied(worker, begin + len(events) // 5)
            before = meters(worker)
            samples = watched(on, [worker], 600.0, total - len(events) // 10)
            after = meters(worker)
            on.until_applied(worker, total)
        found = rates(samples, 1.0 if ground.quick else 2.0)
        print(f"{'taobao':<10} {found}, {worked(before, after)}; {len(events):,} events of {len(names):,} shoppers")
        print(f"{'':<10} time: {shares(before, after)}", flush=True)
        missed += refusals(before.refused, after.refused)
    return Found(f"taobao {found.mean:,.0f} events/s", missed)


def prepare(on: Stage, shoppers: Shoppers, *, live: bool = False) -> list[str]:
    """Full rows for all of them, written through the pipeline; what is wrong with them."""
    total = on.fill(shoppers.prepared(live=live))
    with on.worker() as worker:
        on.until_applied(worker, total)
    rows = on.rows(_CHECKED)
    row_bytes = sum(map(len, rows)) / len(rows)
    print(f"{'':<10} {len(shoppers.names):,} full rows prepared, {row_bytes:,.0f} bytes each", flush=True)
    return _rows(on)


def probed(on: Stage, events: Iterator[Outgoing], many: int) -> float:
    """Roughly how many events a second will be applied, so that enough of them are put on the log."""
    begin = on.total
    total = on.fill(islice(events, many))
    with on.worker() as worker:
        on.until_applied(worker, begin + many // 10)
        samples = watched(on, [worker], 60.0, total)
    return rates(samples, 1.0).mean


def refusals(before: float, after: float) -> list[str]:
    """Events that were not applied: there must be none."""
    return [f"{after - before:,.0f} events were refused, late or duplicates"] if after > before else []


def _rows(on: Stage) -> list[str]:
    wrong = not_full(on.states(_CHECKED))
    return [f"{len(wrong)} of {_CHECKED} rows are not full: {wrong[0]}"] if wrong else []
