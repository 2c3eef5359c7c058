"""A worker as a process of its own, on the embedded broker and a real Redis."""

import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from pydantic import SecretStr
from redis import Redis

from features.item_snapshot import decode
from features.shoppers import decode_state
from infra.embedded.redis_server import free_port
from infra.kafka import producer_config
from infra.kafka_admin import log_id
from infra.keys import ShardKeys, merged, snapshot
from infra.settings import Settings
from infra.topics import EVENTS
from tests.streams.shop import LOG, PARTITIONS, event, outgoing, partition_of_event
from tests.streams.workers import Worker

COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")
HOME = partition_of_event(event("ann", "page_view"))


@pytest.fixture
def worker(broker: str, empty: Redis, redis_url: str, tmp_path: Path) -> Iterator[Worker]:
    """A worker that is ready."""
    settings = Settings(
        kafka=broker,
        redis=SecretStr(redis_url),
        embedded_log=LOG,
        data_dir=tmp_path,
        partitions=PARTITIONS,
        metrics_port=free_port(),
        statistics_s=1,
    )
    one = Worker(settings)
    yield one
    one.stop()


def produce(broker: str, compression: str, item_id: str, minute: float) -> None:
    record = outgoing(event("ann", "view_item", item_id, minute=minute))
    settings = producer_config(broker, embedded=True, timeout_ms=5000, linger_ms=0)
    producer = Producer(settings | {"compression.type": compression})
    producer.produce(record.topic, record.value, record.key, record.partition)
    assert producer.flush(5.0) == 0


def test_records_of_every_compression_are_applied(worker: Worker, broker: str, empty: Redis) -> None:
    for minute, compression in enumerate(COMPRESSIONS):
        produce(broker, compression, f"in-{compression}", minute)
    keys, log = ShardKeys(HOME), log_id(broker, EVENTS, LOG)
    fence: Callable[[], Any] = partial(empty.hget, keys.fence, log)
    while fence() != b"%d" % (len(COMPRESSIONS) - 1):
        with pytest.raises(subprocess.TimeoutExpired):  # it goes on
            worker.ended(within_s=0.02)
    state = decode_state(empty.get(keys.row("default", "u-ann")))
    assert [one.item_id for one in state.interactions] == [f"in-{name}" for name in COMPRESSIONS]
    assert worker.stop() == 0


def test_what_is_counted_is_merged_for_everybody(worker: Worker, broker: str, empty: Redis) -> None:
    produce(broker, "none", "tea", 1)
    produce(broker, "none", "cup", 2)

    def known() -> list[str]:
        version = empty.hget(merged("default"), "version")
        raw = version and empty.get(snapshot("default", version.decode()))
        found = decode(raw) if raw else None
        return [] if found is None else found.item_ids

    while known() != ["cup", "tea"]:
        with pytest.raises(subprocess.TimeoutExpired):  # it goes on
            worker.ended(within_s=0.05)
    assert worker.stop() == 0
