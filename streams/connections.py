"""What a client may do with a connection: uvicorn's protocol, with bounds in time and size that it does not have.

One look a second goes through all connections; a request itself costs two readings of the clock.
"""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES: Final = 65_536  # the first line and all headers
_PHRASES: Final = {
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}


@dataclass(slots=True)
class Bounds:
    """The bounds of all connections of a process, times in seconds; `draining` once it is to end."""

    connections: int
    request_s: float
    idle_s: float
    draining: bool = False


class Connection(HttpToolsProtocol):
    """One connection. `look` ends it when the client is too slow, or says nothing for too long."""

    def __init__(self, bounds: Bounds, **given: Any) -> None:
        super().__init__(**given)
        self._bounds = bounds
        self._in_head = False
        self._head = 0  # bytes
        self._arriving_s = 0.0  # since when a request comes in; 0: none does
        self._quiet_s = 0.0  # since when none has
        self._unread_s = 0.0  # since when an answer, or the end, is not taken; 0: it is

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """A connection was accepted."""
        super().connection_made(transport)
        self._quiet_s = self.loop.time()
        if len(self.connections) > self._bounds.connections:
            self._refuse(503, "too_many_connections", "This process has as many connections as it may have; try again.")

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        self._head += len(data)
        super().data_received(data)
        if self._in_head and self._head > HEAD_BYTES:
            self._refuse_head()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._arriving_s = self.loop.time()
        self._in_head = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or what stands behind a body."""
        if self._in_head:  # what comes behind a body is of no use, and would be kept
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Everything but the body is there: the request is begun."""
        self._in_head = False
        if self.transport.is_closing():
            return
        if self._head > HEAD_BYTES and _size(self.url, self.headers) > HEAD_BYTES:
            self._refuse_head()
            return
        self._head = 0
        super().on_headers_complete()
        if self._bounds.draining:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if not self.transport.is_closing():
            super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._arriving_s = 0.0
        self._head = 0
        if not self.transport.is_closing():
            super().on_message_complete()

    def on_response_complete(self) -> None:
        """The answer is written."""
        self._quiet_s = self.loop.time()
        super().on_response_complete()

    def drain(self) -> None:
        """Let the answer that is being made be the last."""
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def shutdown(self) -> None:
        """End, unless something is under way or coming in: then after that."""
        self.drain()
        if not self._arriving_s:
            super().shutdown()

    def look(self, now_s: float) -> None:
        """End this connection if the client has had its time."""
        bounds, transport = self._bounds, self.transport
        if transport.is_closing() or transport.get_write_buffer_size():
            self._unread_s = self._unread_s or now_s
            if now_s - self._unread_s >= bounds.request_s:
                transport.abort()
            return
        self._unread_s = 0.0
        if self._arriving_s:
            # One that waits behind another is not read meanwhile.
            if now_s - self._arriving_s >= bounds.request_s and not self.flow.read_paused:
                self._too_slow()
        elif self.cycle is None or self.cycle.response_complete:
            patience_s = bounds.request_s if self.cycle is None else bounds.idle_s
            if now_s - self._quiet_s >= patience_s:
                transport.close()

    def _too_slow(self) -> None:
        idle = self.cycle is None or self.cycle.response_complete
        if self._in_head and not idle:  # after the answer that is being made
            return
        if not self._in_head and (idle or self.cycle.response_started):
            self.transport.close()
            return
        self._refuse(408, "too_slow", f"The request did not arrive whole within {self._bounds.request_s:g} s.")

    def _refuse_head(self) -> None:
        self._refuse(431, "head_too_large", f"The first line and the headers have at most {HEAD_BYTES} bytes.")

    def _refuse(self, status: int, code: str, detail: str) -> None:
        self.transport.write(_problem(status, code, detail))
        self.transport.close()


def _size(url: bytes, headers: list[tuple[bytes, bytes]]) -> int:
    return len(url) + sum(len(name) + len(value) for name, value in headers)


def _problem(status: int, code: str, detail: str) -> bytes:
    """A problem document as the routes answer it, for a request that reaches none."""
    told = {
        "type": f"urn:daogou:problem:{code}",
        "title": _PHRASES[status],
        "status": status,
        "detail": detail,
        "code": code,
        "retryable": status != 431,
        "errors": [],
    }
    body = json.dumps(told).encode()
    head = f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: application/problem+json\r\n"
    if status == 503:
        head += "retry-after: 1\r\n"
    return f"{head}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body
