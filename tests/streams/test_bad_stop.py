"""A broken producer stops the worker before the batch that goes over is written, and again after a new start."""

import pytest
from redis.asyncio import Redis

from features.catalog import encode_record, key_of
from infra.errors import Refused
from infra.kafka import Record
from infra.kafka_admin import end_offsets
from infra.keys import ShardKeys, items_at
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import CATALOG, DEAD_LETTERS, EVENTS
from streams.bad_share import BadShare
from streams.bad_stop import BadStop
from streams.batch import PartitionBatch
from streams.catalogue import CatalogueKeeper
from streams.inbox import Chunk
from tests.streams.shop import LOG, Log, event
from tests.streams.test_applying import HOME, Loop
from tests.streams.test_catalogue import CONTENT, keeper, producer  # noqa: F401 - fixtures
from tests.streams.test_catalogue import HOME as TEA

WINDOW = 2000
BAD = b"not an event"


def stop_of(redis: Redis, most: float = 0.5) -> BadStop:
    return BadStop(redis, BadShare(WINDOW, most), "Redis")


def broken_from(offset: int, records: int) -> Log:
    """Ann looks at things, until from an offset on only garbage comes."""
    log = Log()
    for n in range(records):
        if n < offset:
            log.append(event("ann", "view_item", f"i{n % 7}", minute=n / 100, event_id=f"e-{n}"))
        else:
            log.append_raw(HOME, BAD, b"default|u-ann")
    return log


def chunks(log: Log, start: int = 0) -> list[Chunk]:
    records = log.records[HOME]
    return [Chunk(EVENTS, HOME, records[at : at + 100]) for at in range(start, len(records), 100)]


async def worker(settings: Settings, redis: Redis, log: Log, most: float = 0.5) -> Loop:
    """A worker that starts anew: it asks for a stop, claims, and reads on from the fence."""
    loop = Loop(settings, redis, outbox_max=10_000)
    loop.pipeline.bad_stop = stop_of(redis, most)
    await loop.pipeline.bad_stop.begin(EVENTS, LOG)
    await loop.begin()
    fence = loop.pipeline.owned[HOME].fence
    for one in chunks(log, fence + 1):
        loop.inbox.put(one)
    return loop


async def letters(redis: Redis) -> int:
    return int(await redis.llen(ShardKeys(HOME).outbox))


async def test_the_worker_stops_before_the_batch_that_goes_over(settings: Settings, redis: Redis) -> None:
    log = broken_from(1000, 2500)
    loop = await worker(settings, redis, log)
    with pytest.raises(Refused, match=r"1,100 of the last 2,000 records of shop\.events\.v1") as stopped:
        # Half of 2,000 is bad: not more than half. The next hundred would be.
        await loop.until(2499)
    assert stopped.value.reason == "too_many_bad"
    assert "'not_json'" in stopped.value.message
    assert loop.counts.applied == 1000
    # Nothing of that batch was taken: neither letters nor the fence.
    assert loop.pipeline.owned[HOME].fence == 1999
    assert await redis.hget(ShardKeys(HOME).fence, LOG) == b"1999"
    assert await letters(redis) == 1000


async def test_a_new_start_takes_nothing_until_the_limit_is_raised(settings: Settings, redis: Redis) -> None:
    log = broken_from(1000, 2500)
    with pytest.raises(Refused):
        await (await worker(settings, redis, log)).until(2499)
    for _ in range(3):
        with pytest.raises(Refused, match="1,100 of the last 2,000"):
            await worker(settings, redis, log)
    assert await letters(redis) == 1000
    loop = await worker(settings, redis, log, most=1.0)
    await loop.until(2499)
    assert await letters(redis) == 1500
    await worker(settings, redis, log)  # lifted: the default limit serves again


async def test_a_limit_raised_a_little_is_a_limit(settings: Settings, redis: Redis) -> None:
    log = broken_from(1000, 4500)
    with pytest.raises(Refused):
        await (await worker(settings, redis, log)).until(4499)
    with pytest.raises(Refused, match="of the last 1,000 records"):
        await (await worker(settings, redis, log, most=0.6)).until(4499)


async def test_another_log_is_not_stopped(redis: Redis) -> None:
    stop = stop_of(redis)
    with pytest.raises(Refused):
        await stop.judge(EVENTS, LOG, 1000, {"not_json": 1000})
    with pytest.raises(Refused):
        await stop.begin(EVENTS, LOG)
    await stop.begin(CATALOG, LOG)
    await stop.begin(EVENTS, "the log of another day")
    await stop.begin(EVENTS, LOG)  # the stop went with its log


async def test_redelivered_records_do_not_count(settings: Settings, redis: Redis) -> None:
    log = broken_from(600, 1100)
    loop = await worker(settings, redis, log)
    for one in chunks(log)[6:] * 3:
        loop.inbox.put(one)
    await loop.until(1099)
    assert await letters(redis) == 500


async def test_a_broken_catalogue_stops_it_too(keeper: CatalogueKeeper, redis: Redis, kafka: str) -> None:  # noqa: F811
    keeper.bad_stop = stop_of(redis)
    await keeper.begin([TEA], LOG)
    value, key = encode_record(CONTENT), key_of(CONTENT).encode()
    before = sum(end_offsets(kafka, DEAD_LETTERS).values())
    records = [Record(CATALOG, TEA, n, key, BAD if n else value, 0) for n in range(1000)]
    with pytest.raises(Refused, match=r"999 of the last 1,000 records of shop.catalog.v1"):
        await keeper.apply(PartitionBatch(TEA, LOG, records, topic=CATALOG), Metrics())
    assert sum(end_offsets(kafka, DEAD_LETTERS).values()) == before
    assert not await redis.exists(items_at(TEA))
