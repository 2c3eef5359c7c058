"""Older and newer producers on one log: what the worker makes of their events, through the whole pipeline."""

from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from features.event_versions import Versions
from features.events import decode, encode, record_key_of
from features.shoppers import decode_state
from infra.keys import ShardKeys, partition_of
from infra.settings import Settings
from tests.streams.shop import LOG, PARTITIONS, Log, event, partition_of_event
from tests.streams.test_pipeline import letters_of, pipeline_of, rows_of

RECORDED = Path(__file__).parents[1] / "features" / "recorded" / "events_v1.jsonl"
HOME = partition_of_event(event("ann", "page_view"))


async def test_what_version_1_recorded_is_applied(settings: Settings, redis: Redis) -> None:
    log = Log()
    for line in RECORDED.read_bytes().splitlines():
        key = record_key_of(decode(line))
        log.append_raw(partition_of(key, PARTITIONS), line, key.encode())
    pipeline = await pipeline_of(settings, redis)
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.dead) == (17, 0)
    state = decode_state(await redis.get(ShardKeys(HOME).row("default", "u-ann")))
    assert not state.cart  # bought
    assert "tea-1" in {one.item_id for one in state.interactions}


async def test_fields_of_a_newer_producer_leave_the_row_as_it_is(settings: Settings, redis: Redis) -> None:
    one = encode(event("ann", "view_item", "tea"))
    rows = []
    for raw in (one, one[:-1] + b',"gift":{"for":"bob"},"score":0.25}'):
        await redis.flushall()
        log = Log()
        log.append_raw(HOME, raw)
        assert (await (await pipeline_of(settings, redis)).apply(log.batches())).applied == 1
        rows.append(await rows_of(redis))
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b'{"schema_version":2,"event_name":"view_item","who":"ann"}', "unknown_version"),
        (encode(event("ann", "page_view")).replace(b"page_view", b"unbox_item"), "unknown_event"),
        (b"\x00\xff\xfe poison \x1b[2J", "not_json"),
        (b"", "not_json"),
        (None, "empty"),
    ],
)
async def test_what_cannot_be_read_is_one_dead_letter(
    raw: bytes | None, code: str, settings: Settings, redis: Redis
) -> None:
    log = Log()
    log.append(event("ann", "view_item", "a"))
    at = log.append_raw(HOME, raw, b"default|u-ann")
    log.append(event("ann", "view_item", "b", minute=1))
    pipeline = await pipeline_of(settings, redis)
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.dead, counts.reasons) == (2, 1, {code: 1})
    await pipeline.apply(log.batches())  # once more changes nothing
    [letter] = await letters_of(redis)
    assert (letter["daogou-reason"], letter["daogou-offset"]) == (code.encode(), str(at).encode())
    assert letter["daogou-id"] == f"{LOG}/{HOME}/{at}".encode()
    assert letter["value"] == (raw or b"")


async def test_after_the_upgrade_the_letter_of_a_newer_version_is_an_event(settings: Settings, redis: Redis) -> None:
    """The bytes of the letter are those that the newer worker reads: nothing was lost by waiting."""
    newer = encode(event("ann", "view_item", "tea"))[:-1] + b',"schema_version":2}'
    log = Log()
    log.append_raw(HOME, newer)
    await (await pipeline_of(settings, redis)).apply(log.batches())
    [letter] = await letters_of(redis)
    upgraded = Versions(2, {1: dict})
    assert msgspec.structs.replace(decode(letter["value"], upgraded), schema_version=1) == decode(
        encode(event("ann", "view_item", "tea"))
    )
