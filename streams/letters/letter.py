"""One dead letter as it is read, and which of them are wanted."""

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from infra.errors import BadInput
from infra.kafka import Record
from infra.keys import split_record_key
from streams.dead_letters import (
    CUT_FROM,
    FIRST,
    ID,
    KEY,
    MESSAGE,
    OFFSET,
    PARTITION,
    PIECE,
    REASON,
    SHA256,
    TOPIC,
)


@dataclass(frozen=True, slots=True)
class Letter:
    """What could not be processed: `topic`, `partition` and `offset` say where it was, `id` of which log.

    `at_ms` is when the letter was written, `cut_from` how many bytes there were where the letter holds only
    some of them, `piece` which piece of how many these are (else they are the first), `first` the letter of a record
    that failed before and was requeued.
    """

    id: str
    reason: str
    message: str
    topic: str
    partition: int
    offset: int
    key: bytes
    value: bytes | None
    at_ms: int
    cut_from: int | None = None
    sha256: str = ""
    first: str = ""
    piece: tuple[int, int] | None = None

    @property
    def place(self) -> str:
        """Where it was, as lists name it; the id says of which log, too."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def whole(self) -> bool:
        """Whether it holds all of the record's bytes."""
        return self.cut_from is None

    @property
    def tenant(self) -> str:
        """Whose it was, by the record's key, else by what can be read of its bytes; empty: not known."""
        try:
            parts = split_record_key(self.key.decode())
        except UnicodeDecodeError:
            parts = ()
        if len(parts) > 1:
            return parts[0]
        try:
            return msgspec.json.decode(self.value or b"", type=_Tenant).tenant
        except (ValueError, RecursionError):
            return ""


class _Tenant(msgspec.Struct):
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters; what is empty or None does not choose. `ids` are ids or places, times are ms, `until_ms` is
    exclusive.
    """

    ids: frozenset[str] = frozenset()
    reasons: frozenset[str] = frozenset()
    topic: str | None = None
    partition: int | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    tenant: str | None = None

    @property
    def anything(self) -> bool:
        """Whether it chooses at all."""
        return self != Wanted()

    def names(self, letter: Letter) -> bool:
        """Whether the letter is named, by its id or its place."""
        return letter.id in self.ids or letter.place in self.ids

    def takes(self, letter: Letter) -> bool:
        """Whether the letter is one of them."""
        return (
            (not self.ids or self.names(letter))
            and (not self.reasons or letter.reason in self.reasons)
            and self.topic in (None, letter.topic)
            and self.partition in (None, letter.partition)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
            and self.tenant in (None, letter.tenant)
        )


def read_letter(record: Record) -> Letter:
    """The letter that a record of `shop.dead-letters.v1` is.

    Raises:
        BadInput: it is none (`not_a_letter`).
    """
    headers: Mapping[str, bytes] = dict(record.headers)
    try:
        return Letter(
            id=headers[ID].decode(),
            reason=headers[REASON].decode(),
            message=headers[MESSAGE].decode(errors="replace"),
            topic=headers[TOPIC].decode(),
            partition=int(headers[PARTITION]),
            offset=int(headers[OFFSET]),
            key=headers.get(KEY, b""),
            value=record.value,
            at_ms=record.timestamp_ms,
            cut_from=int(headers[CUT_FROM]) if CUT_FROM in headers else None,
            sha256=headers.get(SHA256, b"").decode(),
            first=headers.get(FIRST, b"").decode(),
            piece=_piece(headers.get(PIECE)),
        )
    except (KeyError, ValueError) as error:
        where = f"{record.topic} partition {record.partition} offset {record.offset}"
        raise BadInput(f"{where} is no dead letter: {error}", code="not_a_letter") from None


def _piece(said: bytes | None) -> tuple[int, int] | None:
    if said is None:
        return None
    number, _, many = said.decode().partition("/")
    return int(number), int(many)
