"""Page views as fast as they are answered: by wrk where it is on PATH, else by a client of our own."""

import asyncio
import itertools
import json
import math
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvloop

from tests.benchmarks.page_shop import PageShop, Shopper

PATH = "/v1/recommendations"
SCRIPT = Path(__file__).with_name("pages.lua")
_GRACE_S = 30.0


@dataclass(frozen=True)
class Figures:
    """One run; `wrong` counts answers that were no 200, and calls without an answer."""

    requests: int
    seconds: float
    wrong: int
    p50_ms: float
    p99_ms: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


def generator() -> str:
    """Who makes the load."""
    wrk = shutil.which("wrk")
    if wrk is None:
        return "a client of our own in Python (wrk is not on PATH)"
    said = subprocess.run([wrk, "-v"], capture_output=True, text=True, check=False)
    return " ".join((said.stdout + said.stderr).split()[:2])


def run(
    port: int,
    shoppers: Sequence[Shopper],
    bodies: Path,
    connections: int,
    seconds: float,
    *,
    path: str = PATH,
    key: str = "",
) -> Figures:
    """Ask for the shoppers' pages, one after the other on each connection; `bodies` is a file of them.

    Other paths and keys need wrk.
    """
    wrk = shutil.which("wrk")
    if wrk is None and (path, key) != (PATH, ""):
        raise SystemExit("this part of the benchmark needs wrk on PATH (Debian: apt-get install wrk)")
    if wrk is None:
        return _asked(port, shoppers, connections, time.monotonic() + seconds)[0]
    command = [wrk, "-t1", f"-c{connections}", f"-d{math.ceil(seconds)}s", "--timeout", "10s", "-s", str(SCRIPT)]
    command += [f"http://127.0.0.1:{port}{path}", "--", str(bodies), *([key] if key else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=seconds + _GRACE_S)
    last = done.stdout.splitlines()[-1].split()
    if last[0] != "figures":
        raise SystemExit(f"wrk says: {done.stdout[-500:]} {done.stderr[-500:]}")
    requests, microseconds, wrong, p50, p99 = map(int, last[1:])
    return Figures(requests, microseconds / 1e6, wrong, p50 / 1000, p99 / 1000)


def checked(port: int, shop: PageShop, connections: int, rounds: int) -> tuple[int, list[str]]:
    """Every shopper's page `rounds` times, each body looked through: how many there were, and what is wrong."""
    asked = [shopper for _ in range(rounds) for shopper in shop.shoppers]
    figures, answers = _asked(port, asked, connections, math.inf)
    faults = [f"{figures.wrong} were no 200"] if figures.wrong else []
    for shopper, body in answers:
        faults += [f"{shopper.user_id}: {fault}" for fault in shop.faults(shopper, json.loads(body))]
    return figures.requests, faults


def _asked(
    port: int, shoppers: Sequence[Shopper], connections: int, until: float
) -> tuple[Figures, list[tuple[Shopper, bytes]]]:
    """Until a moment, or once each when it is infinite; the bodies are kept only then."""
    once = math.isinf(until)
    calls = _Calls(iter(shoppers) if once else itertools.cycle(shoppers), until)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        began = time.perf_counter()
        runner.run(calls.made(port, connections))
        seconds = time.perf_counter() - began
    centiles = statistics.quantiles(calls.taken_ms, n=100)
    good = [(shopper, body) for shopper, status, body in calls.answers if status == 200] if once else []
    return Figures(len(calls.taken_ms), seconds, calls.wrong, centiles[49], centiles[98]), good


class _Calls:
    """What is asked next, and what was answered."""

    def __init__(self, shoppers: Iterator[Shopper], until: float) -> None:
        self._shoppers = shoppers
        self._until = until
        self.taken_ms: list[float] = []
        self.wrong = 0
        self.answers: list[tuple[Shopper, int, bytes]] = []

    async def made(self, port: int, connections: int) -> None:
        """Make the calls on so many connections."""
        loop = asyncio.get_running_loop()
        lines = [_Line(self, loop.create_future()) for _ in range(connections)]
        for line in lines:
            await loop.create_connection(lambda line=line: line, "127.0.0.1", port)
        await asyncio.gather(*(line.done for line in lines))

    def next(self) -> Shopper | None:
        return next(self._shoppers, None) if time.monotonic() < self._until else None

    def answered(self, shopper: Shopper, status: int, body: bytes, taken_s: float) -> None:
        self.taken_ms.append(taken_s * 1000)
        self.wrong += status != 200
        if math.isinf(self._until):
            self.answers.append((shopper, status, body))


class _Line(asyncio.Protocol):
    """One connection: the next call goes out when the last is answered."""

    def __init__(self, calls: _Calls, done: "asyncio.Future[None]") -> None:
        self.done = done
        self._calls = calls
        self._held = b""
        self._shopper: Shopper | None = None
        self._began = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(None, 1)[0])
        if len(body) >= length and self._shopper is not None:
            taken = time.perf_counter() - self._began
            self._calls.answered(self._shopper, int(head.split(None, 2)[1]), body, taken)
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._shopper is not None:
            self._calls.wrong += 1
        if not self.done.done():
            self.done.set_result(None)

    def _ask(self) -> None:
        self._held = b""
        self._shopper = self._calls.next()
        if self._shopper is None:
            self._transport.close()
            return
        body = self._shopper.body
        head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        self._began = time.perf_counter()
        self._transport.write(head.encode() + b"%d\r\n\r\n" % len(body) + body)
