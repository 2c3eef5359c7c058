"""What the worker answers over HTTP: its metrics, whether it lives, whether it does its work."""

import json
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from infra.metrics import Metrics
from infra.topics import CATALOG
from streams.draining import Blocked
from streams.pausing import Pause

LIVE_PATH: Final = "/health/live"
READY_PATH: Final = "/health/ready"
_OK, _UNAVAILABLE = "200 OK", "503 Service Unavailable"


class Health:
    """Set by the event loop, read by the server's threads. Nothing here waits for anything."""

    def __init__(self, monotonic: Callable[[], float], stuck_s: float) -> None:
        self._monotonic = monotonic
        self._stuck_s = stuck_s
        self._turned_s = monotonic()
        self.begun = False
        self.pause: Pause | None = None
        self.stuck: dict[str, tuple[int, ...]] = {}  # by topic
        self.blocked: Blocked | None = None
        self.untold: Blocked | None = None  # of the catalogue

    def turned(self) -> None:
        """The event loop turns."""
        self._turned_s = self._monotonic()

    def live(self) -> tuple[bool, dict[str, object]]:
        """Whether the process does anything at all."""
        silent_s = self._monotonic() - self._turned_s
        if silent_s > self._stuck_s:
            return False, {"status": "stuck", "why": f"the event loop has not turned for {silent_s:.0f} s"}
        return True, {"status": "live"}

    def ready(self) -> tuple[bool, dict[str, object]]:
        """Whether it applies what comes, or would; a worker that is paused is ready, and says so."""
        lives, said = self.live()
        if not lives:
            return False, said
        if not self.begun:
            return False, {"status": "starting", "why": "no partitions are assigned yet"}
        for topic, stuck in list(self.stuck.items()):
            if stuck:
                named = ", ".join(map(str, stuck))
                why = f"partitions {named} of {topic}: records wait, and none was applied for {self._stuck_s:g} s"
                return False, {"status": "stuck", "topic": topic, "partitions": list(stuck), "why": why}
        if self.blocked is not None:
            partitions = list(self.blocked.partitions)
            named = ", ".join(map(str, partitions))
            why = f"nothing is applied until Kafka takes the effects of partitions {named}: {self.blocked.why}"
            return False, {"status": "outbox_full", "partitions": partitions, "why": why}
        if self.untold is not None:
            partitions = list(self.untold.partitions)
            named = ", ".join(map(str, partitions))
            why = f"items stay as they are until Kafka takes the changes of partitions {named}: {self.untold.why}"
            return False, {"status": "changes_wait", "topic": CATALOG, "partitions": partitions, "why": why}
        if self.pause is not None:
            pause = self.pause
            return True, {"status": "paused", "since_ms": pause.since_ms, "by": pause.by, "why": pause.why}
        return True, {"status": "ready"}


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Silent(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nobody wants a line for each look."""


def serve(port: int, measured: Metrics, health: Health) -> Callable[[], None]:
    """Answer on a port of all addresses; what ends it.

    Raises:
        OSError: the port is used.
    """
    server = make_server("", port, _application(measured, health), _Server, handler_class=_Silent)
    Thread(target=server.serve_forever, name="health", daemon=True).start()

    def end() -> None:
        server.shutdown()
        server.server_close()

    return end


def _application(measured: Metrics, health: Health) -> Any:
    of_metrics = make_wsgi_app(measured.registry)
    asked = {LIVE_PATH: health.live, READY_PATH: health.ready}

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        ask = asked.get(environ["PATH_INFO"])
        if ask is None:
            found: Iterable[bytes] = of_metrics(environ, start_response)
            return found
        sound, said = ask()
        start_response(_OK if sound else _UNAVAILABLE, [("Content-Type", "application/json")])
        return [json.dumps(said).encode()]

    return answer
