"""One client that writes to Kafka, with the thread that hears its acknowledgements, for as long as it may succeed.

librdkafka's producer can give up for good: from then on it fails whatever it is given. Another one, made anew, may do
its work; `infra.kafka.Producer` does that.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Producer as _Producer

from infra.kafka_client import Heard

_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One record to be written; a `value` of None is a tombstone."""

    topic: str
    partition: int
    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()


class Sending:
    """Takes records and answers each of them once, by its callback, on a thread of its own."""

    def __init__(self, config: Mapping[str, Any], within_s: float) -> None:
        """`within_s`: how long its end may take, at most."""
        self.heard = Heard()
        self._within_s = within_s
        self._producer = _Producer({**config, "error_cb": self.heard})
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="kafka-producer", daemon=True)

    @property
    def given_up(self) -> KafkaError | None:
        """Why it fails whatever it is given; None: it may still succeed."""
        return self.heard.last if self.heard.last is not None and self.heard.last.fatal() else None

    def start(self) -> None:
        """Begin to serve acknowledgements."""
        self._thread.start()

    def produce(self, record: Outgoing, on_delivery: Callable[..., None]) -> None:
        """Take one record.

        Raises:
            BufferError, KafkaException: it was not taken; there is no answer.
        """
        self._producer.produce(
            record.topic,
            value=record.value,
            key=record.key,
            partition=record.partition,
            on_delivery=on_delivery,
            headers=list(record.headers) or None,
        )

    def retire(self) -> None:
        """Take nothing more and end by itself, once every record is answered; does not wait."""
        self._ending.set()

    def close(self) -> None:
        """Send what waits, at most `within_s` seconds, and end."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join()

    def _poll(self) -> None:
        while not self._ending.is_set():
            self._answer(_POLL_S)
        until = time.monotonic() + self._within_s
        while len(self._producer) and time.monotonic() < until:
            self._answer(_POLL_S)
        if len(self._producer):
            self._producer.purge()
            self._answer(0)

    def _answer(self, within_s: float) -> None:
        try:
            self._producer.poll(within_s)
        except KafkaException as error:  # the client has given up: it still has to say so of every record
            self.heard(error.args[0])
