"""Page views while Redis stands still, and under twice the load that one process can carry.

`python -m tests.benchmarks.serving_faults --quick --seed 1`. Requests come by a timetable, however
slowly they are answered, and each one's time is counted from its place in the table; how late this generator itself
was is told beside it.
"""

import argparse
import asyncio
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from redis.asyncio import Redis

from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.redis_server import EmbeddedRedis
from infra.settings import Settings, read_settings
from tests.benchmarks.machine import ROOT, Cores, commit, cores, described, on_cores
from tests.benchmarks.page_servers import api
from tests.benchmarks.page_shop import PROPERTIES, PageShop

PATH: Final = b"/v1/recommendations"
CALM_RATE: Final = 300
WITHIN_MS: Final = 50.0
BACK_WITHIN_S: Final = 5.0
HEAVY: Final = 100  # items of a page, so that this generator is faster than the server
MOST_CONNECTIONS: Final = 2_000


@dataclass(frozen=True, slots=True)
class Asked:
    """One page view: its place in the table (s), what it took from there and how late it was sent (ms), its status
    (0: none) and why marked.
    """

    at: float
    took_ms: float
    sent_late_ms: float
    status: int
    why: str | None


class _Line(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.answer: asyncio.Future[tuple[int, bytes]] | None = None
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of a socket

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, found, body = self._got.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        if len(body) >= length and self.answer is not None and not self.answer.done():
            self._got = b""
            self.answer.set_result((int(head[9:12]), body))

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answer is not None and not self.answer.done():
            self.answer.set_result((0, b""))


class Load:
    """Asks by a timetable over connections that are made as they are needed."""

    def __init__(self, port: int, bodies: Sequence[bytes]) -> None:
        self._port = port
        self._requests = [
            b"POST %b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (PATH, len(body), body)
            for body in bodies
        ]
        self._free: list[_Line] = []
        self._room = asyncio.Semaphore(MOST_CONNECTIONS)

    async def by_table(self, rate: float, seconds: float) -> list[Asked]:
        """So many a second for so long."""
        began = time.perf_counter()
        tasks = []
        for n in range(int(rate * seconds)):
            at = began + n / rate
            if (early := at - time.perf_counter()) > 0:
                await asyncio.sleep(early)
            tasks.append(asyncio.ensure_future(self._ask(n, at)))
        return await asyncio.gather(*tasks)

    async def as_fast_as_they_go(self, connections: int, seconds: float) -> float:
        """The rate of so many clients that wait for their answers."""
        until = time.perf_counter() + seconds

        async def client(first: int) -> int:
            n = 0
            while time.perf_counter() < until:
                await self._ask(first + n, time.perf_counter())
                n += 1
            return n

        return sum(await asyncio.gather(*(client(997 * one) for one in range(connections)))) / seconds

    async def _ask(self, n: int, at: float) -> Asked:
        async with self._room:
            line = self._free.pop() if self._free else await self._line()
            line.answer = asyncio.get_running_loop().create_future()
            assert line.transport is not None
            sent_late_ms = (time.perf_counter() - at) * 1000
            line.transport.write(self._requests[n % len(self._requests)])
            status, body = await line.answer
            if not line.transport.is_closing():
                self._free.append(line)
        took_ms = (time.perf_counter() - at) * 1000
        fallback = msgspec.json.decode(body)["fallback"] if status == 200 else {"why": None}
        return Asked(at, took_ms, sent_late_ms, status, fallback["why"])

    async def _line(self) -> _Line:
        return (await asyncio.get_running_loop().create_connection(_Line, "127.0.0.1", self._port))[1]

    def close(self) -> None:
        """End all connections."""
        for line in self._free:
            assert line.transport is not None
            line.transport.close()


def centile(asked: Sequence[Asked], share: float) -> float:
    """The time below which so many were answered, ms."""
    times = sorted(one.took_ms for one in asked)
    return times[min(len(times) - 1, int(len(times) * share))] if times else float("nan")


def spread(asked: Sequence[Asked]) -> str:
    """Centiles in words."""
    return f"p50 {centile(asked, 0.5):.1f} ms, p99 {centile(asked, 0.99):.1f} ms, most {centile(asked, 1):.1f} ms"


async def redis_stands_still(load: Load, pid: int, seconds: float) -> bool:
    """Asks before, while, and after Redis is stopped; whether the bounds hold."""
    asking = asyncio.ensure_future(load.by_table(CALM_RATE, seconds + seconds + BACK_WITHIN_S + 1))
    await asyncio.sleep(seconds)
    stopped = time.perf_counter()
    os.kill(pid, signal.SIGSTOP)
    await asyncio.sleep(seconds)
    os.kill(pid, signal.SIGCONT)
    went_on = time.perf_counter()
    asked = await asking
    before = [one for one in asked if one.at < stopped - 0.1]
    away = [one for one in asked if stopped <= one.at < went_on]
    after = [one for one in asked if one.at >= went_on]
    marked = sum(one.why == "state_unavailable" for one in away)
    late = [one.at - went_on for one in after if one.why == "state_unavailable" or one.status != 200]
    back_s = max(late, default=0.0)
    wrong = sum(one.status != 200 for one in asked)
    print(f"Redis there:  {len(before)} pages, {spread(before)}, marked {sum(one.why is not None for one in before)}")
    print(f"Redis stands: {len(away)} pages, {spread(away)}, marked {marked}; the bound is {WITHIN_MS:.0f} ms")
    print(
        f"Redis back:   {len(after)} pages, {spread(after)}, all normal after {back_s:.2f} s; not 200 at all: {wrong}"
    )
    return marked == len(away) and centile(away, 1) <= WITHIN_MS and back_s <= BACK_WITHIN_S and not wrong


async def overload(load: Load, seconds: float) -> bool:
    """Asks at 0.7 and at 2 times the rate that the process reaches; whether none was lost."""
    most = await load.as_fast_as_they_go(16, seconds)
    print(f"at most:      {most:.0f} pages of {HEAVY} items a second, 16 connections")
    lost = 0
    for times in (0.7, 2.0):
        asked = await load.by_table(most * times, 2 * seconds)
        taken = [one for one in asked if one.status == 200]
        refused = [one for one in asked if one.status == 503]
        gone = len(asked) - len(taken) - len(refused)
        lost += gone
        late = sorted(one.sent_late_ms for one in asked)
        print(
            f"{times:.1f} times:    {len(taken) / 2 / seconds:.0f} a second answered, {spread(taken)}; "
            f"{len(refused) / 2 / seconds:.0f} refused, {spread(refused)}; lost {gone}; "
            f"sent late p50 {late[len(late) // 2]:.1f} ms, p99 {late[len(late) * 99 // 100]:.1f} ms"
        )
    return lost == 0


def bodies_of(shop: PageShop, count: int) -> list[bytes]:
    """A page view of each shopper."""
    asked = ({"user_id": one.user_id, "count": count, "include_properties": PROPERTIES} for one in shop.shoppers)
    return [msgspec.json.encode(one) for one in asked]


async def _write(shop: PageShop, settings: Settings) -> None:
    client = Redis.from_url(settings.redis.get_secret_value())
    await shop.write(settings, client)
    await client.aclose()


async def _measure(port: int, pid: int, shop: PageShop, seconds: float) -> bool:
    calm = Load(port, bodies_of(shop, 20))
    await calm.by_table(CALM_RATE, 1)
    held = await redis_stands_still(calm, pid, seconds)
    calm.close()
    heavy = Load(port, bodies_of(shop, HEAVY))
    held = await overload(heavy, seconds) and held
    heavy.close()
    return held


def _run(folder: Path, on: Cores, shop: PageShop, seconds: float) -> bool:
    server = EmbeddedRedis(folder / "redis")
    try:
        log_id = f"embedded-{uuid.uuid4().hex}"
        given = read_settings(data_dir=folder, redis=server.start(), embedded_log=log_id)
        broker = EmbeddedKafka(given.partition_count, log_id=log_id)
        try:
            settings = given.model_copy(update={"kafka": broker.start()})
            asyncio.run(_write(shop, settings))
            with api(settings, ROOT, on.measured) as (port, _), on_cores(on.others):
                return asyncio.run(_measure(port, server.pid, shop, seconds))
        finally:
            broker.stop()
    finally:
        if server.pid:
            os.kill(server.pid, signal.SIGCONT)
        server.stop()


def main() -> None:
    """Measure, and end with 1 where a bound is not held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a small catalogue, a few seconds")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    items, shoppers, seconds = (2_000, 200, 2.0) if options.quick else (20_000, 2_000, 10.0)
    print(f"{described()}\ncommit {commit()}, seed {options.seed}, {items} items")
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)
    shop = PageShop(options.seed, items, shoppers, now)
    with tempfile.TemporaryDirectory() as folder:
        held = _run(Path(folder), cores(), shop, seconds)
    raise SystemExit(0 if held else 1)


if __name__ == "__main__":
    main()
