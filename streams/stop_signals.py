"""Ctrl-C and SIGTERM while children run: the first unwinds the process in order, later ones only press for time.

An exception at the second signal could strike in the middle of the unwinding, and end Kafka and Redis below a worker
that still runs.
"""

import signal
from collections.abc import Callable
from types import FrameType


class StopSignals:
    """From `install` on, the first signal raises KeyboardInterrupt; each later one calls `hurry`."""

    def __init__(self) -> None:
        self.hurry: Callable[[], None] = lambda: None
        self._asked = False

    def install(self) -> None:
        """Hear SIGINT and SIGTERM in this process; from the main thread."""
        for one in (signal.SIGINT, signal.SIGTERM):
            signal.signal(one, self.heard)

    def heard(self, _: int, __: FrameType | None) -> None:
        """A signal has come.

        Raises:
            KeyboardInterrupt: it is the first.
        """
        if not self._asked:
            self._asked = True
            raise KeyboardInterrupt
        self.hurry()
