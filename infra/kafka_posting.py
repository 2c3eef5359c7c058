"""Records that nobody waits for: they go out from a bounded buffer, and what it cannot hold or deliver is counted."""

import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message

from infra.brokers import Bootstrap
from infra.kafka_client import producer_config
from infra.kafka_sending import Outgoing, Sending

_BUFFER_RECORDS: Final = 20_000
_BUFFER_KB: Final = 65_536
_KEPT_MS: Final = 60_000
_LINGER_MS: Final = 20
_END_S: Final = 5.0
_MADE_ANEW_S: Final = 5.0


class Poster:
    """Takes records at any time, from one thread. `lost` is called, on a thread of Kafka's client, for each record that
    was taken and could not be delivered within a minute.
    """

    def __init__(
        self,
        bootstrap: Bootstrap,
        lost: Callable[[], None],
        *,
        embedded: bool,
        buffer_records: int = _BUFFER_RECORDS,
        kept_ms: int = _KEPT_MS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """`buffer_records` and `kept_ms` bound what waits while Kafka is away."""
        self._config: dict[str, Any] = producer_config(bootstrap, embedded, kept_ms, _LINGER_MS) | {
            "queue.buffering.max.messages": buffer_records,
            "queue.buffering.max.kbytes": _BUFFER_KB,
            "delivery.report.only.error": True,  # an answer for each would cost more than the record
        }
        self._lost = lost
        self._monotonic = monotonic
        self._sending = Sending(self._config, _END_S)
        self._made_s = monotonic()

    def start(self) -> None:
        """Begin to send."""
        self._sending.start()

    def post(self, record: Outgoing) -> bool:
        """Take a record, unless the buffer is full; does not wait. Whether it was taken."""
        if self._sending.given_up is not None:
            self._make_anew()
        try:
            self._sending.produce(record, self._answered)
        except (BufferError, KafkaException):
            return False
        return True

    def close(self) -> None:
        """Send what waits, for five seconds at most, and end. Blocks."""
        self._sending.close()

    def _answered(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._lost()

    def _make_anew(self) -> None:
        """A client that has given up for good fails whatever it is given."""
        if self._monotonic() - self._made_s < _MADE_ANEW_S:
            return
        self._sending.retire()
        self._sending, self._made_s = Sending(self._config, _END_S), self._monotonic()
        self._sending.start()
