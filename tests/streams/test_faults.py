"""Faults from outside, each with its answer: wrong clocks, duplicates of other days, a full disk."""

import asyncio
import os
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from features.archive import EventArchive
from features.events import Event, to_ms
from features.shoppers import State, decode_state
from infra.errors import Refused
from infra.keys import ShardKeys
from infra.metrics import Metrics
from infra.settings import Settings
from streams.applied import Applied
from streams.archiver import Archiver, Filing, Source
from streams.pipeline import Pipeline, build_pipeline
from tests.streams.shop import LOG, PARTITIONS, T0, Log, event, partition_of_event
from tests.streams.test_archiver import offsets, produce

HOME = partition_of_event(event("ann", "page_view"))
YEAR = timedelta(days=365)


@pytest.fixture
async def pipeline(settings: Settings, redis: Redis) -> Pipeline:
    one = build_pipeline(settings, redis)
    await one.claim(range(PARTITIONS), LOG)
    return one


async def state(redis: Redis) -> State:
    return decode_state(await redis.get(ShardKeys(HOME).row("default", "u-ann")))


def by_clock(one: Event, wrong: timedelta, *, says_when_sent: bool) -> Event:
    """The same, as a device tells it whose clock is wrong by so much; it is sent a second after it happened."""
    assert one.received_at is not None
    at = one.received_at + wrong
    return msgspec.structs.replace(one, occurred_at=at - timedelta(seconds=1), sent_at=at if says_when_sent else None)


async def applied(pipeline: Pipeline, log: Log, start: int) -> Applied:
    return await pipeline.apply(log.batches(start))


@pytest.mark.parametrize("wrong", [YEAR, -YEAR])
async def test_a_clock_a_year_wrong_that_says_when_it_sent_does_no_harm(
    pipeline: Pipeline, redis: Redis, wrong: timedelta
) -> None:
    log = Log()
    log.append(event("ann", "view_item", "a"))
    log.append(by_clock(event("ann", "view_item", "b", minute=5), wrong, says_when_sent=True))
    log.append(event("ann", "view_item", "c", minute=10))
    counts = await applied(pipeline, log, 0)
    assert (counts.applied, counts.late, counts.dead) == (3, 0, 0)
    found = await state(redis)
    assert [one.item_id for one in found.interactions] == ["a", "b", "c"]
    assert [one.at for one in found.interactions] == [to_ms(T0), to_ms(T0) + 299_000, to_ms(T0) + 600_000]


async def test_a_clock_a_year_ahead_is_believed_up_to_the_receipt_and_raises_no_floor(
    pipeline: Pipeline, redis: Redis
) -> None:
    log = Log()
    log.append(by_clock(event("ann", "view_item", "b", minute=5), YEAR, says_when_sent=False))
    log.append(event("ann", "view_item", "a"), event("ann", "view_item", "c", minute=10))
    counts = await applied(pipeline, log, 0)
    assert (counts.applied, counts.late) == (3, 0)
    assert [one.item_id for one in (await state(redis)).interactions] == ["a", "b", "c"]


async def test_a_clock_a_year_behind_is_too_late_and_counted_and_the_next_event_is_applied(
    pipeline: Pipeline, redis: Redis
) -> None:
    log = Log()
    log.append(event("ann", "view_item", "a"))
    log.append(by_clock(event("ann", "view_item", "b", minute=5), -YEAR, says_when_sent=False))
    log.append(event("ann", "view_item", "c", minute=10))
    counts = await applied(pipeline, log, 0)
    assert (counts.applied, counts.late, counts.dead) == (2, 1, 0)
    assert [one.item_id for one in (await state(redis)).interactions] == ["a", "c"]


@pytest.mark.parametrize(
    ("after_h", "duplicates", "late"), [(1, 1, 0), (23, 1, 0), (25, 0, 1), (72, 0, 1), (24 * 200, 0, 1)]
)
async def test_a_duplicate_of_another_day_changes_nothing_and_is_counted(
    pipeline: Pipeline, redis: Redis, after_h: int, duplicates: int, late: int
) -> None:
    log = Log()
    log.append(event("ann", "purchase", "a", event_id="bought"), event("ann", "view_item", "b", minute=60 * after_h))
    await applied(pipeline, log, 0)
    before = await redis.get(ShardKeys(HOME).row("default", "u-ann"))
    again = event("ann", "purchase", "a", event_id="bought")
    assert again.received_at is not None
    log.append(msgspec.structs.replace(again, received_at=again.received_at + timedelta(hours=after_h)))
    counts = await applied(pipeline, log, 2)
    assert (counts.applied, counts.duplicates, counts.late) == (0, duplicates, late)
    assert await redis.get(ShardKeys(HOME).row("default", "u-ann")) == before


async def test_a_full_disk_under_the_archive_is_named_and_nothing_is_missing_once_there_is_room(
    broker: str, tmp_path: Path
) -> None:
    produce(broker, 0, 3)
    file = tmp_path / ".half-written" / f"{LOG}@{HOME}.0-2.parquet"
    file.parent.mkdir()
    file.symlink_to("/dev/full")  # the kernel's own: whatever is written there meets a full disk
    source = Source(broker, LOG, True)
    with pytest.raises(
        Refused, match=f"the archive in {tmp_path} cannot be written .No space left.*: make room"
    ) as full:
        await Archiver(source, tmp_path, Filing(records=3), Metrics()).run()
    assert full.value.reason == "archive_unwritable"
    assert EventArchive(tmp_path).through(LOG) == {}
    os.unlink(file)
    archiver = Archiver(source, tmp_path, Filing(records=3), Metrics())
    running = asyncio.create_task(archiver.run())
    while archiver.reached(HOME) < 2:
        await asyncio.wait({running}, timeout=0.01)
        assert not running.done()
    running.cancel()
    await asyncio.wait({running})
    assert offsets(tmp_path) == [0, 1, 2]
