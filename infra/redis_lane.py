"""One connection to Redis for reads that must be fast: commands of many callers go out one after the other,
answers come back in the same order, and no caller waits longer than its deadline.

It is half a dozen times as cheap per call as a client with a pool. A connection that breaks, or lets a
caller wait in vain, is given up at once: callers learn that Redis is away without waiting, until a new
connection stands.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import hiredis
from pydantic import SecretStr

from infra.errors import RedisAway
from infra.redis import address

Word = str | bytes
_RETRY_FIRST_S: Final = 0.05
_RETRY_MOST_S: Final = 1.0


class RedisLane:
    """Reads through one connection, which is made anew by itself when it is lost."""

    def __init__(self, url: SecretStr, timeout_ms: int) -> None:
        self._url = url
        self._where = address(url)
        self._timeout_s = timeout_ms / 1000
        self._line: _Line | None = None
        self._again: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def connected(self) -> bool:
        """Whether a call may be answered."""
        return self._line is not None

    async def start(self) -> None:
        """Connect.

        Raises:
            RedisAway: names host and port, never the password.
        """
        try:
            self._line = await self._connect()
        except (OSError, TimeoutError) as error:
            raise self._away(type(error).__name__) from None

    async def ask(self, commands: Sequence[tuple[Word, ...]]) -> list[Any]:
        """The answers to commands, in one round trip.

        Raises:
            RedisAway: no connection, no answer within the deadline, or an answer that is an error.
        """
        line = self._line
        if line is None:
            raise self._away("connection lost")
        answers = line.send(commands)
        deadline = line.loop.call_later(self._timeout_s, self._give_up, line, "no answer in time")
        try:
            return _checked(await answers, self._where)
        except ConnectionError as error:
            raise self._away(str(error)) from None
        finally:
            deadline.cancel()

    async def close(self) -> None:
        """End the connection and do not make another."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._again
        if self._line is not None:
            self._line.end("closed")

    def _give_up(self, line: "_Line", why: str) -> None:
        line.end(why)

    def _lost(self, line: "_Line") -> None:
        if self._line is line:
            self._line = None
            if not self._closed:
                self._again = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        wait_s = _RETRY_FIRST_S
        while True:
            try:
                self._line = await self._connect()
                return
            except (OSError, TimeoutError, RedisAway):
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _RETRY_MOST_S)

    async def _connect(self) -> "_Line":
        parts = urlsplit(self._url.get_secret_value())
        async with asyncio.timeout(max(self._timeout_s, 1.0)):
            line = await self._open(parts.scheme, parts.hostname or "", parts.port or 6379, parts.path)
            greeting: list[tuple[Word, ...]] = []
            if parts.password is not None:
                user = (unquote(parts.username),) if parts.username else ()
                greeting.append(("AUTH", *user, unquote(parts.password)))
            database = parts.path.strip("/") if parts.scheme != "unix" else ""
            if database:
                greeting.append(("SELECT", database))
            try:
                _checked(await line.send([*greeting, ("PING",)]), self._where)
            except BaseException:
                line.end("refused")
                raise
        line.when_lost = self._lost
        return line

    async def _open(self, scheme: str, host: str, port: int, path: str) -> "_Line":
        loop = asyncio.get_running_loop()
        if scheme == "unix":
            return (await loop.create_unix_connection(lambda: _Line(loop), path))[1]
        secure = ssl.create_default_context() if scheme == "rediss" else None
        return (await loop.create_connection(lambda: _Line(loop), host, port, ssl=secure))[1]

    def _away(self, why: str) -> RedisAway:
        return RedisAway(f"Redis at {self._where} does not answer ({why})")


class _Line(asyncio.Protocol):
    """The wire: commands out, answers back in the order of the commands."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.when_lost: Any = None
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[tuple[asyncio.Future[list[Any]], list[Any], int]] = deque()
        self._why = "connection lost"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        while (answer := reader.gets()) is not False and waiting:
            future, answers, count = waiting[0]
            answers.append(answer)
            if len(answers) == count:
                waiting.popleft()
                if not future.done():
                    future.set_result(answers)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        for future, _answers, _count in self._waiting:
            if not future.done():
                future.set_exception(ConnectionError(self._why))
        self._waiting.clear()
        if self.when_lost is not None:
            self.when_lost(self)

    def send(self, commands: Sequence[tuple[Word, ...]]) -> "asyncio.Future[list[Any]]":
        """Write commands; the future of their answers."""
        future: asyncio.Future[list[Any]] = self.loop.create_future()
        self._waiting.append((future, [], len(commands)))
        assert self._transport is not None
        packed = [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # any length
        self._transport.write(b"".join(packed))
        return future

    def end(self, why: str) -> None:
        """Give the connection up; whoever waits is told why."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()


def _checked(answers: list[Any], where: str) -> list[Any]:
    for answer in answers:
        if isinstance(answer, hiredis.ReplyError):
            raise RedisAway(f"Redis at {where} answers {str(answer).split(' ', 1)[0]}")
    return answers
