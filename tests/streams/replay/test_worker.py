"""A worker's process carries a promotion out, and notes where its log begins."""

import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis import Redis

from features.archive_order import ArchiveOrder
from infra.kafka_admin import log_id
from infra.keys import ShardKeys
from infra.settings import Settings
from infra.topics import EVENTS
from streams.replay.asking import promote, rollback
from streams.replay.command import ReplayRequest, replay
from streams.replay.diffing import diff
from tests.bulk import BulkProducer
from tests.streams.replay.past import CLOCK, quietly
from tests.streams.shop import LOG, PARTITIONS, event, outgoing, partition_of_event
from tests.streams.workers import Worker

HOME = partition_of_event(event("ann", "page_view"))


@pytest.fixture
def own(broker: str, empty: Redis, redis_url: str, tmp_path: Path) -> Settings:
    return Settings(
        kafka=broker, redis=SecretStr(redis_url), embedded_log=LOG, data_dir=tmp_path, partitions=PARTITIONS
    )


@pytest.fixture
def worker(own: Settings) -> Iterator[Worker]:
    one = Worker(own)
    yield one
    one.stop()


def produce(settings: Settings, *minutes: int) -> None:
    events = [event("ann", "add_to_cart", f"i{minute}", minute=minute) for minute in minutes]
    BulkProducer(settings.kafka, embedded=True).send_all(map(outgoing, events))


def until_applied(worker: Worker, redis: Redis, namespace: str, offset: int, log: str) -> None:
    fence: Callable[[], Any] = partial(redis.hget, ShardKeys(HOME, namespace).fence, log)
    while fence() != b"%d" % offset:
        with pytest.raises(subprocess.TimeoutExpired):  # it goes on
            worker.ended(within_s=0.02)


def test_promoted_and_rolled_back_by_a_worker(worker: Worker, own: Settings, empty: Redis) -> None:
    log = log_id(own.kafka, EVENTS, LOG)
    produce(own, 1, 2)
    until_applied(worker, empty, "live", 1, log)
    replay(own, ReplayRequest("again", "kafka", until="offset:1", score=False), quietly(), CLOCK)
    promote(own, "again", 60, quietly(), CLOCK)
    produce(own, 3)
    until_applied(worker, empty, "again", 2, log)
    replay(own, ReplayRequest("truth", "kafka", score=False), quietly(), CLOCK)
    assert diff(own, "live", "truth").equal
    assert not diff(own, "before", "live").equal
    assert rollback(own, 60, quietly(), CLOCK) == ["live"]
    produce(own, 4)
    until_applied(worker, empty, "live", 3, log)
    replay(own, ReplayRequest("all", "kafka", score=False), quietly(), CLOCK)
    assert diff(own, "live", "all").equal
    assert [one.log for one in ArchiveOrder(own.archive_at).entries()] == [log]
    assert worker.stop() == 0
