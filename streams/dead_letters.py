"""Dead letters: what could not be processed, with its bytes, its position and the reason.

The value of a dead letter is the record's value as it was; everything else is in its headers, so that a
record as large as the topic allows needs no encoding that would make it larger.
"""

from typing import Final, Protocol

from infra.kafka import Outgoing
from infra.keys import record_key
from infra.topics import DEAD_LETTERS

# Producers refuse records over 1,000,000 bytes, headers and key included.
MAX_VALUE: Final = 980_000
MAX_KEY: Final = 8_000
MAX_MESSAGE: Final = 500


class LogRecord(Protocol):
    """A record as any Kafka client gives it."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        ...

    @property
    def key(self) -> bytes | None:
        """Its key."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its value; None is a tombstone."""
        ...

    @property
    def timestamp(self) -> int:
        """Kafka's time of it, ms: when it was received, where its event does not say."""
        ...


class Source(Protocol):
    """Where a record came from."""

    @property
    def topic(self) -> str:
        """The topic."""
        ...

    @property
    def partition(self) -> int:
        """The partition."""
        ...

    @property
    def log(self) -> str:
        """The identity of the log that the offset counts in."""
        ...


def letter(source: Source, record: LogRecord, code: str, message: str) -> Outgoing:
    """The dead letter of one record. The same record gives the same letter, with the same id."""
    value, key = record.value, record.key or b""
    headers = [
        ("daogou-id", f"{source.log}/{source.partition}/{record.offset}"),
        ("daogou-reason", code),
        ("daogou-message", message[:MAX_MESSAGE]),
        ("daogou-topic", source.topic),
        ("daogou-partition", str(source.partition)),
        ("daogou-offset", str(record.offset)),
    ]
    if value is not None and len(value) > MAX_VALUE:
        headers.append(("daogou-cut-from-bytes", str(len(value))))
        value = value[:MAX_VALUE]
    return Outgoing(
        topic=DEAD_LETTERS,
        partition=source.partition,
        key=record_key(source.topic, str(source.partition)),
        value=value,
        headers=(*((name, text.encode()) for name, text in headers), ("daogou-key", key[:MAX_KEY])),
    )
