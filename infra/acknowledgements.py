"""The brokers' answers to records sent together: they come on the producer's thread, an event loop waits for them."""

import asyncio
import threading
from collections.abc import Callable

from confluent_kafka import KafkaError, Message


class Acknowledgements:
    """Offsets in the order of sending (-1: not acknowledged), the first failure, and a future of the last answer."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.offsets = [-1] * count
        self.failed: Exception | KafkaError | None = None
        self.done: asyncio.Future[None] = loop.create_future()
        self._loop = loop
        self._open = count
        self._lock = threading.Lock()

    def callback(self, index: int) -> Callable[[KafkaError | None, Message], None]:
        """What the producer calls when a record is answered."""

        def answered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.offsets[index] = int(message.offset() or 0)
            self._count(error)

        return answered

    def refuse(self, error: Exception) -> None:
        """A record that the producer did not take."""
        self._count(error)

    def _count(self, error: Exception | KafkaError | None) -> None:
        with self._lock:
            self._open -= 1
            self.failed = self.failed or error
            last = not self._open
        if last:
            self._loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        if not self.done.done():  # the caller may have been cancelled
            self.done.set_result(None)
