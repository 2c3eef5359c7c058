"""What became of a dead letter: a record on `shop.commands.v1`, which is also the audit log.

All records of one letter have one key, so they are in one partition and the last of them holds.
"""

from datetime import datetime
from typing import Final, Literal

import msgspec

from infra.kafka import Outgoing, Record
from infra.keys import partition_of
from infra.topics import COMMANDS

State = Literal["requeuing", "requeued", "discarded"]
_COMMAND: Final = "dead_letter"


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`requeuing` is written before the record is put back on the log, at or after `from_offset` of partition
    `to_partition`; so whoever goes on after a crash can look whether it is there.
    """

    letter_id: str
    state: State
    by: str
    at: datetime
    reason: str
    topic: str
    command: Literal["dead_letter"] = _COMMAND
    to_partition: int | None = None
    from_offset: int | None = None


class _Command(msgspec.Struct):
    command: str = ""


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Mark)
_any_decoder: Final = msgspec.json.Decoder(_Command)


def command_id(letter_id: str) -> str:
    """The key of everything that is said about a letter."""
    return f"{_COMMAND}:{letter_id}"


def told(mark: Mark) -> str:
    """What became of a letter, in words."""
    return f"{mark.state} by {mark.by} at {mark.at:%Y-%m-%d %H:%M}"


def outgoing(mark: Mark, partitions: int) -> Outgoing:
    """A mark on its way to the log."""
    key = command_id(mark.letter_id)
    # The default of `command` must be on the log: other commands lie beside it.
    value = _encoder.encode({"command": mark.command, **msgspec.to_builtins(mark)})
    return Outgoing(COMMANDS, partition_of(key, partitions), key, value)


def read_mark(record: Record) -> Mark | None:
    """The mark that a record is; None for another command."""
    try:
        command = _any_decoder.decode(record.value or b"").command
        return _decoder.decode(record.value or b"") if command == _COMMAND else None
    except (ValueError, RecursionError):
        return None
