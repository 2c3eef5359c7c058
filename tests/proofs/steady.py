"""Made events that keep coming at a steady rate, whatever else happens."""

import threading
import time
from datetime import datetime
from itertools import islice
from types import TracebackType
from typing import Final, Self

from infra.settings import Settings
from tests.bulk import BulkProducer
from tests.proofs.made_events import records

_EVERY_S: Final = 0.05
_MOST: Final = 60_000


class Steady:
    """A thread that sends `per_s` events a second while it is not paused."""

    def __init__(self, settings: Settings, per_s: int, seed: int, now: datetime, most: int = _MOST) -> None:
        self._producer = BulkProducer(settings.kafka, embedded=settings.embedded_kafka)
        self._events = records(most, seed + 1000, now, settings.partition_count, first=most)
        self._per_turn = max(1, int(per_s * _EVERY_S))
        self._going, self._ending = threading.Event(), threading.Event()
        self._between = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self._sent = 0
        self.ran_out = False  # there was nothing more to send: the rest of the proof had no events coming
        self.busy_s = 0.0  # how long it was sending

    def __enter__(self) -> Self:
        self._going.set()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def more(self, seconds: float) -> None:
        """Let it go on for a while."""
        self._ending.wait(seconds)

    def pause(self) -> None:
        """Send nothing more for now; what was sent is acknowledged."""
        self._between.clear()
        self._going.clear()
        self._between.wait(_EVERY_S * 40)

    def resume(self) -> None:
        """Go on."""
        self._going.set()

    def end(self) -> int:
        """End; how many were sent."""
        self._ending.set()
        self._going.set()
        if self._thread.is_alive():
            self._thread.join()
        return self._sent

    def _send(self) -> None:
        due = time.monotonic()
        while not self._ending.is_set():
            if not self._going.is_set():
                self._between.set()
                self._going.wait()
                due = time.monotonic()
                continue
            begun = time.monotonic()
            some = list(islice(self._events, self._per_turn))
            self.ran_out = not some
            self._producer.send_all(some)
            self._sent += len(some)
            due += _EVERY_S
            self._ending.wait(max(0.0, due - time.monotonic()))
            self.busy_s += time.monotonic() - begun
