"""A redis-server whose append-only file can lose its end, as in a power cut, or all of it."""

import mmap
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.children import end_child, start_child
from infra.embedded.redis_server import free_port

_READY_WITHIN_S: Final = 120.0
_POLL_S: Final = 0.05
_STAMP: Final = b"#TS:"


class Cut(NamedTuple):
    """What was cut off: bytes, and the seconds before the end that they held."""

    lost_bytes: int
    lost_s: float


class RedisNode:
    """One server on one port; it can be killed and started again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed_at_s = 0.0
        folder.mkdir(parents=True)
        if shutil.which("redis-server") is None:
            raise SystemExit("the chaos proof needs redis-server 7 on the PATH (Debian: apt-get install redis-server)")

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it and wait until it has loaded its file."""
        options = {
            "port": self._port,
            "bind": "127.0.0.1",
            "dir": self._folder,
            "logfile": self._folder / "redis.log",
            "save": "",
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-timestamp-enabled": "yes",  # so that the file says which part of it is how old
            "auto-aof-rewrite-percentage": "0",  # a new file in its midst would have no old end to cut
        }
        argv = ["redis-server"]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        self._process = start_child(argv, output=subprocess.DEVNULL)
        until = time.monotonic() + _READY_WITHIN_S
        with redis.Redis(host="127.0.0.1", port=self._port, retry=Retry(NoBackoff(), 0)) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:  # not listening, or loading
                    if self._process.poll() is not None or time.monotonic() > until:
                        raise SystemExit(f"Redis did not start; see {self._folder}/redis.log") from None
                    time.sleep(_POLL_S)

    def kill(self) -> None:
        """SIGKILL."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        self._killed_at_s = time.time()

    def cut(self, seconds: float) -> Cut:
        """Take at least the last `seconds` before the kill off its file, at a whole command, as of a whole second.

        Raises:
            SystemExit: the file does not reach so far back.
        """
        [file] = (self._folder / "appendonlydir").glob("*.incr.aof")
        with file.open("r+b") as aof, mmap.mmap(aof.fileno(), 0) as data:
            size, at, second = len(data), len(data), 0
            while at > 0:
                at = max(data.rfind(b"\n" + _STAMP, 0, at) + 1, 0)
                if data[at : at + len(_STAMP)] != _STAMP:
                    raise SystemExit(f"{file} holds less than {seconds} s")
                second = int(data[at + len(_STAMP) : data.find(b"\r", at)])
                if second <= self._killed_at_s - seconds:
                    break
            at = _whole(data, at)
        with file.open("r+b") as aof:
            aof.truncate(at)
        return Cut(size - at, self._killed_at_s - second)

    def empty(self) -> None:
        """Take all of its file."""
        shutil.rmtree(self._folder / "appendonlydir")

    def stop(self) -> None:
        """End it for good."""
        if self._process is not None:
            end_child(self._process, within_s=10.0)


def _whole(data: mmap.mmap, at: int) -> int:
    """The boundary itself, or the end of the transaction that it lies in."""
    for name, after in _commands(data, at):
        if name == b"MULTI":
            return at
        if name == b"EXEC":
            return after
    return at


def _commands(data: mmap.mmap, at: int) -> Iterator[tuple[bytes, int]]:
    """The name of each command from `at` on, and where the next one begins."""
    while at < len(data):
        line_end = data.find(b"\r\n", at)
        if data[at : at + 1] == b"#":
            at = line_end + 2
            continue
        count, at, name = int(data[at + 1 : line_end]), line_end + 2, b""
        for place in range(count):
            line_end = data.find(b"\r\n", at)
            length = int(data[at + 1 : line_end])
            if place == 0:
                name = bytes(data[line_end + 2 : line_end + 2 + length]).upper()
            at = line_end + 2 + length + 2
        yield name, at
