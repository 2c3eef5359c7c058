"""A past to replay: made events on a log in memory, applied live, archived; and what a namespace holds."""

import random
from io import StringIO
from typing import Any

from redis.asyncio import Redis
from rich.console import Console

from features.archive import EventArchive, archive_row
from features.events import Event, EventName
from infra.clock import ManualClock
from infra.keys import feast_project
from infra.settings import Settings
from streams.applied import Applied
from streams.batch import PartitionBatch
from streams.pipeline import build_pipeline
from streams.progress import Phases
from tests.streams.shop import LOG, PARTITIONS, Log, event

NAMES: tuple[EventName, ...] = (
    "view_item", "view_item", "add_to_cart", "remove_from_cart", "purchase", "add_to_wishlist", "page_view",
)  # fmt: skip
CLOCK = ManualClock(1_800_000_000_000)


def made(seed: int, count: int, log: str = LOG, shoppers: int = 12, load_id: str | None = None, start: int = 0) -> Log:
    """Events of some shoppers, some of them twice, some late, some too late, and two corrupt records."""
    rng, past = random.Random(seed), Log(log)
    for number in range(count):
        one = _event(rng, start + number, seed, load_id, shoppers)
        past.append(one)
        if rng.random() < 0.1:
            past.append(one)
    past.append_raw(0, b"no event", b"x")
    past.append_raw(1, None, b"y")
    return past


def _event(rng: random.Random, number: int, seed: int, load_id: str | None, shoppers: int) -> Event:
    name = rng.choice(NAMES)
    late = rng.choice((0, 0, 0, 0, 300, 3000))
    items = () if name == "page_view" else tuple(f"i{rng.randrange(30)}" for _ in range(rng.randrange(1, 3)))
    minute = number * 7.0 - late
    return event(
        f"s{rng.randrange(shoppers)}", name, *items, minute=minute, event_id=f"{seed}-{number}", load_id=load_id
    )


def archive(settings: Settings, *logs: Log) -> None:
    """Write logs into the archive, in small files."""
    into = EventArchive(settings.archive_at)
    for log in logs:
        rows = [
            archive_row((log.name, partition, one.offset), one.timestamp, one.key, one.value)
            for partition, records in log.records.items()
            for one in records
        ]
        rows.sort(key=lambda row: row.offset)
        for start in range(0, len(rows), 60):
            into.write(rows[start : start + 60])


async def apply_live(settings: Settings, redis: Redis, log: Log, start: int = 0, stop: int | None = None) -> Applied:
    """Apply a log, or a part of each partition of it, as the worker does."""
    pipeline, counts = build_pipeline(settings, redis), Applied()
    await pipeline.claim(range(PARTITIONS), log.name)
    for batch in log.batches(start, stop):
        for first in range(0, len(batch.records), 17):
            cut = PartitionBatch(batch.partition, log.name, batch.records[first : first + 17])
            counts.add(await pipeline.apply([cut]))
    return counts


def quietly() -> Phases:
    return Phases(Console(file=StringIO()))


async def held(redis: Redis, namespace: str) -> dict[str, Any]:
    """Rows, timers and Feast values of a namespace, by names that do not depend on it."""
    found: dict[str, Any] = {}
    project = feast_project(namespace).encode()
    async for key in redis.scan_iter(count=1000):
        parts = key.split(b":")
        if key.startswith(b"daogou:{p") and parts[2] == namespace.encode():
            if parts[4] == b"row":
                found[f"row {parts[3:]}"] = await redis.get(key)
            elif parts[4] == b"link":
                found[f"link {parts[3:]}"] = await redis.get(key)
            elif parts[4] == b"partials":
                found[f"partials {parts[1]}"] = await redis.hgetall(key)
            elif parts[4] == b"timers":
                found[f"timers {parts[1]}"] = await redis.zrange(key, 0, -1, withscores=True)
        elif key.endswith(project) and b"shopper" in key[:24]:  # items are of no namespace
            values = await redis.hgetall(key)
            found[f"features {key.removesuffix(project)!r}"] = {
                field: value for field, value in values.items() if not field.startswith(b"_log:")
            }
    return found


async def outside(redis: Redis, namespace: str) -> dict[bytes, Any]:
    """Every key that is not of this namespace, with its content."""
    found: dict[bytes, Any] = {}
    for key in await redis.keys("*"):
        mine = f":{namespace}:".encode() in key or key.endswith(feast_project(namespace).encode())
        if not mine and not any(word in key for word in (b"replays", b"owner", b"shards")):
            found[key] = await redis.dump(key)
    return found
