"""Page views per second of one API process on one core, beside those of another checkout.

    python -m tests.benchmarks.page_views [--seed N] [--runs N] [--seconds S] [--against CHECKOUT] [--quick]

One page view is `POST /v1/recommendations` with 20 items, their name and price. The API process has one core for itself
(if there are two), Redis, Kafka and the load the others. Every answer's status is checked; the page of each shopper is
looked through before and after, at 8 connections: 20 different items with their properties and reasons, nothing of the
cart, nothing bought, nothing sold out. Ends with one line, and with status 1 when an answer was wrong or a bar missed.

With --against the API of another checkout is measured in turns with this one: what counts is the ratio. Redis is
DAOGOU_REDIS if set (an empty database, emptied again), else `redis-server` if on PATH, else the embedded one;
Kafka is DAOGOU_KAFKA if set, else the embedded broker.
"""

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.redis import connect
from infra.settings import Settings
from tests.benchmarks import page_load
from tests.benchmarks.machine import ROOT, commit, cores, cpu_s, described, on_cores
from tests.benchmarks.page_load import Figures
from tests.benchmarks.page_servers import api, outside
from tests.benchmarks.page_shop import CANDIDATES, PageShop, this_hour

ITEMS, SHOPPERS = 20_000, 2_000
CONNECTIONS = (8, 1)
# What a page view must hold at 8 connections.
LEAST_RATE, MOST_P99_MS = 1_000.0, 25.0


@dataclass
class Measured:
    """The runs of one checkout, by number of connections, and what was wrong."""

    name: str
    runs: dict[int, list[Figures]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    cpu_us: dict[int, list[float]] = field(default_factory=lambda: {count: [] for count in CONNECTIONS})
    checked: int = 0
    faults: list[str] = field(default_factory=list)

    @property
    def wrong(self) -> int:
        """Answers that were not as they must be."""
        return len(self.faults) + sum(run.wrong for runs in self.runs.values() for run in runs)


@dataclass(frozen=True)
class Bench:
    """What every checkout is measured on."""

    options: argparse.Namespace
    settings: Settings
    shop: PageShop
    bodies: Path
    measured: frozenset[int]

    def measure(self, checkout: Path, into: Measured) -> None:
        """Start the API, look its pages through, one run for each number of connections, look again."""
        with api(self.settings, checkout, self.measured) as (port, pid):
            self._check(port, into)
            for connections in CONNECTIONS:
                used = cpu_s(pid)
                figures = page_load.run(port, self.shop.shoppers, self.bodies, connections, self.options.seconds)
                cpu_us = (cpu_s(pid) - used) / figures.requests * 1e6
                into.runs[connections].append(figures)
                into.cpu_us[connections].append(cpu_us)
                print(
                    f"{into.name:<10} {_connections(connections):<13} {figures.rate:>6,.0f} requests/s  "
                    f"p50 {figures.p50_ms:6.2f} ms  p99 {figures.p99_ms:6.2f} ms  CPU {cpu_us:4.0f} µs each  "
                    f"wrong {figures.wrong}",
                    flush=True,
                )
            self._check(port, into)

    def _check(self, port: int, into: Measured) -> None:
        count, faults = page_load.checked(port, self.shop, CONNECTIONS[0], rounds=1)
        into.checked += count
        into.faults += faults


def main() -> int:
    """Run the benchmark; 0 when every answer was right and the bars hold."""
    options = _options()
    divided = cores()
    print(f"machine    {described()}")
    print(f"commit     {commit()}" + (f", against {commit(options.against)}" if options.against else ""))
    with tempfile.TemporaryDirectory(prefix="daogou-bench-") as name, on_cores(divided.others):
        folder = Path(name)
        with outside(folder) as (settings, servers):
            shop = PageShop(options.seed, ITEMS, options.shoppers, this_hour())
            asyncio.run(_filled(settings, shop))
            bodies = folder / "bodies"
            bodies.write_bytes(b"\n".join(shopper.body for shopper in shop.shoppers) + b"\n")
            print(f"servers    {servers}; load by {page_load.generator()}")
            print(f"cores      API on {set(divided.measured)}, all else on {set(divided.others)}")
            print(
                f"data       {ITEMS:,} items, {options.shoppers:,} shoppers with shelves of {CANDIDATES}, "
                f"seed {options.seed}"
            )
            found = _measured(Bench(options, settings, shop, bodies, divided.measured))
    return _judged(found)


async def _filled(settings: Settings, shop: PageShop) -> None:
    client = await connect(settings.redis, 30_000)
    await shop.write(settings, client)
    await client.aclose()


def _measured(bench: Bench) -> list[Measured]:
    checkouts = {"this": ROOT} | ({"other": bench.options.against} if bench.options.against else {})
    found = {name: Measured(name) for name in checkouts}
    for number in range(bench.options.runs):
        # Who goes first takes turns, too.
        for name in sorted(checkouts, reverse=bool(number % 2)):
            bench.measure(checkouts[name], found[name])
    return [found[name] for name in checkouts]


def _judged(found: Sequence[Measured]) -> int:
    ours = found[0]
    for one in found:
        print(f"{one.name:<10} {one.checked:,} pages looked through, wrong: {one.wrong} {one.faults[:3] or ''}")
    for theirs in found[1:]:
        for connections in CONNECTIONS:
            pairs = zip(ours.runs[connections], theirs.runs[connections], strict=True)
            ratios = [mine.rate / other.rate for mine, other in pairs]
            cpu = [
                mine / other for mine, other in zip(ours.cpu_us[connections], theirs.cpu_us[connections], strict=True)
            ]
            print(
                f"ratio      {_connections(connections)}: {_spread(ratios, '.2f')} times the other's requests/s, "
                f"{_spread(cpu, '.2f')} times its CPU"
            )
    at_8 = ours.runs[CONNECTIONS[0]]
    rate, p99 = statistics.median(run.rate for run in at_8), statistics.median(run.p99_ms for run in at_8)
    missed = []
    if ours.wrong:
        missed.append(f"{ours.wrong} wrong answers")
    if rate < LEAST_RATE:
        missed.append(f"below {LEAST_RATE:,.0f} requests/s")
    if p99 > MOST_P99_MS:
        missed.append(f"p99 above {MOST_P99_MS:g} ms")
    print("page views: " + "; ".join(_line(ours, count) for count in CONNECTIONS) + f"; wrong {ours.wrong}; ", end="")
    print("MISSED: " + ", ".join(missed) if missed else "ok")
    return 1 if missed else 0


def _line(one: Measured, connections: int) -> str:
    runs = one.runs[connections]
    return (
        f"{_connections(connections)} {_spread([run.rate for run in runs], ',.0f')} requests/s, "
        f"p50 {_spread([run.p50_ms for run in runs], '.2f')} ms, p99 {_spread([run.p99_ms for run in runs], '.2f')} ms"
    )


def _connections(count: int) -> str:
    return f"{count} connection{'s' if count > 1 else ''}"


def _spread(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}}–{max(values):{form}})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=0, help="5; with --quick 2")
    parser.add_argument("--seconds", type=float, default=0, help="of each run: 10; with --quick 2")
    parser.add_argument("--against", type=Path, help="another checkout of this project")
    parser.add_argument("--quick", action="store_true", help="fewer shoppers, fewer and shorter runs")
    options = parser.parse_args()
    options.runs = options.runs or (2 if options.quick else 5)
    options.seconds = options.seconds or (2 if options.quick else 10)
    options.shoppers = SHOPPERS // 10 if options.quick else SHOPPERS
    return options


if __name__ == "__main__":
    sys.exit(main())
