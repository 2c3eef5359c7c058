"""One connection to Redis for reads that must be fast: commands of many callers go out one after the other,
answers come back in the same order, and no caller waits longer than its deadline.

It is half a dozen times as cheap per call as a client with a pool. A connection that breaks, or lets a
caller wait in vain, is given up at once: callers learn that Redis is away without waiting, until a new
connection stands and has answered within the deadline.
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis
from pydantic import SecretStr

from infra.errors import RedisAway
from infra.redis import CA_FILE, NO_CLUSTER, address, untrusted

Word = str | bytes
_GREETING_S: Final = 1.0
_RETRY_FIRST_S: Final = 0.05
_RETRY_MOST_S: Final = 1.0
_LAST_LOOK_S: Final = 0.001
_OF_CLUSTERS: Final = ("MOVED", "ASK", "CLUSTERDOWN", "CROSSSLOT")


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
        except ssl.SSLCertVerificationError:
            raise RedisAway(untrusted(self._where)) from None
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
        try:
            return _checked(await line.send(commands), self._where)
        except ConnectionError as error:
            raise self._away(str(error)) from None

    def tell(self, commands: Sequence[tuple[Word, ...]]) -> None:
        """Send commands whose answers nobody waits for; while the connection is lost they are dropped."""
        if self._line is not None:
            self._line.send(commands).add_done_callback(_heard)

    async def close(self) -> None:
        """End the connection and do not make another."""
        self._closed = True
        if self._again is not None:
            self._again.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._again
        if self._line is not None:
            self._line.end("closed")

    def _lost(self, line: "_Line") -> None:
        if self._line is line:
            self._line = None
            if not self._closed:
                self._again = asyncio.get_running_loop().create_task(self._reconnect())

    async def _reconnect(self) -> None:
        wait_s = _RETRY_FIRST_S
        while True:
            try:
                self._line = await self._prompt(await self._connect())
                return
            except (OSError, TimeoutError, RedisAway):
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _RETRY_MOST_S)

    async def _connect(self) -> "_Line":
        parts = urlsplit(self._url.get_secret_value())
        patience_s = max(self._timeout_s, _GREETING_S)
        async with asyncio.timeout(patience_s):
            secure = _secure(parts.query) if parts.scheme == "rediss" else None
            line = await self._open(parts.scheme, parts.hostname or "", parts.port or 6379, parts.path, secure)
            line.be_patient(patience_s)
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
        line.be_patient(self._timeout_s)
        line.when_lost = self._lost
        return line

    async def _prompt(self, line: "_Line") -> "_Line":
        """The line, once it has answered in time: from one that is still slow every caller would have to wait in vain.

        Raises:
            ConnectionError: it has not.
        """
        try:
            await line.send((("PING",),))
        except BaseException:
            line.end("slow")
            raise
        return line

    async def _open(self, scheme: str, host: str, port: int, path: str, secure: ssl.SSLContext | None) -> "_Line":
        loop = asyncio.get_running_loop()
        if scheme == "unix":
            return (await loop.create_unix_connection(lambda: _Line(loop), path))[1]
        return (await loop.create_connection(lambda: _Line(loop), host, port, ssl=secure))[1]

    def _away(self, why: str) -> RedisAway:
        return RedisAway(f"Redis at {self._where} does not answer ({why})")


class _Line(asyncio.Protocol):
    """The wire: commands out, answers back in the order of the commands.

    What several callers send in one turn of the event loop goes out in one write. A caller who has waited too long
    ends the line.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._patience_s = 0.0
        self.when_lost: Any = None
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self._waiting: deque[_Waiter] = deque()
        self._outgoing: list[bytes] = []
        self._watch: asyncio.TimerHandle | None = None
        self._overdue: _Waiter | None = None
        self._why = "connection lost"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass

    def data_received(self, data: bytes) -> None:
        reader, waiting = self._reader, self._waiting
        reader.feed(data)
        while (answer := reader.gets()) is not False and waiting:
            oldest = waiting[0]
            oldest.answers.append(answer)
            if len(oldest.answers) == oldest.count:
                waiting.popleft()
                if not oldest.future.done():
                    oldest.future.set_result(oldest.answers)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        if self._watch is not None:
            self._watch.cancel()
        for one in self._waiting:
            if not one.future.done():
                one.future.set_exception(ConnectionError(self._why))
        self._waiting.clear()
        if self.when_lost is not None:
            self.when_lost(self)

    def be_patient(self, within_s: float) -> None:
        """How long those who send from now on may wait; nobody is waiting at this moment."""
        self._patience_s = within_s
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None

    def send(self, commands: Sequence[tuple[Word, ...]]) -> "asyncio.Future[list[Any]]":
        """Write commands; the future of their answers."""
        future: asyncio.Future[list[Any]] = self.loop.create_future()
        self._waiting.append(_Waiter(future, len(commands), self.loop.time() + self._patience_s))
        if self._watch is None:
            self._watch = self.loop.call_later(self._patience_s, self._look_at_the_clock)
        if not self._outgoing:
            self.loop.call_soon(self._flush)
        self._outgoing += [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # any length
        return future

    def end(self, why: str) -> None:
        """Give the connection up; whoever waits is told why."""
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        assert self._transport is not None
        if not self._transport.is_closing():
            self._transport.write(b"".join(self._outgoing))
        self._outgoing.clear()

    def _look_at_the_clock(self) -> None:
        """End the line when the oldest caller has waited too long, else look again when it will have.

        What came while this process was busy is read before: its own slowness is not Redis'.
        """
        self._watch = None
        if self._waiting:
            oldest = self._waiting[0]
            left_s = oldest.until - self.loop.time()
            if left_s <= 0 and oldest is self._overdue:
                self.end("no answer in time")
                return
            if left_s <= 0:
                self._overdue, left_s = oldest, _LAST_LOOK_S
            self._watch = self.loop.call_later(left_s, self._look_at_the_clock)


def _heard(answers: "asyncio.Future[list[Any]]") -> None:
    """An error that nobody waits for is looked at here: asyncio would complain of it."""
    if not answers.cancelled():
        answers.exception()


class _Waiter:
    """A caller: how many answers it waits for, and until when."""

    __slots__ = ("answers", "count", "future", "until")

    def __init__(self, future: "asyncio.Future[list[Any]]", count: int, until: float) -> None:
        self.future = future
        self.count = count
        self.until = until
        self.answers: list[Any] = []


def _secure(query: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=parse_qs(query).get(CA_FILE, [None])[0])


def _checked(answers: list[Any], where: str) -> list[Any]:
    for answer in answers:
        if isinstance(answer, hiredis.ReplyError):
            said = str(answer).split(" ", 1)[0]
            raise RedisAway(f"Redis at {where} {NO_CLUSTER if said in _OF_CLUSTERS else f'answers {said}'}")
    return answers
