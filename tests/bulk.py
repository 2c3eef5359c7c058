"""Writing many records from code that blocks: what tests and proofs put on a log before they begin."""

from collections.abc import Iterable
from typing import Final

from confluent_kafka import KafkaError, Message
from confluent_kafka import Producer as _Producer

from infra.errors import KafkaAway
from infra.kafka import Outgoing, producer_config

_LINGER_MS: Final = 20
_POLL_S: Final = 0.1
_GRACE_S: Final = 5.0


class BulkProducer:
    """Sends long streams of records."""

    def __init__(self, bootstrap: str, *, embedded: bool, timeout_ms: int = 30_000) -> None:
        self._bootstrap = bootstrap
        self._timeout_ms = timeout_ms
        self._producer = _Producer(producer_config(bootstrap, embedded, timeout_ms, _LINGER_MS))

    def send_all(self, records: Iterable[Outgoing]) -> dict[tuple[str, int], int]:
        """Write them all and wait for every acknowledgement; the last offset by (topic, partition).

        Raises:
            KafkaAway: one was not acknowledged; others may be on the log.
        """
        last: dict[tuple[str, int], int] = {}
        failed: list[KafkaError] = []

        def arrived(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                failed.append(error)
                return
            where = (str(message.topic()), int(message.partition() or 0))
            last[where] = max(last.get(where, -1), int(message.offset() or 0))

        for record in records:
            self._send(record, arrived, failed)
            if failed:
                break
        # A record times out a little after its time: the flush outlasts it, so that every failure is heard of.
        waiting = self._producer.flush(self._timeout_ms / 1000 + _GRACE_S)
        if failed or waiting:
            why = failed[0].str() if failed else f"{waiting} records still wait"
            raise KafkaAway(f"Kafka at {self._bootstrap} did not acknowledge ({why})")
        return last

    def _send(self, record: Outgoing, arrived: object, failed: list[KafkaError]) -> None:
        while not failed:
            try:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    partition=record.partition,
                    on_delivery=arrived,
                    headers=list(record.headers) or None,
                )
            except BufferError:
                self._producer.poll(_POLL_S)
            else:
                break
        self._producer.poll(0)

    def close(self) -> None:
        """End; everything was waited for."""
        self._producer.flush(0)
