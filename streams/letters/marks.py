"""What became of a dead letter: a record on `shop.commands.v1`, which is also the audit log.

All records of one letter have one key, so they are in one partition, and everybody who reads them agrees on which of
them holds: of two operators who requeue a letter at the same moment, the one whose word came first.
"""

from datetime import datetime, timedelta
from typing import Final, Literal

import msgspec

from infra.kafka import Outgoing, Record
from infra.keys import partition_of
from infra.topics import COMMANDS

State = Literal["requeuing", "requeued", "discarded"]
_COMMAND: Final = "dead_letter"

HELD: Final = timedelta(seconds=60)
"""So long a letter is for the one alone who began to requeue it. Sending gives up after half of it."""


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """`requeuing` is written before the record is put back on the log, at or after `from_offset` of partition
    `to_partition`; so whoever goes on after a crash can look whether it is there. `claim` is another in each run.
    `old`: the event had happened longer before than the allowed lateness, and may have changed nothing.
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
    claim: str = ""
    old: bool = False

    def holds_at(self, now: datetime) -> bool:
        """Whether somebody may just be requeuing it."""
        return self.state == "requeuing" and now - self.at < HELD


class _Command(msgspec.Struct):
    command: str = ""


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Mark)
_any_decoder: Final = msgspec.json.Decoder(_Command)


def command_id(letter_id: str) -> str:
    """The key of everything that is said about a letter."""
    return f"{_COMMAND}:{letter_id}"


def stands(before: Mark | None, new: Mark) -> Mark:
    """Which holds, of what was said of a letter so far and what comes next on the log."""
    if before is None or before.state == "discarded":
        return new
    if before.state == "requeued":
        return before
    if new.state == "requeuing":
        return before if before.claim != new.claim and before.holds_at(new.at) else new
    return new if new.state == "requeued" else before


def told(mark: Mark) -> str:
    """What became of a letter, in words."""
    late = ", older than the lateness: late, where its shopper had come since" if mark.old else ""
    return f"{mark.state} by {mark.by} at {mark.at:%Y-%m-%d %H:%M}{late}"


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
