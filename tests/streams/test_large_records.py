"""A record of 10 MB, which only a topic with a raised bound can hold: one dead letter that Kafka takes."""

import hashlib
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from features.catalog_store import CatalogStore
from features.events import encode
from features.online import OnlineWriter
from infra.kafka import Follower, Producer, Record
from infra.keys import LIVE, ShardKeys, feast_project
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import CATALOG, DEAD_LETTERS, EVENTS
from streams.batch import PartitionBatch
from streams.catalogue import CatalogueKeeper
from streams.dead_letters import MAX_KEY, MAX_MESSAGE, MAX_RECORD, MAX_VALUE, letter
from streams.letters.letter import Letter, read_letter
from streams.letters.requeue import refusal
from streams.letters.words import to_do
from streams.outbox import Outbox, unpack
from tests.streams.shop import LOG, Log, event, partition_of_event
from tests.streams.test_pipeline import pipeline_of

HOME = partition_of_event(event("ann", "page_view"))
TEN_MB = 10_000_000
# A sound event but for its size: fields that are not known are left alone.
HUGE = encode(event("ann", "view_item", "huge"))[:-1] + b',"more":"' + b"x" * TEN_MB + b'"}'


@pytest.fixture
async def producer(broker: str) -> AsyncIterator[Producer]:
    one = Producer(broker, embedded=True)
    await one.start()
    yield one
    one.close()


def letters_on(broker: str) -> list[Letter]:
    follower = Follower(broker, DEAD_LETTERS, {HOME: 0}, embedded=True)
    try:
        return [read_letter(one) for one in follower.read(10, 5.0)]
    finally:
        follower.close()


async def test_a_huge_event_is_one_letter_with_its_length_and_digest(
    settings: Settings, redis: Redis, broker: str, producer: Producer
) -> None:
    log = Log()
    log.append(event("ann", "view_item", "a"))
    at = log.append_raw(HOME, HUGE, b"default|u-ann")
    log.append(event("ann", "view_item", "b", minute=1))
    pipeline = await pipeline_of(settings, redis)
    counts = await pipeline.apply(log.batches())
    assert (counts.applied, counts.reasons) == (2, {"too_large": 1})
    sent = await Outbox(redis, producer).drain(HOME, pipeline.owned[HOME].epoch)
    assert sent == (1, {})
    assert await redis.llen(ShardKeys(HOME).outbox) == 0
    [told] = letters_on(broker)
    assert (told.reason, told.topic, told.partition, told.offset) == ("too_large", EVENTS, HOME, at)
    assert told.value == HUGE[:MAX_VALUE]
    assert (told.cut_from, told.sha256) == (len(HUGE), hashlib.sha256(HUGE).hexdigest())
    assert "the first of its 10," in (refusal(told, None) or "")
    assert "fix the producer" in to_do(told)


async def test_a_huge_facet_is_one_letter(redis: Redis, broker: str, producer: Producer) -> None:
    async def next_on_log(partition: int, after: int) -> int:
        return after

    online = OnlineWriter(redis, feast_project(LIVE))
    keeper = CatalogueKeeper(CatalogStore(redis), online, producer, next_on_log, partitions=8)
    await keeper.begin([HOME], LOG)
    huge = b'{"tenant":"default","item_id":"tea","content":{"name":"Tea","description":"' + b"x" * TEN_MB + b'"}}'
    batch = PartitionBatch(HOME, LOG, [Record(CATALOG, HOME, 0, b"default|tea|content", huge, 0)], topic=CATALOG)
    assert await keeper.apply(batch, Metrics()) == 0
    [told] = letters_on(broker)
    assert (told.reason, told.cut_from) == ("too_large", len(huge))


async def test_the_largest_letter_there_can_be_is_taken_by_kafka(producer: Producer) -> None:
    record = Record(
        EVENTS,
        HOME,
        1 << 60,
        b"k" * 20_000,
        b"v" * MAX_RECORD,
        0,
        (("daogou-first-id", b"i" * 5000),),
    )
    largest = letter(PartitionBatch(HOME, "l" * 100, [record]), record, "too_large", "茶" * 5000)
    assert len(dict(largest.headers)["daogou-key"]) == MAX_KEY
    assert len(dict(largest.headers)["daogou-message"].decode()) == MAX_MESSAGE
    assert await producer.send(largest) >= 0


async def test_what_is_just_within_the_bound_is_an_event(settings: Settings, redis: Redis) -> None:
    frame = encode(event("ann", "view_item", "a"))[:-1] + b',"more":""}'
    whole = frame[:-2] + b"x" * (MAX_RECORD - len(frame)) + frame[-2:]
    log = Log()
    log.append_raw(HOME, whole)
    log.append_raw(HOME, whole[:-2] + b"x" + whole[-2:])
    counts = await (await pipeline_of(settings, redis)).apply(log.batches())
    assert (counts.applied, counts.reasons) == (1, {"too_large": 1})


async def test_a_letter_of_a_record_larger_than_a_letter_says_so(settings: Settings, redis: Redis) -> None:
    log = Log()
    log.append_raw(HOME, b"\xff" * (MAX_VALUE + 1))
    await (await pipeline_of(settings, redis)).apply(log.batches())
    [raw] = await redis.lrange(ShardKeys(HOME).outbox, 0, -1)
    told = unpack(raw)
    headers = dict(told.headers)
    assert (headers["daogou-reason"], headers["daogou-cut-from-bytes"]) == (b"not_json", b"%d" % (MAX_VALUE + 1))
    assert len(told.value or b"") == MAX_VALUE
