"""Dead letters: what could not be processed, with its bytes, its position and the reason.

The value of a dead letter is the record's value as it was; everything else is in its headers, so that a
record as large as the topic allows needs no encoding that would make it larger. Of a record that is larger it
holds the beginning, the length and the digest of the whole, beside the position.
"""

import hashlib
from typing import Final, Protocol

from infra.kafka import Outgoing
from infra.keys import record_key
from infra.topics import DEAD_LETTERS

# Producers refuse records over 1,000,000 bytes, headers and key included.
MAX_VALUE: Final = 980_000
MAX_KEY: Final = 8_000
MAX_MESSAGE: Final = 500
# A record over this, which only a topic with another bound can hold, is no event whatever it says.
MAX_RECORD: Final = 1 << 20

# The headers of a letter.
ID: Final = "daogou-id"
REASON: Final = "daogou-reason"
MESSAGE: Final = "daogou-message"
TOPIC: Final = "daogou-topic"
PARTITION: Final = "daogou-partition"
OFFSET: Final = "daogou-offset"
KEY: Final = "daogou-key"
CUT_FROM: Final = "daogou-cut-from-bytes"
SHA256: Final = "daogou-sha256"
# On a record that was requeued: the letter that it comes from. On a letter, and on such a record: the first
# letter of all, where there were others.
REQUEUED_FROM: Final = "daogou-requeued-from"
FIRST: Final = "daogou-first-id"
# On a letter that holds a part of an effect: which of how many.
PIECE: Final = "daogou-piece"
EFFECT_TOO_LARGE: Final = "effect_too_large"
_MAX_PIECE: Final = 200_000


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
        (ID, f"{source.log}/{source.partition}/{record.offset}"),
        (REASON, code),
        (MESSAGE, message[:MAX_MESSAGE]),
        (TOPIC, source.topic),
        (PARTITION, str(source.partition)),
        (OFFSET, str(record.offset)),
    ]
    first = _first(record)
    if first:
        headers.append((FIRST, first))
    if value is not None and len(value) > MAX_VALUE:
        headers.append((CUT_FROM, str(len(value))))
        headers.append((SHA256, hashlib.sha256(value).hexdigest()))
        value = value[:MAX_VALUE]
    return Outgoing(
        topic=DEAD_LETTERS,
        partition=source.partition,
        key=record_key(source.topic, str(source.partition)),
        value=value,
        headers=(*((name, text.encode()) for name, text in headers), (KEY, key[:MAX_KEY])),
    )


def letters_of_effect(effect: Outgoing, code: str = EFFECT_TOO_LARGE, message: str = "") -> list[Outgoing]:
    """The dead letters of an effect that cannot be put onto its topic: all of its bytes, in pieces that fit.

    Without a message of its own it is too large for its topic. It never had an offset: -1. The same effect gives the
    same letters, with the same ids.
    """
    value = effect.value or b""
    digest = hashlib.sha256(value).hexdigest()
    pieces = [value[at : at + _MAX_PIECE] for at in range(0, max(1, len(value)), _MAX_PIECE)]
    made = []
    for number, piece in enumerate(pieces):
        headers = [
            (ID, f"effect/{effect.topic}/{effect.partition}/{digest[:32]}/{number}"),
            (REASON, code),
            (MESSAGE, message[:MAX_MESSAGE] or f"an effect of {len(value):,} bytes is larger than its topic takes"),
            (TOPIC, effect.topic),
            (PARTITION, str(effect.partition)),
            (OFFSET, "-1"),
        ]
        if len(pieces) > 1:
            headers += [(CUT_FROM, str(len(value))), (SHA256, digest), (PIECE, f"{number + 1}/{len(pieces)}")]
        packed = ((name, text.encode()) for name, text in headers)
        key = record_key(effect.topic, str(effect.partition))
        made.append(
            Outgoing(DEAD_LETTERS, effect.partition, key, piece, (*packed, (KEY, effect.key.encode()[:MAX_KEY])))
        )
    return made


def _first(record: LogRecord) -> str:
    """The first letter of a record that was requeued; empty for any other. Records of the archive have no headers."""
    headers: dict[str, bytes | None] = dict(getattr(record, "headers", None) or ())
    return (headers.get(FIRST) or headers.get(REQUEUED_FROM) or b"").decode(errors="replace")[:MAX_MESSAGE]
