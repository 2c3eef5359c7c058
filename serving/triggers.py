"""Messages that are due, for those who have no Kafka client: pages of `shop.triggers.v1` behind a cursor.

The newest records are held in this process; older ones are read from the log when a cursor asks for them. A
cursor holds the next offset of each partition, so that every message comes once, whichever process answers.
"""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from heapq import merge
from itertools import islice
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from features.messages import Trigger
from infra.errors import KafkaAway
from infra.kafka import Follower, Record
from infra.keys import split_record_key
from infra.logs import logger
from serving import tokens
from serving.following import PAUSE_S, Following
from serving.topic import Topic, read

MAX_LIMIT: Final = 500
_HELD: Final = 1000  # per partition
_READ_MOST: Final = 500
_READ_S: Final = 0.2
_OLDER_S: Final = 5.0

_log = logger(__name__)
_decoder: Final = msgspec.json.Decoder(Trigger)


class TriggersQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page: behind this cursor, so many at most."""

    after: Annotated[str, Meta(min_length=1, max_length=65_536)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] = 100


class Triggers(msgspec.Struct, frozen=True):
    """A page of messages, oldest first, and the cursor of the next page (null: nothing was ever there)."""

    triggers: list[Trigger]
    next: str | None


class TriggerLog:
    """Follows the topic: `start` once, `run` until cancelled; `page` at any time between."""

    def __init__(self, topic: Topic, tenant: str, held: int = _HELD, *, pause_s: float = PAUSE_S) -> None:
        """`held`: records per partition that are kept in this process; `pause_s` is waited after trouble."""
        self._most = held
        self._topic = topic
        self._tenant = tenant
        self._starts: dict[int, int] = {}
        self._held: dict[int, deque[Record]] = {}
        self._held_from: dict[int, int] = {}
        self._follower: Follower | None = None
        self._one_reader = asyncio.Semaphore(1)
        self._following = Following("messages", self._once, self.start, pause_s=pause_s)

    @property
    def trouble(self) -> str:
        """Why new messages do not arrive at this moment; empty when they do."""
        return self._following.trouble

    async def start(self) -> None:
        """Begin to follow, a page's worth before the end.

        Raises:
            KafkaAway, NotFound.
        """
        self._starts = await asyncio.to_thread(self._topic.starts)
        ends = await asyncio.to_thread(self._topic.ends)
        self._held_from = {p: max(start, ends[p] - self._most) for p, start in self._starts.items()}
        self._held = {p: deque() for p in self._starts}
        self._end_follower()
        self._follower = self._topic.follow(self._held_from)

    async def run(self) -> None:
        """Take records up as they come; after trouble, start anew. Ends only when cancelled."""
        try:
            await self._following.run()
        finally:
            self._end_follower()

    async def page(self, query: TriggersQuery) -> Triggers:
        """Messages behind the cursor.

        Raises:
            BadInput: the cursor is none of ours.
            KafkaAway: older ones are asked for and Kafka is away.
        """
        positions = dict(self._starts)
        if query.after is not None:
            given = tokens.decode(query.after, "after").get(self._topic.log, {})
            positions |= {p: max(offset, self._starts[p]) for p, offset in given.items() if p in self._starts}
        if any(at < self._held_from[p] for p, at in positions.items()):
            found: Iterable[Record] = await self._older(positions, query.limit)
        else:
            newer = ([r for r in held if r.offset >= positions[p]] for p, held in self._held.items())
            found = merge(*newer, key=lambda record: record.timestamp_ms)
        records = list(islice(found, query.limit))
        for record in records:
            positions[record.partition] = record.offset + 1
        cursor = tokens.encode({self._topic.log: positions}) if records or query.after else None
        return Triggers([t for t in map(self._trigger, records) if t is not None], cursor)

    def _trigger(self, record: Record) -> Trigger | None:
        """The message of a record, if it is one of this tenant."""
        try:
            if split_record_key((record.key or b"").decode())[0] != self._tenant:
                return None
            return _decoder.decode(record.value or b"")
        except ValueError:
            _log.warning("a record is no message", partition=record.partition, offset=record.offset)
            return None

    async def _older(self, positions: dict[int, int], limit: int) -> list[Record]:
        """Records before those that are held. Positions that lie before the log's start are moved there."""
        async with self._one_reader:
            starts = await asyncio.to_thread(self._topic.starts)
            for partition, start in starts.items():
                positions[partition] = max(positions[partition], start)
            ends = {p: self._held_from[p] for p, at in positions.items() if at < self._held_from[p]}
            wanted = {p: positions[p] for p in ends}
            return await asyncio.to_thread(_between, self._topic, wanted, ends, limit)

    async def _once(self) -> None:
        assert self._follower is not None, "start() comes first"
        records = await read(self._follower, _READ_MOST, _READ_S)
        for record in records:
            held = self._held[record.partition]
            held.append(record)
            if len(held) > self._most:
                self._held_from[record.partition] = held.popleft().offset + 1

    def _end_follower(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None


def _between(topic: Topic, positions: Mapping[int, int], ends: Mapping[int, int], limit: int) -> list[Record]:
    """Records from `positions` up to `ends`, about `limit` of them."""
    follower = topic.follow(positions)
    unfinished, found = set(positions), list[Record]()
    try:
        while unfinished and len(found) < limit:
            records = follower.read(limit, _OLDER_S)
            if not records:
                raise KafkaAway(f"Kafka at {topic.bootstrap} does not deliver {topic.name}; try again in a moment")
            found += [record for record in records if record.offset < ends[record.partition]]
            unfinished -= {record.partition for record in records if record.offset + 1 >= ends[record.partition]}
        return found
    finally:
        follower.close()
