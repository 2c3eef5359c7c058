"""What was sent already, as the topic of messages itself tells it.

A Redis that went back, by a second or to nothing, has forgotten the timers that fired meanwhile; the messages are on
their topic. So before a partition's timers fire under a new claim, its part of the topic is read, from where it was
read to before: a message that left is not made again, from a row that may know more by now.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from features.messages import TriggerKind
from infra.brokers import Bootstrap
from infra.kafka import Follower
from infra.kafka_admin import end_offsets, start_offsets
from infra.kafka_probe import next_record
from infra.logs import logger
from infra.topics import TRIGGERS
from streams.commit import PartitionStore
from streams.marketing.timers import member
from streams.partition import Claimed

_log = logger(__name__)

_AT_ONCE: Final = 2000
_WITHIN_S: Final = 1.0


class Heard(NamedTuple):
    """What a partition's part of the topic tells: when the last message of each timer was due, ms, and the offset to
    read on from.
    """

    told: Mapping[str, int]
    after: int


# What lies on the topic from these offsets on (None: from its start), by partition.
SentLog = Callable[[Mapping[int, int | None]], Awaitable[Mapping[int, Heard]]]


class Sent:
    """Sees to it that `told` in Redis knows of every message that left."""

    def __init__(self, store: PartitionStore, log: SentLog) -> None:
        self._store = store
        self._log = log
        self._learned: dict[int, int] = {}

    async def look(self, owned: Mapping[int, Claimed]) -> None:
        """Learn of these partitions, each once for every claim.

        Raises:
            KafkaAway, RedisAway: nothing of them may fire yet.
        """
        new = [partition for partition, it in owned.items() if self._learned.get(partition) != it.epoch]
        if not new:
            return
        before = await self._store.sent_after(new)
        for partition, heard in (await self._log(before)).items():
            if heard.told or heard.after != before[partition]:
                await self._store.note_sent(partition, heard.told, heard.after)
        self._learned |= {partition: owned[partition].epoch for partition in new}


class _Said(msgspec.Struct, frozen=True):
    """What of a message says which timer it was."""

    kind: TriggerKind
    tenant: str
    shopper_id: str
    eligible_at: datetime


_decoder: Final = msgspec.json.Decoder(_Said)


def sent_log(bootstrap: Bootstrap, embedded: bool) -> SentLog:
    """The topic of messages on Kafka."""

    async def read(positions: Mapping[int, int | None]) -> Mapping[int, Heard]:
        return await asyncio.to_thread(_read, bootstrap, embedded, positions)

    return read


def _read(bootstrap: Bootstrap, embedded: bool, positions: Mapping[int, int | None]) -> Mapping[int, Heard]:
    starts, ends = start_offsets(bootstrap, TRIGGERS), end_offsets(bootstrap, TRIGGERS)
    begins = {p: _begin(position, starts.get(p, 0), ends.get(p, 0)) for p, position in positions.items()}
    told: dict[int, dict[str, int]] = {partition: {} for partition in begins}
    left = {partition: begin for partition, begin in begins.items() if begin < ends.get(partition, 0)}
    if left:
        follower = Follower(bootstrap, TRIGGERS, left, embedded=embedded)
        try:
            while left:
                records = follower.read(_AT_ONCE, _WITHIN_S)
                for record in records:
                    _note(told[record.partition], record.value)
                    left[record.partition] = record.offset + 1
                if not records:  # only marks of transactions are left, or nobody answers
                    left = {
                        p: next_record(bootstrap, TRIGGERS, p, at, embedded=embedded).offset for p, at in left.items()
                    }
                left = {p: at for p, at in left.items() if at < ends[p]}
        finally:
            follower.close()
    return {p: Heard(its, max(begins[p], ends.get(p, 0))) for p, its in told.items()}


def _begin(position: int | None, start: int, end: int) -> int:
    """Where to read on; from the start where the topic is another one since, or has forgotten what comes next."""
    return position if position is not None and start <= position <= end else start


def _note(told: dict[str, int], value: bytes | None) -> None:
    try:
        said = _decoder.decode(value or b"")
    except msgspec.DecodeError as error:  # of another version, or somebody else's: it says nothing of our timers
        _log.warning("a message on its topic cannot be read", why=str(error))
        return
    name = member(said.tenant, said.kind, said.shopper_id)
    told[name] = max(told.get(name, 0), round(said.eligible_at.timestamp() * 1000))
