"""Live events on a timetable: an open loop, whose latencies count from the moment at which each was due."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from random import Random
from typing import Any, Final

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from infra.kafka import producer_config
from infra.keys import ShardKeys
from tests.benchmarks.streams_shop import Shoppers
from tests.benchmarks.streams_stage import Stage

_TICK_S: Final = 0.001
_ASK_S: Final = 0.002
_LINGER_MS: Final = 1
_SEND_MS: Final = 30_000
_WITHIN_S: Final = 20.0
# Lists of 10 kB each: looking at all that wait would hold the generator up when the worker falls behind.
_AT_ONCE: Final = 32


class _Head(msgspec.Struct, array_like=True):
    """The first fields of a packed shelf: that is enough to know how new it is."""

    model_version: str
    log: str
    offset: int


_head_decoder: Final = msgspec.msgpack.Decoder(_Head)


@dataclass
class _Waits:
    """An event whose list is waited for; `offset` is known once Kafka has acknowledged it."""

    due: float
    shelf: str
    offset: int = -1


@dataclass
class Seen:
    """Seconds from due to the list that knows of it, for each event looked at; `missed` never showed."""

    changed_s: list[float] = field(default_factory=list)
    missed: int = 0
    sent: int = 0
    late_s: float = 0.0  # the most that the generator was behind its timetable


class Timetable:
    """`rate` events a second of shoppers drawn at random, for ever."""

    def __init__(self, on: Stage, shoppers: Shoppers, rate: int, seed: int) -> None:
        self._on = on
        self._shoppers = shoppers
        self._rate = rate
        self._rng = Random(seed)
        self._producer = Producer(producer_config(on.settings.kafka, False, _SEND_MS, _LINGER_MS))
        self.acknowledged = 0
        self.failed = 0

    def watch_lists(self, seconds: float, every: int) -> Seen:
        """Send, and look for the list of each `every`-th event until it is there."""
        seen, waiting, asked = Seen(), list[_Waits](), 0.0

        def look() -> None:
            nonlocal waiting, asked
            if time.monotonic() - asked > _ASK_S:
                asked = time.monotonic()
                waiting = self._looked(waiting, seen)

        for number, due in self._due(seconds, look):
            seen.late_s = max(seen.late_s, time.monotonic() - due)
            wait = self._send(due, watched=number % every == 0)
            if wait is not None:
                waiting.append(wait)
            seen.sent += 1
            look()
        until = time.monotonic() + _WITHIN_S
        while waiting and time.monotonic() < until:
            self._producer.poll(_ASK_S)
            waiting = self._looked(waiting, seen)
        seen.missed = len(waiting)
        self._producer.flush(_WITHIN_S)
        return seen

    def send_until(self, stop: threading.Event) -> None:
        """Send and look at nothing."""
        for _, due in self._due(float("inf")):
            if stop.is_set():
                break
            self._send(due, watched=False)
        self._producer.flush(_WITHIN_S)

    def _due(self, seconds: float, meanwhile: Callable[[], None] | None = None) -> Iterator[tuple[int, float]]:
        """Each event's number and moment, once it has come; `meanwhile` is called again and again while it has not."""
        begin = time.monotonic()
        for number in count():
            due = begin + number / self._rate
            if due - begin > seconds:
                return
            while (ahead := due - time.monotonic()) > 0:
                self._producer.poll(min(ahead, _TICK_S))
                if meanwhile is not None:
                    meanwhile()
            self._producer.poll(0)
            yield number, due

    def _send(self, due: float, *, watched: bool) -> _Waits | None:
        number = self._rng.randrange(len(self._shoppers.names))
        at = datetime.fromtimestamp(time.time() - (time.monotonic() - due), UTC)
        record = self._shoppers.now(number, at.replace(microsecond=at.microsecond // 1000 * 1000))
        wait = None
        if watched:
            shelf = ShardKeys(record.partition).shelf("default", f"u-{self._shoppers.names[number]}")
            wait = _Waits(due, shelf)
        told = self._told(wait)
        self._producer.produce(record.topic, record.value, record.key, record.partition, on_delivery=told)
        return wait

    def _told(self, wait: _Waits | None) -> Callable[[KafkaError | None, Message], None]:
        def told(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self.failed += 1
                return
            self.acknowledged += 1
            if wait is not None:
                wait.offset = int(message.offset() or 0)

        return told

    def _looked(self, waiting: Sequence[_Waits], seen: Seen) -> list[_Waits]:
        """One look at the lists of those who wait longest; those who wait still."""
        if not waiting:
            return []
        asked, later = waiting[:_AT_ONCE], waiting[_AT_ONCE:]
        raws: Any = self._on.client.mget([wait.shelf for wait in asked])
        now, still = time.monotonic(), []
        for wait, raw in zip(asked, raws, strict=True):
            head = None if raw is None else _head_decoder.decode(raw)
            if wait.offset >= 0 and head is not None and head.log == self._on.log and head.offset >= wait.offset:
                seen.changed_s.append(now - wait.due)
            else:
                still.append(wait)
        return [*still, *later]
