"""The parts of a worker, wired: what each does is in its own module."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Final

import faust
from redis.asyncio import Redis

from infra.clock import clock_from
from infra.errors import DaogouError
from infra.kafka import Producer
from infra.kafka_admin import EndOffsets
from infra.keys import LIVE
from infra.logs import logger
from infra.metrics import Metrics
from infra.redis import address
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS
from streams.applied import Applied
from streams.applying import Applying, Around, Pace
from streams.archive_turns import HOLD as ARCHIVE_HOLD
from streams.archiver import Source, archiver_at
from streams.bad_share import BadShare
from streams.bad_stop import BadStop
from streams.batch import PartitionBatch
from streams.draining import Drainer
from streams.holds import Hold
from streams.inbox import Inbox
from streams.marketing.firing import Firing
from streams.marketing.sent import Sent, sent_log
from streams.new_item_vectors import ArtifactVectors, Sources
from streams.outbox import Outbox
from streams.patience import patiently
from streams.pausing import Gate, Pauses
from streams.pipeline import build_pipeline
from streams.replay.order import note_begun
from streams.replay.promotion import Followed, Promotion
from streams.replay.running import replay_pipeline
from streams.statistics_job import HOLD as STATISTICS_HOLD
from streams.statistics_job import StatisticsJob
from streams.statistics_merging import reached
from streams.statistics_process import MergingProcess
from streams.worker.app import create, note_applied
from streams.worker.beginning import Beginning
from streams.worker.catalogue_side import READ_AHEAD, CatalogueSide
from streams.worker.ends import Ends
from streams.worker.health import Health
from streams.worker.model_side import ModelSide
from streams.worker.positions import Logs, next_kept, next_on_log, next_or_end
from streams.worker.progress import Progress
from streams.worker.transport import Positions, Reading
from streams.worker.watching import Log, Watching

_log = logger(__name__)

_WATCH_S: Final = 1.0
_HOLD_S: Final = 8.0
# How far the micro-batches may be ahead of the archiver where the broker forgets its oldest records.
_ARCHIVE_BEHIND: Final = 500
_FETCH_WAIT_MS: Final = 500
_EMBEDDED_FETCH_WAIT_MS: Final = 10  # the embedded broker lets a fetch wait its whole time out


class Parts:
    """Everything that runs in one worker; `begun` is set when partitions are assigned and reading begins."""

    def __init__(
        self, settings: Settings, redis: Redis, producer: Producer, logs: Logs, measured: Metrics, token: str
    ) -> None:
        where = address(settings.redis)
        self._settings, self._redis, self._logs, self._metrics = settings, redis, logs, measured
        self._token = token
        self._clock = clock_from(settings.clock_shift_file)
        self._failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.begun = asyncio.Event()
        self.pipeline = build_pipeline(settings, redis)
        self.hold = Hold(redis, LIVE, token, alone=False, where=where)
        self._items = CatalogueSide(settings, redis, producer, logs, measured, token)
        self._inboxes = {EVENTS: Inbox(READ_AHEAD * settings.batch_events), CATALOG: self._items.inbox}
        self.app = self._made_app()
        self._drainer = Drainer(self.pipeline, Outbox(redis, producer, where=where), settings.outbox_max, measured)
        self._gate = Gate(Pauses(redis, where), self.pipeline, self._inboxes.values(), token, measured)
        vectors = ArtifactVectors(
            Sources(
                settings.models_dir,
                settings.enriched_dir,
                settings.text_encoder,
                os.environ,
                settings.text_encoder_idle_s,
            )
        )
        self._models = ModelSide(
            settings, self.pipeline, redis, self._items.store, vectors, measured, self._gate.beside
        )
        self._archiver = archiver_at(
            settings.archive_at,
            Source(logs.bootstrap, logs.events, logs.embedded),
            self._hold_alone(ARCHIVE_HOLD),
            measured,
        )
        self._ends = EndOffsets(logs.bootstrap, EVENTS)
        self._firing = self._made_firing()
        self._promotion = self._made_promotion()
        self._statistics = self._made_statistics()
        self._progress = Progress(self._clock, measured)
        self.health = Health(time.monotonic, settings.stuck_s)
        self._watching = self._made_watching()
        self._applying = self._made_applying()
        self._beginning = self._made_beginning()

    def _made_app(self) -> faust.App:
        logs, folder = self._logs, self._settings.data_dir / "faust"
        reading = Reading(
            positions=self._begin,
            revoked=self.pipeline.let_go,
            fetch_wait_ms=_EMBEDDED_FETCH_WAIT_MS if logs.embedded else _FETCH_WAIT_MS,
            inboxes=self._inboxes,
        )
        folder.mkdir(parents=True, exist_ok=True)
        return create(self._settings.brokers, self._settings.group, folder, reading, self._settings.batch_events)

    def _made_firing(self) -> Firing:
        logs = self._logs
        ends = Ends(
            lambda partitions: asyncio.to_thread(self._ends.of, partitions),
            self._read_from,
            lambda: {partition: it.fence + 1 for partition, it in self.pipeline.owned.items()},
            partial(next_or_end, logs, EVENTS),
        )
        sent = Sent(self.pipeline.store, sent_log(logs.bootstrap, logs.embedded))
        items = self._items
        return Firing(
            self.pipeline, items.store, self._drainer, self._clock, ends.of, self._gate.closed, items.stock, sent
        )

    def _made_promotion(self) -> Promotion:
        return Promotion(
            self.pipeline,
            self._redis,
            Followed(self._logs.bootstrap, self._logs.events, self._logs.embedded),
            partial(replay_pipeline, self._settings, self._redis),
            self._models.rescoring.sweep,
            self._metrics,
            self._clock,
            self._gate.beside,
        )

    def _made_statistics(self) -> StatisticsJob:
        settings = self._settings
        return StatisticsJob(
            self._hold_alone(STATISTICS_HOLD),
            MergingProcess(settings, os.environ),
            partial(reached, self._redis, settings.partition_count, address(settings.redis)),
            self._metrics,
            every_s=settings.statistics_s,
            beside=self._gate.beside,
        )

    def _made_watching(self) -> Watching:
        return Watching(
            self.pipeline,
            self._gate,
            self.health,
            self._progress,
            Log(EVENTS, self._ends, self._read_from, partial(next_on_log, self._logs, EVENTS)),
            self._settings.stuck_s,
            self._drainer.blocked,
            self._items.watched,
        )

    def _made_applying(self) -> Applying:
        settings = self._settings
        around = Around(
            next_on_log=partial(next_kept, self._logs, EVENTS, self._metrics),
            before_batch=self._before_batch,
            applied=self._applied,
            metrics=self._metrics,
            clock=self._clock,
        )
        pace = Pace(settings.batch_events, settings.batch_ms)
        return Applying(self.pipeline, self._inboxes[EVENTS], self._drainer, pace, around)

    def _made_beginning(self) -> Beginning:
        settings, logs = self._settings, self._logs
        share = BadShare(settings.bad_share_window, settings.bad_share_max)
        bad_stop = BadStop(self._redis, share, address(settings.redis))
        self.pipeline.bad_stop = bad_stop
        self._items.judged_by(bad_stop)
        begun = partial(note_begun, settings, self._redis, logs.events)
        return Beginning(self.pipeline, self._applying, self._drainer, bad_stop, begun, logs, self._metrics)

    def _hold_alone(self, name: str) -> Hold:
        return Hold(self._redis, name, self._token, alone=True, where=address(self._settings.redis))

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What runs side by side until the worker ends; each ends only by failing."""
        return (
            self._until_failed(),
            self._applying.run(),
            self._drainer.run(),
            *self._items.loops(),
            self._firing.run(self._metrics),
            *self._models.loops(),
            self._statistics.run(time.monotonic),
            self._promotion.run(),
            self._archiver.run(),
            _every(_WATCH_S, self._watch, "watching the fences"),
            self._watching.run(),
            self._watching.turn(self._inboxes, self._metrics),
            self._watching.measure(self._metrics),
            _every(_HOLD_S, self.hold.take, "holding the namespace"),
        )

    async def load_model(self) -> None:
        """Before anything is read."""
        await self._models.load()

    async def look_for_pause(self) -> None:
        """Before anything is read, too: a pause survives the workers."""
        await self._watching.look()

    async def settle(self) -> None:
        """Before a wanted end: let the archiver reach what was applied, where the broker may end with us."""
        if self._logs.embedded:
            await self._archiver.until_read({p: it.fence for p, it in self.pipeline.owned.items()}, behind=0)
            await self._items.settle()

    async def _begin(self, assigned: list[tuple[str, int]]) -> Positions:
        """Claim what was assigned; where to read on in each partition."""
        try:
            events = [partition for topic, partition in assigned if topic == EVENTS]
            items = [partition for topic, partition in assigned if topic == CATALOG]
            positions = await self._beginning.begin(events) | await self._items.begin(items)
        except Exception as error:
            if not self._failed.done():
                self._failed.set_exception(error)
            raise
        self._models.rescoring.sweep()
        self.begun.set()
        self.health.begun = True
        return positions

    def _read_from(self) -> Mapping[int, int]:
        return self._beginning.positions

    async def _before_batch(self, batches: Sequence[PartitionBatch]) -> None:
        if self._logs.embedded:
            last = {batch.partition: batch.records[-1].offset for batch in batches}
            await self._archiver.until_read(last, _ARCHIVE_BEHIND)

    def _applied(self, fences: Mapping[int, int], counts: Applied) -> None:
        for partition, fence in fences.items():
            note_applied(self.app, EVENTS, partition, fence)
        self._models.rescoring.add(counts.unscored)
        self._progress.applied(counts)

    async def _watch(self) -> None:
        await self.pipeline.check()
        await self._items.check()

    async def _until_failed(self) -> None:
        await self._failed

    async def until_app_ends(self) -> None:
        """Wait for Faust to end by itself. Cancelling does not end this: Faust does not let it.

        Raises:
            DaogouError: what ended it.
        """
        await self.app.wait_until_stopped()
        reason = self.app.crash_reason
        raise reason if isinstance(reason, DaogouError) else DaogouError(f"Faust ended: {reason!r}")


async def _every(seconds: float, call: Callable[[], Awaitable[None]], what: str) -> None:
    while True:
        await asyncio.sleep(seconds)
        await patiently(what, call)
