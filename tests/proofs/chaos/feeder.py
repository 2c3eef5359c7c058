"""Puts the made records on the log: a plain producer, at a steady rate, as far as it is allowed to."""

import threading
import time
from collections.abc import Iterator
from itertools import islice
from typing import Final

from confluent_kafka import KafkaError, Message, Producer

from tests.proofs.chaos.made_log import Made

_EVERY_S: Final = 0.05
_FLUSH_WITHIN_S: Final = 120.0


class Feeder(threading.Thread):
    """Sends `records` at `rate` a second, up to the number that `allow` gave last."""

    def __init__(self, bootstrap: str, records: Iterator[Made], rate: int) -> None:
        super().__init__(daemon=True)
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,  # a broker that is killed must not change the order
                "linger.ms": 20,
                "message.timeout.ms": 120_000,
                "log_level": 0,
            }
        )
        self._records = records
        self._chunk = max(1, round(rate * _EVERY_S))
        self._allowed = 0
        self._ended = threading.Event()
        self.sent = 0
        self.acknowledged = 0
        self.failed = ""
        self.done = False

    def allow(self, count: int) -> None:
        """Send on until so many records are sent."""
        self._allowed = count

    def close(self) -> None:
        """Send nothing more."""
        self._ended.set()
        if self.is_alive():
            self.join(5.0)

    def run(self) -> None:
        """Send until nothing is left, or `close`."""
        try:
            self._send_all()
        except Exception as error:  # whoever waits for `done` looks here
            self.failed = f"{type(error).__name__}: {error}"

    def _send_all(self) -> None:
        due = time.monotonic()
        while not self._ended.is_set():
            room = min(self._chunk, self._allowed - self.sent)
            chunk = list(islice(self._records, room)) if room > 0 else []
            for record in chunk:
                self._send(record)
            self.sent += len(chunk)
            self._producer.poll(0)
            if room > 0 and not chunk:
                left = self._producer.flush(_FLUSH_WITHIN_S)
                self.failed = self.failed or (f"{left} records were not acknowledged" if left else "")
                self.done = True
                return
            due = max(due + _EVERY_S, time.monotonic() - 1.0)
            self._ended.wait(max(0.0, due - time.monotonic()))

    def _send(self, record: Made) -> None:
        while True:
            try:
                self._producer.produce(
                    record.topic, record.value, record.key, partition=record.partition, on_delivery=self._delivered
                )
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self.failed = self.failed or str(error)
        else:
            self.acknowledged += 1
