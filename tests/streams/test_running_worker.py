"""A worker in the hands of whoever runs it: asked to end under load, paused, beside a Redis that is slow."""

import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis

from features.archive import EventArchive
from infra.clock import SystemClock
from infra.embedded.redis_server import free_port
from infra.kafka_admin import end_offsets, log_id
from infra.keys import ShardKeys
from infra.settings import Settings
from infra.topics import EVENTS
from streams import pause_asking
from tests.bulk import BulkProducer
from tests.streams.shop import LOG, PARTITIONS, event, outgoing
from tests.streams.workers import Worker

BATCH = 50
AHEAD = 4 * BATCH  # what an inbox holds at most, but for the fetches that were under way
END_WITHIN_S = 10.0  # the promise


class Here:
    """A shop's log and Redis, and the workers that were started on them."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self.settings = settings
        self.redis = redis
        self.workers: list[Worker] = []
        self._log = log_id(settings.brokers, EVENTS, LOG)

    def start(self) -> Worker:
        self.workers.append(Worker(self.settings))
        return self.workers[-1]

    def produce(self, start: int, stop: int) -> None:
        bulk = BulkProducer(self.settings.kafka, embedded=True)
        bulk.send_all(outgoing(event(f"s{n % 40}", "view_item", f"i{n}", minute=n / 100)) for n in range(start, stop))
        bulk.close()

    def applied(self) -> int:
        found = [self.redis.hget(ShardKeys(p).fence, self._log) for p in range(PARTITIONS)]
        return sum(0 if raw is None else int(raw) + 1 for raw in found)

    def archived(self) -> Counter[tuple[int, int]]:
        batches = EventArchive(self.settings.archive_at).scan(columns=["partition", "offset"])
        return Counter((row["partition"], row["offset"]) for batch in batches for row in batch.to_pylist())


@pytest.fixture
def here(broker: str, empty: Redis, redis_url: str, tmp_path: Path) -> Iterator[Here]:
    settings = Settings(
        kafka=broker,
        redis=SecretStr(redis_url),
        embedded_log=LOG,
        data_dir=tmp_path,
        partitions=PARTITIONS,
        batch_events=BATCH,
        metrics_port=free_port(),
    )
    one = Here(settings, empty)
    yield one
    for worker in one.workers:
        worker.stop()


def until(worker: Worker, enough: Callable[[], bool]) -> None:
    """Wait for something, beside a worker that goes on."""
    while not enough():
        with pytest.raises(subprocess.TimeoutExpired):
            worker.ended(within_s=0.02)


def test_asked_to_end_in_the_middle_of_its_work_it_ends_in_time_and_another_goes_on(here: Here) -> None:
    here.produce(0, 20_000)
    first = here.start()
    until(first, lambda: here.applied() > 500)
    first.ask_to_end()
    assert first.ended(END_WITHIN_S) == 0
    left_at = here.applied()
    assert 500 < left_at < 20_000
    assert here.archived().total() >= left_at, "what was applied is in files: the embedded broker may end with it"
    second = here.start()
    until(second, lambda: here.applied() == 20_000)
    assert second.sum_of("daogou_events_applied_total") == 20_000 - left_at
    second.ask_to_end()
    assert second.ended(END_WITHIN_S) == 0
    ends = end_offsets(here.settings.brokers, EVENTS)
    assert here.archived() == Counter((p, n) for p, end in ends.items() for n in range(end))


def test_beside_a_redis_that_does_not_answer_it_reads_no_further_than_its_bound(here: Here) -> None:
    worker = here.start()
    here.redis.client_pause(60_000, all=False)
    try:
        here.produce(0, 5_000)
        until(worker, lambda: "trying again" in worker.last_words)
        until(worker, lambda: worker.sum_of("daogou_waiting_records") >= AHEAD)
        assert AHEAD <= worker.sum_of("daogou_waiting_records") <= AHEAD + 4 * BATCH
        assert worker.health("live") == (200, {"status": "live"})
    finally:
        here.redis.client_unpause()
    until(worker, lambda: here.applied() == 5_000)
    assert worker.sum_of("daogou_events_applied_total") == 5_000
    assert worker.stop() == 0


def test_paused_it_keeps_its_partitions_over_a_new_start_and_goes_on(here: Here) -> None:
    worker, said = here.start(), list[str]()
    here.produce(0, 100)
    until(worker, lambda: here.applied() == 100)
    assert worker.health("ready") == (200, {"status": "ready"})
    pause_asking.pause(here.settings, "ann", "a look", 30.0, SystemClock(), said.append)
    assert said == ["paused   1 workers stand still; go on: daogou streams resume"]
    here.produce(100, 300)
    until(worker, lambda: worker.sum_of("daogou_waiting_records") == 200)
    status, told = worker.health("ready")
    assert (status, told["status"], told["by"], told["why"]) == (200, "paused", "ann", "a look")
    assert worker.sum_of("daogou_paused_since_seconds") == told["since_ms"] / 1000
    assert worker.stop() == 0
    again = here.start()
    until(again, lambda: again.sum_of("daogou_waiting_records") == 200)
    assert here.applied() == 100
    pause_asking.resume(here.settings, "ann", SystemClock(), said.append)
    until(again, lambda: here.applied() == 300)
    assert again.sum_of("daogou_events_redelivered_total") == 0
    assert again.health("ready") == (200, {"status": "ready"})
    assert again.stop() == 0


def test_a_worker_on_an_empty_topic_is_ready_and_ends_well(here: Here) -> None:
    worker = here.start()
    assert worker.health("ready") == (200, {"status": "ready"})
    assert worker.health("live") == (200, {"status": "live"})
    worker.ask_to_end()
    assert worker.ended(END_WITHIN_S) == 0
    assert here.archived() == Counter()
