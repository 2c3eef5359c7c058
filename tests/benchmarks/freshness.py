"""From an event to the changed list: worker, API, Kafka and Redis together, under a steady stream of events.

    make bench-freshness ARGS="--seed 1"

An open loop: every event has its own moment on a timetable and its latency counts from there, so a stall is not
hidden by the load waiting for it. Each event is posted alone; then the shopper's list is asked for with the
consistency token, and the clock stops when the answer is there. What is reported is that time, for every event.

Kafka and Redis are real ones where DAOGOU_KAFKA and DAOGOU_REDIS name them, else the embedded ones, and the line says
which. The shop is the demo's: its data folder is made by `make demo` (or here, if it is empty).
"""

import argparse
import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from infra.clock import clock_from
from infra.embedded.outside import Outside
from infra.settings import Settings, read_settings
from infra.topics import EVENTS
from streams.demo.figures import Figures
from streams.demo.shop import PreparedShop, prepared_shop
from streams.one_shop import OneShop
from streams.stop_signals import StopSignals

MAX_WAIT_MS = 2000
IDLE_S = 2.0
HOUSEHOLDS = 2500


@dataclass(frozen=True)
class Plan:
    """What is sent: `rate` events a second for `seconds`, `page_views` lists a second beside them."""

    rate: int
    seconds: int
    seed: int


class Connections:
    """Keep-alive HTTP/1.1 connections, as many as are in use at once."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter, float]] = []

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        """One call; anything but success is an error. Connections that lay idle for seconds may be closed: not used."""
        while self._idle and time.monotonic() - self._idle[0][2] > IDLE_S:
            self._idle.pop(0)[1].close()
        reader, writer = self._idle.pop()[:2] if self._idle else await self._open()
        raw = json.dumps(body).encode()
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        writer.write(f"{head}Content-Length: {len(raw)}\r\n\r\n".encode() + raw)
        answer = await reader.readuntil(b"\r\n\r\n")
        status, headers = int(answer[9:12]), answer.lower()
        begin = headers.index(b"content-length:") + 15
        content = await reader.readexactly(int(headers[begin : headers.index(b"\r", begin)]))
        self._idle.append((reader, writer, time.monotonic()))
        if status >= 300:
            raise RuntimeError(f"{path}: {status} {content[:200]!r}")
        found: dict[str, Any] = json.loads(content)
        return found

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection(self._host, self._port)


@dataclass
class Seen:
    """What came of the events: milliseconds from the timetable to the answer, stale lists and failures by reason."""

    changed_ms: list[float]
    accepted_ms: list[float]
    stale: dict[str, int] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)


async def drive(site: Connections, plan: Plan, shop: PreparedShop) -> Seen:
    """Post the events on their timetable, ask for each list."""
    clock = clock_from(shop.settings.clock_shift_file)
    chance = random.Random(plan.seed)
    seen = Seen([], [])
    run = f"fresh-{time.time_ns()}"

    async def one(index: int, due: float) -> None:
        shopper, item = str(chance.randint(1, HOUSEHOLDS)), chance.choice(shop.items)
        event = {
            "event_id": f"{run}-{index}",
            "event_name": "view_item",
            "occurred_at": datetime.fromtimestamp(clock.now_ms() / 1000, UTC).isoformat(),
            "user_id": shopper,
            "items": [{"item_id": item}],
        }
        token = (await site.post("/v1/events", event))["consistency_token"]
        seen.accepted_ms.append((time.perf_counter() - due) * 1000)
        asked = {"user_id": shopper, "min_token": token, "max_wait_ms": MAX_WAIT_MS}
        answer = await site.post("/v1/recommendations", asked)
        seen.changed_ms.append((time.perf_counter() - due) * 1000)
        if answer["freshness"]["stale"]:
            why = str(answer["fallback"]["why"] or "the list is older than the row, or the wait ended")
            seen.stale[why] = seen.stale.get(why, 0) + 1

    begin = time.perf_counter() + 0.1
    running: list[asyncio.Task[None]] = []
    for index in range(plan.rate * plan.seconds):
        due = begin + index / plan.rate
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        running.append(asyncio.create_task(one(index, due)))
    for failed in (end for end in await asyncio.gather(*running, return_exceptions=True) if end is not None):
        seen.failures[repr(failed)] = seen.failures.get(repr(failed), 0) + 1
    return seen


def measure(settings: Settings, plan: Plan) -> Seen:
    """The shop up, a second to warm, then the plan."""
    console = Console(stderr=True)
    with prepared_shop(settings, Figures(), console, StopSignals()) as shop:
        asyncio.run(drive(Connections(shop.host, shop.port), Plan(20, 2, plan.seed), shop))
        return asyncio.run(drive(Connections(shop.host, shop.port), plan, shop))


def main() -> int:
    """Measure and print; 1 when a list was not fresh or an event was lost."""
    parser = argparse.ArgumentParser(description="From an event to the changed list.")
    parser.add_argument("--rate", type=int, default=200, help="events a second")
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--data-dir", type=Path, default=Path(".daogou"))
    parser.add_argument("--quick", action="store_true", help="ten seconds")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    plan = Plan(given.rate, 10 if given.quick else given.seconds, given.seed)
    asked = read_settings(data_dir=given.data_dir)
    with OneShop(asked.data_dir), Outside(asked) as settings:
        where = "embedded broker" if settings.embedded_log else "Kafka"
        seen = measure(settings, plan)
    changed, accepted = np.array(seen.changed_ms), np.array(seen.accepted_ms)
    wanted = plan.rate * plan.seconds
    print(f"{EVENTS}: {wanted} events at {plan.rate}/s, {where}, seed {plan.seed}")
    for name, taken in (("accepted (202)", accepted), ("changed list", changed)):
        p50, p95, p99 = np.percentile(taken, (50, 95, 99))
        print(f"  {name:<15} p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms, max {taken.max():.1f} ms")
    for why, count in seen.stale.items():
        print(f"  {count} lists stale: {why}")
    for failure, count in sorted(seen.failures.items(), key=lambda entry: -entry[1])[:5]:
        print(f"  {count} calls failed: {failure}")
    good = len(changed) == wanted and not seen.stale
    print(f"freshness: {'ok' if good else 'FAILED'}, {len(changed)} of {wanted} seen, {sum(seen.stale.values())} stale")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
