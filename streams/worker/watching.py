"""What a worker knows of itself: how far behind it is, whether it is paused, whether a partition stands still."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from infra import metrics
from infra.errors import Unavailable
from infra.kafka_admin import EndOffsets
from infra.logs import logger
from infra.metrics import Metrics
from infra.topics import CATALOG, EVENTS
from streams.draining import Blocked
from streams.inbox import Inbox
from streams.patience import patiently
from streams.pausing import Gate
from streams.pipeline import Pipeline
from streams.worker.health import Health
from streams.worker.progress import Progress
from streams.worker.stuck import Standing

_log = logger(__name__)

_LOOK_S: Final = 1.0
_MEASURE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Log:
    """What is asked of a log: its ends, where reading began, whether a record lies behind a fence."""

    topic: str
    ends: EndOffsets
    began: Callable[[], Mapping[int, int]]
    next_on_log: Callable[[int, int], Awaitable[int]]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The catalogue's log, how far it is applied, and whether its changes wait for a Kafka that takes none of them."""

    log: Log
    reached: Callable[[], Mapping[int, int]]
    blocked: Callable[[], Blocked | None]


class Watching:
    """Looks every second, measures every five, and ends the worker when a partition stands for `stuck_s` seconds."""

    def __init__(
        self,
        pipeline: Pipeline,
        gate: Gate,
        health: Health,
        progress: Progress,
        log: Log,
        stuck_s: float,
        blocked: Callable[[], Blocked | None] = lambda: None,
        catalogue: Catalogue | None = None,
    ) -> None:
        """`blocked`: whether nothing may be applied because Kafka takes no effects."""
        self._pipeline = pipeline
        self._gate = gate
        self._health = health
        self._progress = progress
        self._log = log
        self._stuck_s = stuck_s
        self._blocked = blocked
        self._catalogue = catalogue
        self._standing = {EVENTS: Standing(), CATALOG: Standing()}

    async def look(self) -> None:
        """Follow a pause.

        Raises:
            RedisAway.
        """
        await self._gate.look()
        self._health.pause = self._gate.pause

    async def run(self) -> None:
        """Look every second until cancelled.

        Raises:
            Unavailable: Redis stayed away.
        """
        while True:
            await patiently("looking for a pause", self.look)
            await asyncio.sleep(_LOOK_S)

    async def turn(self, inboxes: Mapping[str, Inbox], measured: Metrics) -> None:
        """Say that the event loop lives, and what waits, whether Redis answers or not."""
        while True:
            self._health.turned()
            self._health.blocked = self._blocked()
            if self._catalogue is not None:
                self._health.untold = self._catalogue.blocked()
            for topic, inbox in inboxes.items():
                measured.set(metrics.WAITING_RECORDS, inbox.waiting, topic=topic)
            await asyncio.sleep(_LOOK_S)

    async def measure(self, measured: Metrics) -> None:
        """Say how far behind the log this worker is; with Kafka away nobody knows, and that is no reason to end.

        Raises:
            Unavailable: a partition is stuck (`partition_stuck`).
        """
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(_MEASURE_S)
            owned = dict(self._pipeline.owned)
            fences = {partition: it.fence for partition, it in owned.items()}
            items, reached = self._catalogue, {} if self._catalogue is None else dict(self._catalogue.reached())
            try:
                ends = await asyncio.to_thread(self._log.ends.of, list(fences))
                of_items = {} if items is None else await asyncio.to_thread(items.log.ends.of, list(reached))
            except Unavailable as error:
                _log.warning("nobody says where the log ends", why=error.message)
                for standing in self._standing.values():
                    standing.forget()
                continue
            self._progress.measure(ends, fences)
            await self.judge(loop.time(), ends, fences, measured)
            await self.judge_catalogue(loop.time(), of_items, reached, measured)

    async def judge(self, now_s: float, ends: Mapping[int, int], fences: Mapping[int, int], measured: Metrics) -> None:
        """Whether a partition is stuck; the first time it is said to whoever asks, the second time this ends.

        Raises:
            Unavailable: `partition_stuck`.
        """
        if self._gate.closed() or self._blocked() is not None:
            self._standing[EVENTS].forget()
        await self._judge(self._log, now_s, ends, fences, measured)

    async def judge_catalogue(
        self, now_s: float, ends: Mapping[int, int], reached: Mapping[int, int], measured: Metrics
    ) -> None:
        """The same of the catalogue's partitions, of which these offsets were applied last.

        Raises:
            Unavailable: `partition_stuck`.
        """
        if self._catalogue is None:
            return
        if self._gate.closed() or self._catalogue.blocked() is not None:
            self._standing[CATALOG].forget()
        await self._judge(self._catalogue.log, now_s, ends, reached, measured)

    async def _judge(
        self, log: Log, now_s: float, ends: Mapping[int, int], fences: Mapping[int, int], measured: Metrics
    ) -> None:
        began = log.began()
        behind = {p: ends.get(p, 0) - max(fence + 1, began.get(p, 0)) for p, fence in fences.items()}
        stood = self._standing[log.topic].look(now_s, behind, fences)
        for partition, seconds in stood.items():
            measured.set(metrics.STANDING_SECONDS, seconds, topic=log.topic, partition=str(partition))
        stuck = [p for p, seconds in stood.items() if seconds >= self._stuck_s and await _waits(log, p, fences[p])]
        known = [p for p in stuck if p in self._health.stuck.get(log.topic, ())]
        self._health.stuck[log.topic] = tuple(stuck)
        if known:
            raise Unavailable(
                f"partitions {', '.join(map(str, known))} of {log.topic} are stuck: records wait behind offset "
                f"{', '.join(str(fences[p]) for p in known)}, and none was applied for {self._stuck_s:g} s; this "
                "worker ends to be started again; if that does not help, see what its log says before this line",
                code="partition_stuck",
            )
        if stuck:
            _log.error("partitions are stuck", topic=log.topic, partitions=stuck, after_s=self._stuck_s)


async def _waits(log: Log, partition: int, fence: int) -> bool:
    """Whether there is a record to apply at all: marks of transactions, and what was compacted, fill offsets, too."""
    try:
        await log.next_on_log(partition, max(fence + 1, log.began().get(partition, 0)))
    except Unavailable:
        return False
    return True
