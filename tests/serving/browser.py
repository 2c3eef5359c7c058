"""A real browser without a window, told what to do over pipes by its DevTools protocol."""

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")


def found() -> str | None:
    """The program, if this machine has one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextlib.contextmanager
def started(program: str) -> Iterator[tuple[int, int]]:
    """The browser runs; the ends of its pipes to read from and to write to."""
    its_in, our_out = os.pipe()
    our_in, its_out = os.pipe()
    # It reads from 3 and writes to 4: nothing of ours may lie there meanwhile.
    ends = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (its_in, its_out)]
    for fd in (its_in, its_out):
        os.close(fd)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"]
        shell = f'exec "$0" "$@" 3<&{ends[0]} 4>&{ends[1]}'
        process = subprocess.Popen(
            ["bash", "-c", shell, program, *options, "--remote-debugging-pipe", f"--user-data-dir={profile}"],
            pass_fds=ends,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for fd in ends:
            os.close(fd)
        try:
            yield our_in, our_out
        finally:
            os.close(our_out)  # it ends when nobody can tell it anything any more
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            os.close(our_in)


@dataclass
class Devtools:
    """The protocol, in one event loop."""

    reads: int
    writes: int
    _last: int = 0
    _rest: bytes = b""
    _answers: dict[int, "asyncio.Future[Any]"] = field(default_factory=dict)
    _events: dict[tuple[str, str], "asyncio.Future[Any]"] = field(default_factory=dict)

    def hear(self) -> None:
        """What can be read now."""
        *messages, self._rest = (self._rest + os.read(self.reads, 1 << 20)).split(b"\0")
        for raw in messages:
            said = json.loads(raw)
            waiting = self._answers.pop(said["id"], None) if "id" in said else None
            if waiting is not None and not waiting.done():
                waiting.set_result(said)
            event = self._events.pop((said.get("sessionId", ""), said.get("method", "")), None)
            if event is not None and not event.done():
                event.set_result(said)

    async def ask(self, method: str, session: str = "", **params: Any) -> Any:
        """One command and its result."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params} | ({"sessionId": session} if session else {})
        answer = self._answers[self._last] = asyncio.get_running_loop().create_future()
        os.write(self.writes, json.dumps(message).encode() + b"\0")
        async with asyncio.timeout(30):
            said = await answer
        assert "error" not in said, said["error"]
        return said["result"]

    def event(self, session: str, method: str) -> "asyncio.Future[Any]":
        """The next event of this name."""
        return self._events.setdefault((session, method), asyncio.get_running_loop().create_future())

    async def profile(self) -> str:
        """A profile of its own: no storage is shared with others."""
        return str((await self.ask("Target.createBrowserContext"))["browserContextId"])

    async def page(self, url: str, profile: str) -> "Tab":
        """A page, loaded."""
        target = (await self.ask("Target.createTarget", url="about:blank", browserContextId=profile))["targetId"]
        session = (await self.ask("Target.attachToTarget", targetId=target, flatten=True))["sessionId"]
        await self.ask("Page.enable", session)
        tab = Tab(self, target, session)
        await tab.go(url)
        return tab


@dataclass
class Tab:
    """One page."""

    devtools: Devtools
    target: str
    session: str

    async def go(self, url: str) -> None:
        """To another address."""
        loaded = self.devtools.event(self.session, "Page.loadEventFired")
        await self.devtools.ask("Page.navigate", self.session, url=url)
        async with asyncio.timeout(30):
            await loaded

    async def run(self, script: str) -> Any:
        """What an expression comes to; a promise is awaited."""
        said = await self.devtools.ask(
            "Runtime.evaluate", self.session, expression=script, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in said, said["exceptionDetails"]
        return said["result"].get("value")

    async def close(self) -> None:
        """As a shopper closes it."""
        await self.devtools.ask("Target.closeTarget", targetId=self.target)


@contextlib.asynccontextmanager
async def listening(pipes: tuple[int, int]) -> AsyncIterator[Devtools]:
    """The protocol over these pipes while a test runs."""
    devtools = Devtools(*pipes)
    loop = asyncio.get_running_loop()
    loop.add_reader(pipes[0], devtools.hear)
    try:
        yield devtools
    finally:
        loop.remove_reader(pipes[0])
