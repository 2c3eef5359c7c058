"""Parts of the table that events go through: posts, a real worker that scores, clicks that the next list knows of."""

import asyncio
import contextlib
import json
import random
import statistics
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from infra.keys import ShardKeys
from infra.redis import connect_sync
from infra.settings import Settings
from infra.topics import EVENTS
from serving.topic import open_topic
from tests.benchmarks import open_loop, page_load
from tests.benchmarks.freshness import Connections
from tests.benchmarks.machine import cpu_s
from tests.benchmarks.open_loop import Stream
from tests.benchmarks.serving_pages import STEADY
from tests.benchmarks.serving_table import Bench, Row, Server, at_least, at_most, rated
from tests.benchmarks.streams_shop import release_random
from tests.streams.workers import Worker

PATH: Final = "/v1/events"
FLOWING: Final = 500
BATCH: Final = 500
CLICKS: Final = 20  # a second
APPLIED_WITHIN_S: Final = 600.0


@contextlib.contextmanager
def _worked(bench: Bench) -> Iterator[Server]:
    """API and worker, with a model that scores."""
    if "scored" not in bench.kept:
        release_random(bench.settings, bench.options.seed)
        bench.kept["scored"] = True
    with contextlib.ExitStack() as stack:
        worker = Worker(bench.settings)
        stack.callback(worker.stop)
        server = stack.enter_context(bench.api())
        _applied(bench.settings, APPLIED_WITHIN_S)
        yield server


def live(bench: Bench) -> Iterator[Row]:
    """1,000 page views a second while 500 events a second are taken, applied and scored."""
    lags: list[int] = []

    def looked_at(body: bytes) -> None:
        lags.append(json.loads(body)["freshness"]["lag_ms"])

    seconds = max(bench.options.seconds, 5)
    with _worked(bench) as server:
        bench.closed(server, bench.pages, 8)
        events = _events(bench, int(FLOWING * seconds))
        pages = Stream(page_load.PATH, bench.pages, STEADY, every=10, looked_at=looked_at)
        flow = Stream(PATH, [json.dumps(one).encode() for one in events], FLOWING, right=202)
        found, posted = open_loop.run(server.port, [pages, flow], seconds)
        name = "1,000/s beside 500 events/s"
        yield at_most(f"{name}: p99, ms", found.p99_ms, 15, f"p50 {found.p50_ms:.2f} ms, p99 {found.p99_ms:.2f} ms")
        yield at_most(f"{name}: lag, ms", max(lags), 1000, f"p50 {statistics.median(lags):.0f}, most {max(lags)} ms")
        yield Row(f"{name}: posts", f"p50 {posted.p50_ms:.1f} ms, p99 {posted.p99_ms:.1f} ms")
        wrong = found.wrong + posted.wrong
        yield at_most(f"{name}: wrong", wrong, 0, f"{wrong} of {found.requests + posted.requests:,}")


def click(bench: Bench) -> Iterator[Row]:
    """An item of the list goes into the cart, and the next list, which waits for that, is without it."""
    seconds = max(bench.options.seconds, 5)
    with _worked(bench) as server:
        taken, faults = asyncio.run(_clicks(bench, server, int(CLICKS * seconds)))
    centiles = statistics.quantiles(taken, n=100)
    said = f"p50 {centiles[49]:.0f} ms, p99 {centiles[98]:.0f} ms of {len(taken)}"
    yield at_most("click to its effect with min_token: p99, ms", centiles[98], 250, said)
    yield at_most("lists that did not know of it", len(faults), 0, f"{len(faults)} {faults[:2] or ''}")


async def _clicks(bench: Bench, server: Server, count: int) -> tuple[list[float], list[str]]:
    site = Connections("127.0.0.1", server.port)
    chance = random.Random(bench.options.seed)
    taken: list[float] = []
    faults: list[str] = []

    async def one(due: float, user_id: str) -> None:
        before = await site.post(page_load.PATH, {"user_id": user_id})
        item = before["items"][0]["item_id"]
        began = time.perf_counter()
        event = _event("add_to_cart", user_id, item)
        token = (await site.post(PATH, event))["consistency_token"]
        after = await site.post(page_load.PATH, {"user_id": user_id, "min_token": token, "max_wait_ms": 2000})
        taken.append((time.perf_counter() - began) * 1000)
        if after["freshness"]["stale"] or item in [shown["item_id"] for shown in after["items"]]:
            faults.append(f"{user_id}: {item}, stale {after['freshness']['stale']}")

    begin = time.perf_counter()
    tasks = []
    for n in range(count):
        due = begin + n / CLICKS
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        tasks.append(asyncio.create_task(one(due, chance.choice(bench.shop.shoppers).user_id)))
    await asyncio.gather(*tasks)
    return taken, faults


def batches(bench: Bench) -> Iterator[Row]:
    """Posts of 500, and the time until a worker has applied the last."""
    many = 20_000 if bench.options.quick or bench.settings.embedded_log else 100_000
    events = _events(bench, many)
    bodies = [json.dumps(events[at : at + BATCH]).encode() for at in range(0, many, BATCH)]
    with _worked(bench) as server:
        began, used = time.monotonic(), cpu_s(server.pid)
        stream = Stream(PATH, bodies, 1e6, connections=8, right=202)
        open_loop.run(server.port, [stream], len(bodies) / stream.rate)
        accepted_s = time.monotonic() - began
        rate, cpu_us = many / accepted_s, (cpu_s(server.pid) - used) / many * 1e6
        said = f"{rate:,.0f}/s, {cpu_us:.0f} µs of CPU each, wrong {stream.wrong}"
        yield at_least("events/s in posts of 500", rate, 40_000, said)
        applied = _applied(bench.settings, APPLIED_WITHIN_S)
        said = f"{time.monotonic() - began:.1f} s after the first of {many:,} was sent"
        yield Row("until the last is applied, one worker", said if applied else "NOT in ten minutes", "", applied)


def posts(bench: Bench) -> Iterator[Row]:
    """One by one, each acknowledged by Kafka; nobody applies them meanwhile."""
    bodies = [json.dumps(one).encode() for one in _events(bench, 5_000)]
    with bench.api() as server:
        for connections, rate, p99_ms in ((64, 0, 20), (256, 8000, 60)):
            found, cpu_us = bench.closed(server, bodies, connections, PATH)
            yield from rated(f"event posts, {connections} connections", found, cpu_us, rate, p99_ms)


def _events(bench: Bench, count: int) -> list[dict[str, Any]]:
    chance = random.Random(bench.options.seed)
    ids = list(bench.shop.items)
    shoppers = [one.user_id for one in bench.shop.shoppers]
    return [_event("view_item", chance.choice(shoppers), chance.choice(ids)) for _ in range(count)]


def _event(name: str, user_id: str, item_id: str) -> dict[str, Any]:
    """Without an id: the server makes one, so that the same body may be posted again."""
    occurred_at = datetime.now(UTC).isoformat()
    return {"event_name": name, "occurred_at": occurred_at, "user_id": user_id, "items": [{"item_id": item_id}]}


def _applied(settings: Settings, within_s: float) -> bool:
    """Wait until the fences are at the log's end."""
    topic = open_topic(settings.brokers, EVENTS, settings.embedded_log)
    client = connect_sync(settings.redis, 5000)
    until = time.monotonic() + within_s
    try:
        while time.monotonic() < until:
            ends = topic.ends()
            fences = {partition: int(client.hget(ShardKeys(partition).fence, topic.log) or -1) for partition in ends}
            if all(fences[partition] >= end - 1 for partition, end in ends.items()):
                return True
            time.sleep(0.05)
        return False
    finally:
        client.close()
