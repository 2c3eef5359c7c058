"""Small loads as the tests run them, and a worker in a thread to apply them."""

import asyncio
import threading
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec
from redis import Redis
from rich.console import Console

from features.catalog import decode_record
from features.catalog_store import CatalogStore
from features.events import to_ms
from infra import redis as infra_redis
from infra.clock import ManualClock
from infra.kafka import Follower, log_id
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS
from streams.batch import PartitionBatch
from streams.load import LoadRequest, load
from streams.load_report import LoadReport
from streams.pipeline import build_pipeline
from streams.progress import Phases
from streams.spool import Window

NOW = ManualClock(to_ms(datetime(2026, 11, 24, 12, tzinfo=UTC)))


def quietly() -> Phases:
    return Phases(Console(file=StringIO()))


def run(settings: Settings, request: LoadRequest, phases: Phases | None = None) -> LoadReport:
    with phases or quietly() as shown:
        return load(settings, request, shown, NOW)


def direct(source: Path, **window: object) -> LoadRequest:
    return LoadRequest(str(source), "online-retail", direct=True, window=msgspec.convert(window, Window))


def rows(redis: Redis) -> dict[bytes, bytes | None]:
    keys: list[Any] = sorted(redis.scan_iter("daogou:*:row:*"))
    values: Any = redis.mget(keys) if keys else []
    return dict(zip(keys, values, strict=True))


class Consumer:
    """A worker in a thread: applies what is on the log by the worker's own pipeline and store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ending = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._consume()))

    def __enter__(self) -> "Consumer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join()

    async def _consume(self) -> None:
        settings = self._settings
        client = await infra_redis.connect(settings.redis, 5000)
        logs = {topic: log_id(settings.kafka, topic, settings.embedded_log) for topic in (EVENTS, CATALOG)}
        followers = {topic: Follower(settings.kafka, topic, "start", embedded=True) for topic in logs}
        pipeline, items = build_pipeline(settings, client), CatalogStore(client)
        await pipeline.claim(range(settings.partition_count), logs[EVENTS])
        while not self._ending.is_set():
            for topic, follower in followers.items():
                for record in await asyncio.to_thread(follower.read, 1000, 0.01):
                    where = record.partition, logs[topic]
                    if topic == EVENTS:
                        await pipeline.apply([PartitionBatch(*where, [record])])
                    else:
                        facet = decode_record(record.key, record.value)
                        await items.apply(record.partition, [facet], logs[topic], record.offset)
        for follower in followers.values():
            follower.close()
        await client.aclose()
