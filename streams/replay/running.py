"""Running a replay: the pipeline over its windows, from where its fences are to the end captured at its start."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis

from features.archive_order import Window
from infra.clock import Clock
from infra.errors import Conflict, Refused
from infra.redis import address
from infra.settings import Settings
from streams.batch import PartitionBatch
from streams.commit import PartitionStore
from streams.derived import Scoring
from streams.holds import Held, Hold
from streams.interruption import step_done
from streams.patience import patiently
from streams.pipeline import Pipeline, build_pipeline
from streams.progress import Phases
from streams.replay.code import code_of_rows, differs
from streams.replay.pace import Rate
from streams.replay.ranges import Found
from streams.replay.records import DONE, RUNNING, SCORING, Records, Replay, Wanted
from streams.replay.sources import Stretch
from streams.replay.store import ReplayStore

_SAVE_S: Final = 1.0
_LOOK_S: Final = 0.5
_SCORED_AT_ONCE: Final = 256
_SCAN: Final = 1000


class Replayer:
    """Runs one replay; it has its namespace for itself."""

    def __init__(self, settings: Settings, redis: Redis, name: str, phases: Phases, clock: Clock) -> None:
        where = address(settings.redis)
        self._settings = settings
        self._redis = redis
        self._name = name
        self._phases = phases
        self._clock = clock
        self._records = Records(redis, where)
        self._store = ReplayStore(redis, name, where=where)
        self._code = code_of_rows()
        self.pipeline = replay_pipeline(settings, redis, name)
        self._held = Held(Hold(redis, name, uuid4().hex, alone=True, where=where))

    async def take(self, wait_s: float) -> None:
        """Take the namespace. One whose process was killed is free within half a minute: that is waited for.

        Raises:
            Refused: another process runs it (`held`).
            RedisAway.
        """
        until = self._phases.monotonic() + wait_s
        while True:
            try:
                await self._held.take()
            except Refused:
                if self._phases.monotonic() > until:
                    raise
                if until - self._phases.monotonic() > wait_s - _LOOK_S:
                    self._phases.say(f"another process has {self._name!r}, or was killed: waiting for it to let go")
                await asyncio.sleep(_LOOK_S)
                await step_done()
            else:
                return

    async def begin(self, wanted: Wanted, found: Callable[[], Awaitable[Found]]) -> Replay:
        """Take the replay up: a new one, whose windows `found` gives, or one that was begun.

        Raises:
            Conflict: it was begun with other parameters (`other_replay`), or by other code (`other_code`).
            Refused: there is nothing to replay (`nothing_there`); it is live (`namespace_live`).
            RedisAway.
        """
        replay = await self._records.get(self._name)
        if replay is None:
            what = await found()
            if not what.windows:
                raise Refused("there is nothing to replay: the range holds no record", code="nothing_there")
            replay = Replay(
                name=self._name,
                wanted=wanted,
                windows=what.windows,
                order=what.said,
                code=self._code,
                missing=what.missing,
                started_ms=self._clock.now_ms(),
            )
        elif differing := replay.wanted.differing(wanted):
            raise Conflict(
                f"the replay {self._name!r} was begun with {'; '.join(differing)}: go on with the same, take another "
                f"name, or drop it: daogou replay drop {self._name}",
                path="into",
                code="other_replay",
            )
        elif differs(replay.code, self._code):
            raise Conflict(
                f"the replay {self._name!r} was begun by other code of features/ ({replay.code}, not {self._code}): "
                "its rows would be of two kinds. Go on with the code that began it, take another name, or drop it: "
                f"daogou replay drop {self._name}",
                path="into",
                code="other_code",
            )
        if replay.state != DONE:
            replay.stopped = ""
            await self._store.open(range(self._settings.partition_count))
            await self._records.put(replay)
        return replay

    async def stopped(self, why: str) -> None:
        """Note why the replay does not go on, as far as Redis can be asked: whoever looks is not to take it for one
        that runs.

        Raises:
            RedisAway.
        """
        replay = await self._records.get(self._name)
        if replay is not None and replay.state != DONE:
            replay.stopped = why
            await self._records.put(replay)

    async def end(self) -> None:
        """Let the namespace go.

        Raises:
            RedisAway: it ends by itself all the same.
        """
        await self._held.release()

    async def run(self, replay: Replay, stretches: Sequence[Stretch], rate: Rate) -> None:
        """Apply what is not applied yet.

        Raises:
            OwnershipLost: another process took the namespace, or it was dropped or promoted meanwhile.
            RedisAway, KafkaAway, Refused: the same replay again goes on from here.
        """
        if replay.state != RUNNING:
            return
        done = await positions(self._store, replay)
        with self._phases.phase("replayed", replay.total, "events", done=sum(done.values())) as advance:
            saved = time.monotonic()
            before_s, begun = replay.took_s, saved
            try:
                for stretch in stretches:
                    claimed = await self.pipeline.claim(stretch.partitions, stretch.log)
                    fences = {partition: owned.fence for partition, owned in claimed.items()}
                    if _complete(replay.windows, stretch, fences):
                        continue
                    async with aclosing(stretch.read(fences)) as reading:
                        async for batches in reading:
                            number = await self._apply(replay, batches)
                            advance(number)
                            replay.took_s = before_s + time.monotonic() - begun
                            if time.monotonic() - saved > _SAVE_S:
                                await self._records.put(replay)
                                saved = time.monotonic()
                            await rate.took(number)
                replay.state = SCORING
            finally:
                await self._records.put(replay)

    async def _apply(self, replay: Replay, batches: list[PartitionBatch]) -> int:
        replay.count(await patiently("applying a batch", self.pipeline.apply, batches))
        await self._held.renew()
        await step_done()
        return sum(len(batch.records) for batch in batches)

    async def finish(self, replay: Replay, scorer: Scoring | None) -> int:
        """Make the lists of all rows with this model, if there is one, and note that all is done; how many lists.

        Raises:
            OwnershipLost, RedisAway: the same replay again goes on from here.
        """
        made = 0
        if replay.state == SCORING and scorer is not None:
            made = await self._score(replay, scorer)
            replay.model = scorer.version
        if replay.state != DONE:
            replay.state, replay.ended_ms = DONE, self._clock.now_ms()
            await self._records.put(replay)
        return made

    async def _score(self, replay: Replay, scorer: Scoring) -> int:
        log = replay.windows[-1].log
        await self.pipeline.claim(range(self._settings.partition_count), log)
        self.pipeline.derived.scorer = scorer
        cursor, made = 0, 0
        with self._phases.phase("lists made", 0, "shoppers") as advance:
            while True:
                cursor, refs = await self._store.scan_rows(cursor, _SCAN)
                for start in range(0, len(refs), _SCORED_AT_ONCE):
                    number = await self.pipeline.rescore(refs[start : start + _SCORED_AT_ONCE])
                    made += number
                    advance(number)
                    await self._held.renew()
                if not cursor:
                    return made


def replay_pipeline(settings: Settings, redis: Redis, name: str) -> Pipeline:
    """The worker's pipeline over a namespace that is not live."""
    return build_pipeline(settings, redis, ReplayStore(redis, name, where=address(settings.redis)))


async def positions(store: PartitionStore, replay: Replay) -> dict[Window, int]:
    """How many offsets of each window are applied, by the fences.

    Raises:
        RedisAway.
    """
    done: dict[Window, int] = {}
    for log in dict.fromkeys(window.log for window in replay.windows):
        of_it = [window for window in replay.windows if window.log == log]
        fences = await store.fences(sorted({window.partition for window in of_it}), log)
        done |= {w: min(max(fences[w.partition] - w.first + 1, 0), w.last - w.first + 1) for w in of_it}
    return done


def _complete(windows: Sequence[Window], stretch: Stretch, fences: Mapping[int, int]) -> bool:
    """Whether all that a stretch can give is applied: then its source need not be opened."""
    if len(stretch.partitions) > 1:
        return False
    [partition] = stretch.partitions
    ends = [w.last for w in windows if w.partition == partition and w.log == stretch.log]
    return bool(ends) and fences[partition] >= max(ends)
