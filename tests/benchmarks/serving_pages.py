"""Parts of the table that are page views."""

import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from infra.children import end_child, start_child
from infra.keys import ShardKeys, partition_of, record_key
from infra.ports import listen, port_of
from infra.redis import connect
from infra.redis_lane import RedisLane
from tests.benchmarks import open_loop, page_load
from tests.benchmarks.machine import ROOT, on_cores
from tests.benchmarks.open_loop import Stream
from tests.benchmarks.page_shop import PageShop, this_hour
from tests.benchmarks.serving_table import Bench, Row, Server, at_least, at_most, rated

CONNECTIONS: Final = 8
STEADY: Final = 1000
FILTER: Final = "item.price > 3.0 && item.brand != 'Maison 7' && !(item.id in shopper.viewed)"
BOOSTER: Final = "item.category.startsWith('tea') ? 1.5 : (item.price < 20.0 ? 1.2 : 1.0)"
SCENARIO: Final = {"name": "home", "blend": [["shelf", 1]], "exploration": {"share": 0.05}}
EXPERIMENT: Final = {
    "scenario": "home",
    "variations": [{"id": "as_it_is"}, {"id": "more_new", "changes": {"exploration": {"share": 0.1}}}],
}
LARGE: Final = 200_000
READS: Final = 5000
SOAK_SHARE: Final = 0.7
GROWN_MB: Final = 24.0


def floor(bench: Bench) -> Iterator[Row]:
    """The framework alone, and one bare read of Redis."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen("127.0.0.1", 0))
        fd = listener.fileno()
        with on_cores(bench.cores.measured):
            process = start_child(
                [sys.executable, "-m", "tests.benchmarks.bare_server", str(fd)],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                output=subprocess.DEVNULL,
                keep_open=[fd],
            )
        stack.callback(end_child, process, 5.0)
        found, cpu_us = bench.closed(Server(port_of(listener), process.pid), bench.pages, CONNECTIONS)
        yield Row(
            "a bare Starlette route, 8 connections",
            f"{found.rate:,.0f}/s, {cpu_us:.0f} µs of CPU each, p99 {found.p99_ms:.2f} ms",
        )
    with on_cores(bench.cores.measured):
        taken_us = sorted(asyncio.run(_reads(bench)))
    yield Row(
        "one bare Redis read, one after the other",
        f"{1e6 / statistics.fmean(taken_us):,.0f}/s, p50 {taken_us[len(taken_us) // 2]:.0f} µs, "
        f"p99 {taken_us[len(taken_us) * 99 // 100]:.0f} µs",
    )


async def _reads(bench: Bench) -> list[float]:
    lane = RedisLane(bench.settings.redis, 1000)
    await lane.start()
    settings, shopper_id = bench.settings, f"u-{bench.shop.shoppers[0].user_id}"
    partition = partition_of(record_key(settings.tenant, shopper_id), settings.partition_count)
    key = ShardKeys(partition).shelf(settings.tenant, shopper_id)
    taken = []
    for _ in range(READS):
        began = time.perf_counter()
        await lane.ask((("GET", key),))
        taken.append((time.perf_counter() - began) * 1e6)
    await lane.close()
    return taken


def page(bench: Bench) -> Iterator[Row]:
    """The plain scenario."""
    with bench.api() as server:
        yield from _looked_through(bench, server)
        found, cpu_us = bench.closed(server, bench.pages, CONNECTIONS)
        bench.peak = found.rate
        yield from rated("plain, 8 connections", found, cpu_us, 4000, 6)
        alone, cpu_us = bench.closed(server, bench.pages, 1)
        yield Row("plain, 1 connection", f"{alone.rate:,.0f}/s, p50 {alone.p50_ms:.2f} ms, {cpu_us:.0f} µs each")


def everything(bench: Bench) -> Iterator[Row]:
    """A running experiment, exploration, keys, the full record."""
    with bench.api(keys=True) as server:
        server.call("PUT", "/v1/settings/scenario/home", SCENARIO)
        server.call("PUT", "/v1/settings/experiment/newer", EXPERIMENT)
        try:
            _until_it_runs(server)
            found, cpu_us = bench.closed(server, bench.pages, CONNECTIONS)
            yield from rated("everything on, 8 connections", found, cpu_us, 3000, 6)
        finally:
            server.call("DELETE", "/v1/settings/experiment/newer")
            server.call("DELETE", "/v1/settings/scenario/home")


def _until_it_runs(server: Server) -> None:
    until = time.monotonic() + 10
    while not server.call("POST", page_load.PATH, {"user_id": "s1"})["experiments"]:
        if time.monotonic() > until:
            raise SystemExit("the experiment does not run")
        time.sleep(0.05)


def cel(bench: Bench) -> Iterator[Row]:
    """With a filter and a booster, as a ratio within one process."""
    more = {"filter": FILTER, "booster": BOOSTER}
    with_cel = [json.dumps({**json.loads(body), **more}).encode() for body in bench.pages]
    rates: dict[str, list[float]] = {"plain": [], "cel": []}
    wrong = 0
    with bench.api() as server:
        for _ in range(2):
            for name, bodies in (("plain", bench.pages), ("cel", with_cel)):
                found, _cpu = bench.closed(server, bodies, CONNECTIONS)
                rates[name].append(found.rate)
                wrong += found.wrong
    plain, filtered = (statistics.mean(rates[name]) for name in ("plain", "cel"))
    said = f"{filtered / plain:.2f} ({filtered:,.0f} of {plain:,.0f}/s)"
    yield at_least("with filter and booster, of the plain rate", filtered / plain, 0.6, said)
    if wrong:
        yield Row("with filter and booster: wrong answers", str(wrong), "≤ 0", held=False)


def steady(bench: Bench) -> Iterator[Row]:
    """1,000 a second on a timetable."""
    with bench.api() as server:
        bench.closed(server, bench.pages, CONNECTIONS)
        (found,) = open_loop.run(
            server.port, [Stream(page_load.PATH, bench.pages, STEADY)], max(bench.options.seconds, 5)
        )
        yield at_most("1,000/s: p50, ms", found.p50_ms, 1.5, f"{found.p50_ms:.2f} ms")
        yield at_most("1,000/s: p99, ms", found.p99_ms, 6, f"{found.p99_ms:.2f} ms")
        yield at_most("1,000/s: wrong", found.wrong, 0, f"{found.wrong} of {found.requests:,}")


def large(bench: Bench) -> Iterator[Row]:
    """A catalogue ten times as large, under a tenant of its own: memory, start, p99 beside the small one's."""
    many = LARGE // 4 if bench.options.quick else LARGE
    shop = PageShop(bench.options.seed, many, 200, this_hour())
    settings = bench.settings.model_copy(update={"tenant": "large", "data_dir": bench.folder / "large"})
    settings.data_dir.mkdir()

    async def filled() -> None:
        client = await connect(settings.redis, 60_000)
        await shop.write(settings, client)
        await client.aclose()

    asyncio.run(filled())
    for name, of, bodies in (
        ("small", bench.settings, bench.pages),
        ("large", settings, [shopper.body for shopper in shop.shoppers]),
    ):
        began = time.monotonic()
        with bench.api(settings=of) as server:
            took = time.monotonic() - began
            found, cpu_us = bench.closed(server, bodies, CONNECTIONS)
            items = len(bench.shop.items) if name == "small" else many
            yield Row(
                f"catalogue of {items:,} items",
                f"{server.resident_mb:.0f} MB, ready in {took:.1f} s, {found.rate:,.0f}/s, "
                f"p99 {found.p99_ms:.2f} ms, {cpu_us:.0f} µs each, wrong {found.wrong}",
            )


def soak(bench: Bench) -> Iterator[Row]:
    """70 % of the peak, on a timetable: memory flat, no errors."""
    seconds = 30 if bench.options.quick else 600
    with bench.api() as server:
        found, _ = bench.closed(server, bench.pages, CONNECTIONS)
        rate = SOAK_SHARE * (bench.peak or found.rate)
        held: list[float] = []
        figures = []
        wrong = 0
        for _ in range(10):
            (one,) = open_loop.run(server.port, [Stream(page_load.PATH, bench.pages, rate)], seconds / 10)
            held.append(server.resident_mb)
            figures.append(one.p99_ms)
            wrong += one.wrong
        yield at_most(f"{seconds} s at {rate:,.0f}/s: errors", wrong, 0, f"{wrong}; p99 by tenth {_list(figures)} ms")
        # The decision records that are kept, and Kafka's buffers, fill up in the first part of it.
        yield at_most("grown since the second tenth, MB", held[-1] - held[1], GROWN_MB, f"{_list(held)} MB")


def _list(values: list[float]) -> str:
    return " ".join(f"{value:.0f}" for value in values)


def _looked_through(bench: Bench, server: Server) -> Iterator[Row]:
    count, faults = page_load.checked(server.port, bench.shop, CONNECTIONS, rounds=1)
    said = f"{len(faults)} of {count:,} {faults[:2] or ''}"
    yield at_most("pages looked through: faults", len(faults), 0, said)
