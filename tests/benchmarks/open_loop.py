"""Requests on a timetable: each has its own moment, and its latency counts from there, sent late or not. So a stall of
the server, or of this generator, is not hidden by the load waiting for it.
"""

import asyncio
import selectors
import statistics
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.page_load import Figures

_END_S = 15.0


@dataclass
class Stream:
    """So many requests a second, evenly; the bodies in turns. `looked_at` is given each `every`-th answer's body."""

    path: str
    bodies: Sequence[bytes]
    rate: float
    key: str = ""
    connections: int = 64
    right: int = 200
    every: int = 50
    looked_at: Callable[[bytes], None] | None = None
    taken_ms: list[float] = field(default_factory=list)
    wrong: int = 0

    def figures(self, seconds: float) -> Figures:
        """What came of it."""
        if len(self.taken_ms) < 2:
            raise SystemExit(f"{self.path}: nothing was answered")
        centiles = statistics.quantiles(self.taken_ms, n=100)
        return Figures(len(self.taken_ms), seconds, self.wrong, centiles[49], centiles[98])


def run(port: int, streams: Sequence[Stream], seconds: float) -> list[Figures]:
    """All streams at once. Timers are exact to some 50 µs: uvloop's, and epoll's, are whole milliseconds."""
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selectors.SelectSelector())) as runner:
        runner.run(_all(port, streams, seconds))
    return [one.figures(seconds) for one in streams]


async def _all(port: int, streams: Sequence[Stream], seconds: float) -> None:
    await asyncio.gather(*(_Sending(one).run(port, seconds) for one in streams))


class _Sending:
    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._idle: deque[_Line] = deque()
        self._waiting: deque[tuple[float, bytes]] = deque()
        self._open = 0
        key = f"X-API-Key: {stream.key}\r\n" if stream.key else ""
        head = f"POST {stream.path} HTTP/1.1\r\nHost: localhost\r\n{key}Content-Type: application/json\r\n"
        self._requests = [f"{head}Content-Length: {len(one)}\r\n\r\n".encode() + one for one in stream.bodies]

    async def run(self, port: int, seconds: float) -> None:
        """Send everything at its moment, and wait for the last answers."""
        loop, stream = asyncio.get_running_loop(), self._stream
        lines = [_Line(self) for _ in range(stream.connections)]
        for line in lines:
            await loop.create_connection(lambda line=line: line, "127.0.0.1", port)
        total = round(stream.rate * seconds)
        begin = time.perf_counter() + 0.05
        for n in range(total):
            due = begin + n / stream.rate
            early = due - time.perf_counter()
            if early > 0:
                await asyncio.sleep(early)
            self._open += 1
            request = self._requests[n % len(self._requests)]
            if self._idle:
                self._idle.pop().send(due, request)
            else:
                self._waiting.append((due, request))
        until = time.perf_counter() + _END_S
        while self._open and time.perf_counter() < until:
            await asyncio.sleep(0.01)
        stream.wrong += self._open
        for line in lines:
            line.close()

    def ready(self, line: "_Line") -> None:
        """A connection is free."""
        if self._waiting:
            line.send(*self._waiting.popleft())
        else:
            self._idle.append(line)

    def answered(self, line: "_Line", status: int, body: bytes, due: float) -> None:
        """A request was answered; the connection is free."""
        stream = self._stream
        self._open -= 1
        stream.taken_ms.append((time.perf_counter() - due) * 1000)
        stream.wrong += status != stream.right
        if stream.looked_at is not None and len(stream.taken_ms) % stream.every == 0 and status == stream.right:
            stream.looked_at(body)
        self.ready(line)


class _Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, sending: _Sending) -> None:
        self._sending = sending
        self._held = b""
        self._due = 0.0
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._sending.ready(self)

    def send(self, due: float, request: bytes) -> None:
        self._due, self._held = due, b""
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._held += data
        head, found, body = self._held.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.lower().partition(b"content-length:")[2].split(None, 1)[0]):
            self._sending.answered(self, int(head.split(None, 2)[1]), body, self._due)
