"""Effects reach Kafka once acknowledged, in order, and again with the same bytes after a crash in between."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis

from infra.errors import Fenced, KafkaAway, TooLarge
from infra.kafka import Follower, Outgoing, Producer, Record
from infra.kafka_admin import end_offsets
from infra.keys import ShardKeys
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import DEAD_LETTERS, TRIGGERS
from streams.dead_letters import letters_of_effect
from streams.draining import Blocked, Drainer
from streams.letters.letter import read_letter
from streams.outbox import CHUNK, Outbox, pack, unpack
from streams.partition import PartitionWrite
from streams.pipeline import Pipeline, build_pipeline
from tests.streams.shop import LOG

PARTITION = 5


def effect(number: int, size: int = 10) -> Outgoing:
    return Outgoing(TRIGGERS, PARTITION, f"default|u-{number}", b"%d" % number + b"." * size, (("n", b"\x00"),))


class Away:
    """A producer that Kafka takes nothing from until it is `back`."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.back = False

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        if not self.back:
            raise KafkaAway("away for the test")
        return await self._producer.send_many(records)

    async def send(self, record: Outgoing) -> int:
        return (await self.send_many([record]))[0]


class Slow:
    """A producer whose records are on the log before anybody hears so: that comes when the test lets it."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.on_log = asyncio.Event()
        self.heard = asyncio.Event()

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        offsets = await self._producer.send_many(records)
        self.on_log.set()
        await self.heard.wait()
        return offsets

    async def send(self, record: Outgoing) -> int:
        return (await self.send_many([record]))[0]


@pytest.fixture
async def producer(kafka: str) -> AsyncIterator[Producer]:
    one = Producer(kafka, embedded=True)
    await one.start()
    yield one
    one.close()


@pytest.fixture
async def pipeline(settings: Settings, redis: Redis) -> Pipeline:
    one = build_pipeline(settings, redis)
    await one.claim([PARTITION], LOG)
    return one


async def put(pipeline: Pipeline, *effects: Outgoing) -> dict[int, int]:
    owned = pipeline.owned[PARTITION]
    packed = [pack(one) for one in effects]
    write = PartitionWrite(PARTITION, LOG, owned.epoch, owned.fence, owned.fence, outbox=packed)
    return await pipeline.store.commit([write])


def written(kafka: str, since: int) -> list[bytes | None]:
    return [record.value for record in read_from(kafka, TRIGGERS, since)]


def read_from(kafka: str, topic: str, since: int) -> list[Record]:
    follower = Follower(kafka, topic, {PARTITION: since}, embedded=True)
    wanted = end_offsets(kafka, topic)[PARTITION] - since
    found: list[Record] = []
    while len(found) < wanted:
        found += follower.read(1000, 5.0)
    follower.close()
    return found


def test_packing_is_undone_by_unpacking() -> None:
    for one in (effect(1), Outgoing("t", 0, "k", None)):
        assert unpack(pack(one)) == one


async def test_what_waits_is_sent_in_order_and_removed(
    kafka: str, redis: Redis, producer: Producer, pipeline: Pipeline
) -> None:
    since = end_offsets(kafka, TRIGGERS)[PARTITION]
    effects = [effect(number) for number in range(CHUNK + 7)]
    assert await put(pipeline, *effects) == {PARTITION: CHUNK + 7}
    assert await Outbox(redis, producer).drain(PARTITION, pipeline.owned[PARTITION].epoch) == (CHUNK + 7, {})
    assert written(kafka, since) == [one.value for one in effects]
    assert await redis.llen(ShardKeys(PARTITION).outbox) == 0


async def test_a_lost_answer_to_the_removal_removes_nothing_more(
    redis: Redis, producer: Producer, pipeline: Pipeline
) -> None:
    await put(pipeline, effect(1), effect(2))
    first = await redis.lindex(ShardKeys(PARTITION).outbox, 0)
    await Outbox(redis, producer).drain(PARTITION, pipeline.owned[PARTITION].epoch)
    await put(pipeline, effect(3))
    assert first == pack(effect(1))
    assert await redis.lrange(ShardKeys(PARTITION).outbox, 0, -1) == [pack(effect(3))]


async def test_an_earlier_owner_removes_nothing(redis: Redis, producer: Producer, pipeline: Pipeline) -> None:
    await put(pipeline, effect(1))
    old = pipeline.owned[PARTITION].epoch
    await pipeline.claim([PARTITION], LOG)
    with pytest.raises(Fenced):
        await Outbox(redis, producer).drain(PARTITION, old)
    assert await redis.llen(ShardKeys(PARTITION).outbox) == 1


async def test_what_kafka_never_takes_does_not_block_the_rest(
    kafka: str, redis: Redis, producer: Producer, pipeline: Pipeline
) -> None:
    since, dead = end_offsets(kafka, TRIGGERS)[PARTITION], end_offsets(kafka, DEAD_LETTERS)[PARTITION]
    large = effect(2, size=2_000_000)
    await put(pipeline, effect(1), large, effect(3))
    epoch = pipeline.owned[PARTITION].epoch
    assert await Outbox(redis, producer).drain(PARTITION, epoch) == (2, {TRIGGERS: 1})
    assert {effect(1).value, effect(3).value} <= set(written(kafka, since))
    letters = [read_letter(one) for one in read_from(kafka, DEAD_LETTERS, dead)]
    assert b"".join(one.value or b"" for one in letters) == large.value, "all of it is kept"
    assert len({one.id for one in letters}) == 11
    assert {(one.reason, one.topic, one.partition) for one in letters} == {("effect_too_large", TRIGGERS, PARTITION)}
    assert not any(one.whole for one in letters)
    assert {one.value for one in letters} == {one.value for one in letters_of_effect(large)}, "the same when repeated"


async def test_what_not_even_the_dead_letters_take_stays(redis: Redis, pipeline: Pipeline) -> None:
    class Narrow:
        """Kafka takes nothing over ten bytes."""

        async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
            if any(len(one.value or b"") > 10 for one in records):
                raise TooLarge("too large for the test")
            return [0 for _ in records]

        async def send(self, record: Outgoing) -> int:
            return (await self.send_many([record]))[0]

    await put(pipeline, effect(1))
    with pytest.raises(KafkaAway, match=r"raise its max\.message\.bytes"):
        await Outbox(redis, Narrow()).drain(PARTITION, pipeline.owned[PARTITION].epoch)
    assert await redis.llen(ShardKeys(PARTITION).outbox) == 1


async def test_kafka_away_keeps_what_waits(redis: Redis, pipeline: Pipeline) -> None:
    away = Producer("127.0.0.1:1", embedded=False, timeout_ms=200)
    await away.start()
    await put(pipeline, effect(1))
    with pytest.raises(KafkaAway):
        await Outbox(redis, away).drain(PARTITION, pipeline.owned[PARTITION].epoch)
    away.close()
    assert await redis.llen(ShardKeys(PARTITION).outbox) == 1


async def test_a_full_outbox_pauses_until_it_is_emptied(redis: Redis, producer: Producer, pipeline: Pipeline) -> None:
    drainer = Drainer(pipeline, Outbox(redis, producer), 3, Metrics())
    drainer.note(await put(pipeline, *(effect(number) for number in range(4))))
    waiting = asyncio.create_task(drainer.until_below_bound())
    done, _ = await asyncio.wait([waiting], timeout=0)
    assert not done
    draining = asyncio.create_task(drainer.run())
    await waiting
    draining.cancel()
    assert await redis.llen(ShardKeys(PARTITION).outbox) == 0


async def test_a_new_owner_finds_what_was_left(redis: Redis, producer: Producer, pipeline: Pipeline) -> None:
    await put(pipeline, effect(1), effect(2))
    await pipeline.claim([PARTITION], LOG)
    drainer = Drainer(pipeline, Outbox(redis, producer), 1, Metrics())
    await drainer.look()
    draining = asyncio.create_task(drainer.run())
    await drainer.until_below_bound()
    draining.cancel()
    assert await redis.llen(ShardKeys(PARTITION).outbox) == 0


async def test_an_end_that_is_asked_for_while_effects_are_sent_makes_no_repeat(
    kafka: str, redis: Redis, producer: Producer, pipeline: Pipeline
) -> None:
    since, slow = end_offsets(kafka, TRIGGERS)[PARTITION], Slow(producer)
    drainer = Drainer(pipeline, Outbox(redis, slow), 10, Metrics())
    drainer.note(await put(pipeline, effect(1), effect(2), effect(3)))
    draining = asyncio.create_task(drainer.run())
    await slow.on_log.wait()
    draining.cancel()
    await asyncio.wait([draining], timeout=0)
    slow.heard.set()
    await asyncio.wait([draining])
    assert draining.cancelled()
    await pipeline.claim([PARTITION], LOG)
    await Outbox(redis, producer).drain(PARTITION, pipeline.owned[PARTITION].epoch)
    assert written(kafka, since) == [effect(number).value for number in (1, 2, 3)]


async def test_a_worker_killed_between_sending_and_noting_so_has_the_same_bytes_sent_again(
    kafka: str, redis: Redis, producer: Producer, pipeline: Pipeline
) -> None:
    since, slow = end_offsets(kafka, TRIGGERS)[PARTITION], Slow(producer)
    await put(pipeline, effect(1))
    killed = asyncio.create_task(Outbox(redis, slow).drain(PARTITION, pipeline.owned[PARTITION].epoch))
    await slow.on_log.wait()
    await pipeline.claim([PARTITION], LOG)  # what a kill leaves to the next owner
    await Outbox(redis, producer).drain(PARTITION, pipeline.owned[PARTITION].epoch)
    assert written(kafka, since) == [effect(1).value] * 2
    slow.heard.set()
    with pytest.raises(Fenced):
        await killed


async def test_a_full_outbox_that_kafka_does_not_take_has_a_state_of_its_own(
    redis: Redis, producer: Producer, pipeline: Pipeline
) -> None:
    away, measured = Away(producer), Metrics()
    drainer = Drainer(pipeline, Outbox(redis, away), 3, measured)
    drainer.note(await put(pipeline, *(effect(number) for number in range(4))))
    assert drainer.blocked() is None, "nobody knows yet that Kafka takes nothing"
    assert b"daogou_outbox_full 1.0" in measured.text()
    draining = asyncio.create_task(drainer.run())
    async with asyncio.timeout(10):
        while drainer.blocked() is None:
            await asyncio.sleep(0)
    assert drainer.blocked() == Blocked((PARTITION,), "away for the test")
    away.back = True
    await drainer.until_below_bound()
    assert drainer.blocked() is None
    assert b"daogou_outbox_full 0.0" in measured.text()
    draining.cancel()
