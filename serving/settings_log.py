"""Settings of a shop on `shop.settings.v1`: written by whoever may, followed by every process, in force with the next
list. The version of a setting is its place on the log, so two writers cannot give one version twice.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from infra.clock import Clock
from infra.errors import BadInput, KafkaAway, NotFound
from infra.kafka import Follower, Outgoing, Producer, Record
from infra.keys import partition_of, record_key, split_record_key
from infra.logs import logger
from infra.setting_records import decode, encode
from infra.topics import SETTINGS
from serving import tokens
from serving.following import PAUSE_S, Following
from serving.setting_kinds import Kind, decoded, kind_of
from serving.topic import Topic, read

_READ_MOST: Final = 500
_READ_S: Final = 0.2
_QUIET_S: Final = 2.0
_LOAD_S: Final = 60.0
_FIRST_VERSION: Final = 2  # 1 is what a shop begins with

_log = logger(__name__)

Taken = Callable[[str, Any, int], None]


class Setting(msgspec.Struct, frozen=True):
    """A setting in force; `at` and `by` are null for what a shop begins with."""

    kind: str
    id: str
    version: int
    value: Any
    at: datetime | None = None
    by: str | None = None


class SettingWritten(msgspec.Struct, frozen=True):
    """What was checked and, unless it was only to be checked, is on the log."""

    kind: str
    id: str
    version: int | None
    validated_only: bool
    consistency_token: str | None


class ShopSettings:
    """Follows and writes. `taken[kind](id, value, version)` is called for each change, with None for what is as in the
    beginning again.
    """

    def __init__(
        self,
        topic: Topic,
        producer: Producer,
        tenant: str,
        partitions: int,
        kinds: Mapping[str, Kind],
        taken: Mapping[str, Taken],
        *,
        clock: Clock,
        pause_s: float = PAUSE_S,
    ) -> None:
        self._topic = topic
        self._producer = producer
        self._tenant = tenant
        self._partitions = partitions
        self._kinds = kinds
        self._taken = taken
        self._clock = clock
        self._held: dict[tuple[str, str], Setting] = {}
        self._follower: Follower | None = None
        self.positions: dict[int, int] = {}
        self._following = Following("settings", self._once, self.load, pause_s=pause_s)

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """What there is to set."""
        return self._kinds

    @property
    def trouble(self) -> str:
        """Why changes do not arrive at this moment; empty when they do."""
        return self._following.trouble

    async def load(self) -> None:
        """Everything that is on the log, and a reader from there on. What was in force and is no longer there, its end
        compacted away, is as in the beginning again.

        Raises:
            KafkaAway, NotFound: what was in force stays.
        """
        before, self._held = self._held, {}
        try:
            await self._load()
        except BaseException:
            self._held = before | self._held
            raise
        for kind, setting_id in before.keys() - self._held.keys():
            self._taken[kind](setting_id, self._kinds[kind].beginning.get(setting_id), 1)

    async def _load(self) -> None:
        starts = await asyncio.to_thread(self._topic.starts)
        ends = await asyncio.to_thread(self._topic.ends)
        self.positions = {partition: start - 1 for partition, start in starts.items()}
        self._end_follower()
        self._follower = self._topic.follow(starts)
        now = asyncio.get_running_loop().time
        heard_at = now()
        until = heard_at + _LOAD_S
        while any(self.positions[partition] + 1 < end for partition, end in ends.items()):
            before = dict(self.positions)
            await self._once()
            if before != self.positions:
                heard_at = now()
            # What compaction took leaves holes, at the end too: a long silence is the end. A short one is not: who may
            # call is among what is loaded here.
            if now() > heard_at + _QUIET_S:
                return
            if now() > until:
                raise KafkaAway(f"Kafka at {self._topic.bootstrap} did not deliver {SETTINGS} whole in {_LOAD_S:g} s")

    async def run(self) -> None:
        """Apply changes as they come, until cancelled."""
        try:
            await self._following.run()
        finally:
            self._end_follower()

    def get(self, kind: str, setting_id: str) -> Setting:
        """What is in force.

        Raises:
            NotFound: no such kind, or nothing of this id.
        """
        of = kind_of(self._kinds, kind)
        held = self._held.get((kind, setting_id))
        if held is not None:
            return held
        if setting_id in of.beginning:
            return Setting(kind, setting_id, 1, of.beginning[setting_id])
        raise NotFound(f"There is no {kind} {setting_id[:40]!r}.", path="id")

    def all_of(self, kind: str) -> list[Setting]:
        """Everything of a kind that is in force.

        Raises:
            NotFound: no such kind.
        """
        ids = {*kind_of(self._kinds, kind).beginning, *(i for k, i in self._held if k == kind)}
        return [self.get(kind, setting_id) for setting_id in sorted(ids)]

    async def put(self, kind: str, setting_id: str, raw: bytes, by: str, *, validate_only: bool) -> SettingWritten:
        """Check a value and put it on the log.

        Raises:
            NotFound: no such kind or id.
            BadInput: does not validate.
            KafkaAway: not acknowledged.
        """
        of = kind_of(self._kinds, kind)
        of.check_id(setting_id)
        decoded(of, setting_id, raw)
        if validate_only:
            return SettingWritten(kind, setting_id, None, validated_only=True, consistency_token=None)
        at = datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)
        return await self._written(kind, setting_id, encode(raw, at, by))

    async def remove(self, kind: str, setting_id: str) -> SettingWritten:
        """Back to what a shop begins with, or to nothing.

        Raises:
            NotFound: no such kind, or nothing of this id.
            KafkaAway: not acknowledged.
        """
        self.get(kind, setting_id)
        return await self._written(kind, setting_id, None)

    async def _written(self, kind: str, setting_id: str, value: bytes | None) -> SettingWritten:
        key = record_key(self._tenant, kind, setting_id)
        partition = partition_of(key, self._partitions)
        offset = await self._producer.send(Outgoing(SETTINGS, partition, key, value))
        token = tokens.encode({self._topic.log: {partition: offset}})
        version = None if value is None else offset + _FIRST_VERSION
        return SettingWritten(kind, setting_id, version, validated_only=False, consistency_token=token)

    async def _once(self) -> None:
        assert self._follower is not None, "load() comes first"
        for record in await read(self._follower, _READ_MOST, _READ_S):
            self._apply(record)
            self.positions[record.partition] = record.offset

    def _apply(self, record: Record) -> None:
        """A record that this version cannot read leaves what was in force, unless its kind fails closed; the process'
        log says so.
        """
        try:
            tenant, kind, setting_id = split_record_key((record.key or b"").decode())
            if tenant != self._tenant or kind not in self._kinds:
                return
            if record.value is None:
                self._held.pop((kind, setting_id), None)
                self._taken[kind](setting_id, self._kinds[kind].beginning.get(setting_id), 1)
                return
            stored = decode(record.value)
            value = decoded(self._kinds[kind], setting_id, bytes(stored.value))
            version = record.offset + _FIRST_VERSION
            shown = self._kinds[kind].shown(value)
            self._held[kind, setting_id] = Setting(kind, setting_id, version, shown, stored.at, stored.by)
            self._taken[kind](setting_id, value, version)
        except (BadInput, ValueError) as error:
            why = error.message if isinstance(error, BadInput) else type(error).__name__
            _log.error("a setting cannot be read", partition=record.partition, offset=record.offset, why=why)
            self._close(record)

    def _close(self, record: Record) -> None:
        with contextlib.suppress(ValueError):  # a key that is none of ours names nothing
            tenant, kind, setting_id = split_record_key((record.key or b"").decode())
            if tenant == self._tenant and kind in self._kinds and self._kinds[kind].fails_closed:
                self._held.pop((kind, setting_id), None)
                self._taken[kind](setting_id, None, record.offset + _FIRST_VERSION)

    def _end_follower(self) -> None:
        if self._follower is not None:
            self._follower.close()
            self._follower = None
