"""An API process of a test, behind its door: started as an operator starts it, asked over sockets."""

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infra.children import end_child
from infra.ready import VARIABLE, ReadyListener
from infra.settings import Settings, environment

JSON = {"Content-Type": "application/json"}


@dataclass
class AnApi:
    """`daogou api`, ready, on a port of its own."""

    process: "subprocess.Popen[str]"
    port: int

    def connect(self) -> socket.socket:
        """A connection that says nothing yet."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a page."""
        return self.ask("GET", path)

    def page(self, **asked: Any) -> tuple[int, dict[str, Any]]:
        """A list, over a connection of its own."""
        status, body = self.ask("POST", "/v1/recommendations", json.dumps(asked))
        return status, json.loads(body)

    def ask(self, method: str, path: str, body: str | None = None, port: int | None = None) -> tuple[int, bytes]:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=60)
        try:
            connection.request(method, path, body, JSON if body else {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self) -> tuple[int, str]:
        """SIGTERM; the status, and what it said."""
        self.process.send_signal(signal.SIGTERM)
        said, _ = self.process.communicate(timeout=60)
        return self.process.returncode, said


@contextlib.contextmanager
def running(settings: Settings, *options: str) -> Iterator[AnApi]:
    """The process, ready; ended when nobody has."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    mine = settings.model_copy(update={"port": port})
    with ReadyListener() as ready:
        process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", "api", *options],
            env=dict(os.environ) | environment(mine) | {VARIABLE: ready.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        try:
            assert ready.heard(60), process.communicate(timeout=1)
            yield AnApi(process, port)
        finally:
            end_child(process, 20)
