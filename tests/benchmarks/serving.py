"""The table of what the API does: page views, events, freshness, faults, and the floor beneath it.

    make bench-serving ARGS="--seed 1 [--quick] [--part page --part cel]"

The API process has one core for itself (if there are two); Redis, Kafka, the worker and the load have the others. With
--against CHECKOUT the plain page view is measured in turns with that of another checkout: what counts is the ratio.
Ends with one line, and with status 1 when a bar was missed or an answer was wrong.

Redis is DAOGOU_REDIS if set (an empty database, emptied again), else `redis-server` if on PATH, else the embedded one;
Kafka is DAOGOU_KAFKA if set (its topics are written to), else the embedded broker.
"""

import argparse
import asyncio
import importlib.util
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from infra.redis import connect
from infra.settings import Settings
from streams.terminal import sigterm_as_ctrl_c
from tests.benchmarks import page_load, page_views, serving_events, serving_pages
from tests.benchmarks.machine import ROOT, commit, cores, described, on_cores
from tests.benchmarks.page_servers import outside
from tests.benchmarks.page_shop import CANDIDATES, PageShop, this_hour
from tests.benchmarks.serving_table import Bench, Part, Row, shown

ITEMS, SHOPPERS = 20_000, 2_000
FAULTS: Final = "tests.benchmarks.serving_faults"


def faults(bench: Bench) -> Iterator[Row]:
    """Redis away, and overload: a benchmark of its own."""
    if importlib.util.find_spec(FAULTS) is None:
        yield Row("Redis away, overload", "not measured: there is no such benchmark here")
        return
    command = [sys.executable, "-m", FAULTS, "--seed", str(bench.options.seed)]
    with on_cores(bench.cores.measured | bench.cores.others):  # it divides them by itself
        done = subprocess.run([*command, *(["--quick"] if bench.options.quick else [])], cwd=ROOT, check=False)
    yield Row("Redis away, overload", f"status {done.returncode}, its lines are above", "= 0", done.returncode == 0)


# In this order: what puts many events on the log that nobody applies comes after what waits for a worker.
PARTS: Final[dict[str, Part]] = {
    "floor": serving_pages.floor,
    "page": serving_pages.page,
    "everything": serving_pages.everything,
    "cel": serving_pages.cel,
    "steady": serving_pages.steady,
    "large": serving_pages.large,
    "soak": serving_pages.soak,
    "live": serving_events.live,
    "click": serving_events.click,
    "batches": serving_events.batches,
    "posts": serving_events.posts,
    "faults": faults,
}


def main() -> int:
    """Run the parts; 0 when every bar was held."""
    options = _options()
    sigterm_as_ctrl_c()
    if options.against:
        sys.argv[1:] = [f"--against={options.against}", f"--seed={options.seed}"] + ["--quick"] * options.quick
        return page_views.main()
    divided = cores()
    print(f"machine    {described()}")
    print(f"commit     {commit()}")
    rows: list[Row] = []
    with (
        tempfile.TemporaryDirectory(prefix="daogou-bench-") as name,
        on_cores(divided.others),
        outside(Path(name)) as (settings, servers),
    ):
        shop = PageShop(options.seed, ITEMS, options.shoppers, this_hour())
        asyncio.run(_filled(settings, shop))
        bench = Bench(options, settings, shop, Path(name), divided)
        print(f"servers    {servers}; load by {page_load.generator()} and a timetable of our own")
        print(f"cores      API on {set(divided.measured)}, all else on {set(divided.others)}")
        print(
            f"data       {ITEMS:,} items, {options.shoppers:,} shoppers, shelves of {CANDIDATES}, seed {options.seed}"
        )
        for part in options.part or PARTS:
            rows += shown(part, PARTS[part](bench))
    return _judged(rows)


async def _filled(settings: Settings, shop: PageShop) -> None:
    client = await connect(settings.redis, 30_000)
    await shop.write(settings, client)
    await client.aclose()


def _judged(rows: Sequence[Row]) -> int:
    missed = [row for row in rows if not row.held]
    held = sum(bool(row.bar) for row in rows) - sum(bool(row.bar) for row in missed)
    said = "; ".join(f"{row.what} {row.said}, bar {row.bar}" for row in missed)
    print(f"serving: {held} bars held, {len(missed)} missed" + (f": {said}" if missed else ", ok"))
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", action="append", choices=list(PARTS), help="one of them; may be given several times")
    parser.add_argument("--seconds", type=float, default=0, help="of each measurement: 15; with --quick 3")
    parser.add_argument("--against", type=Path, help="another checkout of this project, for the plain page view")
    parser.add_argument("--quick", action="store_true", help="fewer shoppers, shorter measurements")
    options = parser.parse_args()
    options.seconds = options.seconds or (3 if options.quick else 15)
    options.shoppers = SHOPPERS // 10 if options.quick else SHOPPERS
    return options


if __name__ == "__main__":
    sys.exit(main())
