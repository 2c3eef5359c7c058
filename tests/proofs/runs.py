"""One run of a proof: a feed, a log, a Redis, and workers that may be killed on the way."""

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import redis

from features.archive import EventArchive
from infra.kafka_admin import end_offsets, log_id
from infra.keys import ShardKeys
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS
from tests.proofs.feeds import Feed
from tests.proofs.left import Left, archived, letters, values_in
from tests.streams.workers import Worker

_APPLIED_WITHIN_S: Final = 400.0
_POLL_S: Final = 0.002
_LOOK_S: Final = 0.1
_BATCH_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Kill:
    """One SIGKILL: events applied and events on the log just after it, and those read in vain before it."""

    applied: int
    on_log: int
    again: int


class Run:
    """Applies what a feed brings. Close it: a worker or a load may still run."""

    def __init__(self, settings: Settings, feed: Feed, seed: int) -> None:
        self._settings = settings
        self._feed = feed
        self._rng = random.Random(seed)
        self._client = redis.Redis.from_url(settings.redis.get_secret_value())
        self._logs = [log_id(settings.kafka, topic, settings.embedded_log) for topic in (EVENTS, CATALOG)]
        self._worker: Worker | None = None
        self._until_s = 0.0
        self.kills: list[Kill] = []
        self.seconds = 0.0

    def apply(self, kill_at: Sequence[int] = ()) -> None:
        """Let the feed begin and a worker apply it; the worker is killed when so many events are applied.

        Raises:
            SystemExit: it does not come to its end.
        """
        started = time.monotonic()
        self._until_s = started + _APPLIED_WITHIN_S
        self._feed.begin(self._settings)
        worker = self._worker = Worker(self._settings)
        for count in kill_at:
            self._wait(lambda count=count: self._applied() >= count, _POLL_S)
            self._kill(worker)
            worker = self._worker = Worker(self._settings)
        self._wait(self._feed.done, _LOOK_S)
        ends = self.ends()
        self._wait(lambda: self._fences() == ends, _POLL_S)
        self.seconds = time.monotonic() - started
        self._wait(lambda: not any(self._client.llen(keys.outbox) for keys in self._shards()), _LOOK_S)
        self._wait(lambda: self._archived() == ends, _LOOK_S)
        if worker.stop() != 0:
            raise SystemExit(f"the worker did not end well: {worker.last_words}")

    def ends(self) -> dict[int, int]:
        """The offset after the last event, of each partition that has any."""
        return {partition: end for partition, end in end_offsets(self._settings.kafka, EVENTS).items() if end}

    def left(self) -> Left:
        """What is there now."""
        return Left(values_in(self._client, self._logs), archived(self._settings.archive_dir), letters(self._settings))

    def close(self) -> None:
        """End what still runs."""
        if self._worker is not None:
            self._worker.stop()
        self._feed.close()
        self._client.close()

    def _kill(self, worker: Worker) -> None:
        time.sleep(self._rng.uniform(0, _BATCH_S))  # anywhere within a batch, not only when one has just ended
        read = worker.read_offsets()
        worker.kill()
        fences, on_log = self._fences(), sum(self.ends().values())
        again = sum(max(0, offset + 1 - fences.get(partition, 0)) for partition, offset in read.items())
        self.kills.append(Kill(sum(fences.values()), on_log, again))
        print(
            f"killed: {sum(fences.values()):,} events applied, {on_log:,} on the log; {again:,} or more had been read "
            "and come again",
            flush=True,
        )

    def _wait(self, enough: Callable[[], bool], look_s: float) -> None:
        assert self._worker is not None
        while not enough():
            if time.monotonic() > self._until_s or not self._worker.runs:
                raise SystemExit(f"not applied; the worker's last words: {self._worker.last_words}")
            time.sleep(look_s)

    def _applied(self) -> int:
        return sum(self._fences().values())

    def _fences(self) -> dict[int, int]:
        """The next offset to apply, of each partition of which any is applied."""
        pipe = self._client.pipeline(transaction=False)
        for keys in self._shards():
            pipe.hget(keys.fence, self._logs[0])
        return {partition: int(raw) + 1 for partition, raw in enumerate(pipe.execute()) if raw is not None}

    def _archived(self) -> dict[int, int]:
        reached = EventArchive(self._settings.archive_dir).through(self._logs[0])
        return {partition: offset + 1 for partition, offset in reached.items()}

    def _shards(self) -> list[ShardKeys]:
        return [ShardKeys(partition) for partition in range(self._settings.partition_count)]
