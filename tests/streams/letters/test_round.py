"""The whole round: a record that fails, its letter, back on the log, applied once; whatever is done twice."""

import msgspec
import pytest
from redis.asyncio import Redis

from features.events import Event, encode, record_key_of
from features.shoppers import decode_state
from infra.kafka import Outgoing, Record
from infra.keys import ShardKeys
from infra.settings import Settings
from infra.topics import EVENTS
from streams.batch import PartitionBatch
from streams.letters.letter import Letter, read_letter
from streams.letters.requeue import destination
from streams.outbox import unpack
from streams.pipeline import Pipeline
from tests.streams.letters.made import ANN, HOME
from tests.streams.shop import LOG, PARTITIONS
from tests.streams.test_pipeline import pipeline_of

ELSEWHERE = (HOME + 1) % PARTITIONS


def record(partition: int, offset: int, one: Event, headers: tuple[tuple[str, bytes], ...] = ()) -> Record:
    return Record(EVENTS, partition, offset, record_key_of(one).encode(), encode(one), 0, headers)


async def applied(pipeline: Pipeline, *records: Record) -> int:
    batches = [PartitionBatch(one.partition, LOG, [one]) for one in records]
    return sum([(await pipeline.apply([batch])).applied for batch in batches])


async def letters_of(redis: Redis, partition: int) -> list[Letter]:
    found = [unpack(raw) for raw in await redis.lrange(ShardKeys(partition).outbox, 0, -1)]
    return [read_letter(_as_read(one)) for one in found]


def _as_read(one: Outgoing) -> Record:
    return Record(one.topic, one.partition, 0, one.key.encode(), one.value, 0, one.headers)


async def test_a_record_in_the_wrong_partition_is_applied_once_after_its_requeue(
    settings: Settings, redis: Redis
) -> None:
    pipeline = await pipeline_of(settings, redis)
    assert await applied(pipeline, record(ELSEWHERE, 0, ANN)) == 0
    [letter] = await letters_of(redis, ELSEWHERE)
    assert (letter.reason, letter.value) == ("wrong_partition", encode(ANN))
    partition, _ = destination(letter, PARTITIONS)
    assert partition == HOME
    # Twice, as after a crash that nobody noticed: the event's own id makes the second one a duplicate.
    assert await applied(pipeline, record(partition, 0, ANN), record(partition, 1, ANN)) == 1
    state = decode_state(await redis.get(ShardKeys(HOME).row("default", "u-ann")))
    assert [one.item_id for one in state.interactions] == ["tea"]


@pytest.mark.parametrize("times", [1, 2])
async def test_a_record_that_fails_again_names_the_first_letter(settings: Settings, redis: Redis, times: int) -> None:
    pipeline = await pipeline_of(settings, redis)
    broken = msgspec.structs.replace(ANN, user_id=None)
    raw = encode(broken)
    first = Record(EVENTS, HOME, 0, b"default|u-ann", raw, 0)
    assert await applied(pipeline, first) == 0
    [letter] = await letters_of(redis, HOME)
    assert letter.reason == "shopper_required"
    for n in range(times):
        again = Record(EVENTS, HOME, n + 1, b"default|u-ann", raw, 0, (("daogou-requeued-from", letter.id.encode()),))
        await applied(pipeline, again)
    letters = await letters_of(redis, HOME)
    assert [one.first for one in letters] == [""] + [letter.id] * times
    assert len({one.id for one in letters}) == times + 1
