"""A message that left is not made again by a Redis that has forgotten it: the topic of messages is asked first."""

from collections.abc import Mapping

import pytest
from redis.asyncio import Redis

from infra.errors import KafkaAway
from infra.kafka import Outgoing, Producer
from infra.kafka_admin import end_offsets
from infra.keys import ShardKeys
from infra.settings import Settings
from infra.topics import TRIGGERS
from streams.marketing import timers
from streams.marketing.sent import Heard, Sent, sent_log
from streams.outbox import unpack
from streams.partition import Claimed
from streams.pipeline import Pipeline
from tests.streams.marketing.till import HOME, Till, messages
from tests.streams.shop import Log, event


class Topic:
    """The topic of messages: what it holds by partition, and where it was asked from."""

    def __init__(self) -> None:
        self.heard: dict[int, Heard] = {}
        self.asked: list[dict[int, int | None]] = []
        self.away = False

    async def read(self, positions: Mapping[int, int | None]) -> Mapping[int, Heard]:
        self.asked.append(dict(positions))
        if self.away:
            raise KafkaAway("away")
        return {partition: self.heard.get(partition, Heard({}, 0)) for partition in positions}


@pytest.fixture
def topic() -> Topic:
    return Topic()


async def sent_messages(redis: Redis, producer: Producer) -> None:
    """What the drainer does: from the outbox to the topic."""
    records = [unpack(raw) for raw in await redis.lrange(ShardKeys(HOME).outbox, 0, -1)]
    await producer.send_many(records)
    await redis.delete(ShardKeys(HOME).outbox)


async def test_what_left_before_redis_went_back_is_not_made_again(
    shop: Pipeline, redis: Redis, settings: Settings, topic: Topic
) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    assert await Till(shop, redis, settings, sent=Sent(shop.store, topic.read)).turn(60) == {"ok": 1}
    [message] = await messages(redis)
    # Redis goes back to before the timer fired; the message is on its topic.
    due = round(message.eligible_at.timestamp() * 1000)
    name = timers.member("default", "cart_abandoned", "u-ann")
    await redis.delete(ShardKeys(HOME).outbox, ShardKeys(HOME).told)
    await redis.zadd(ShardKeys(HOME).timers, {name: due})
    topic.heard[HOME] = Heard({name: due}, 1)
    assert await Till(shop, redis, settings, sent=Sent(shop.store, topic.read)).turn(60) == {"duplicate": 1}
    assert await messages(redis) == []
    assert await redis.get(ShardKeys(HOME).sent) == b"1"


async def test_while_nobody_says_what_left_nothing_fires(
    shop: Pipeline, redis: Redis, settings: Settings, topic: Topic
) -> None:
    log, topic.away = Log(), True
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till = Till(shop, redis, settings, sent=Sent(shop.store, topic.read))
    assert await till.turn(60) == {}
    topic.away = False
    assert await till.turn(60) == {"ok": 1}
    assert len(topic.asked) == 2


async def test_a_claim_is_asked_for_once_and_goes_on_from_where_it_was(shop: Pipeline, topic: Topic) -> None:
    sent = Sent(shop.store, topic.read)
    topic.heard[3] = Heard({"m": 5}, 4)
    await sent.look({3: Claimed(1, 0)})
    await sent.look({3: Claimed(1, 9)})
    await sent.look({3: Claimed(2, 9)})
    assert topic.asked == [{3: None}, {3: 4}]


async def test_the_newest_of_a_timer_stays(shop: Pipeline, redis: Redis) -> None:
    await shop.store.note_sent(3, {"m": 9, "n": 1}, 2)
    await shop.store.note_sent(3, {"m": 5}, 3)
    assert await redis.zrange(ShardKeys(3).told, 0, -1, withscores=True) == [(b"n", 1.0), (b"m", 9.0)]


async def test_the_topic_tells_when_each_message_was_due(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    assert await Till(shop, redis, settings).turn(60) == {"ok": 1}
    [message] = await messages(redis)
    begin = end_offsets(settings.kafka, TRIGGERS)[HOME]  # other tests leave messages there, too
    producer = Producer(settings.kafka, embedded=True)
    await producer.start()
    try:
        await sent_messages(redis, producer)
        await producer.send(Outgoing(TRIGGERS, HOME, "default|u-x", b"no message of ours"))
    finally:
        producer.close()
    read = sent_log(settings.kafka, embedded=True)
    name, due = timers.member("default", "cart_abandoned", "u-ann"), round(message.eligible_at.timestamp() * 1000)
    assert await read({HOME: begin}) == {HOME: Heard({name: due}, begin + 2)}
    assert await read({HOME: begin + 1}) == {HOME: Heard({}, begin + 2)}
    assert await read({HOME: begin + 2}) == {HOME: Heard({}, begin + 2)}
    for other in (None, begin + 99):  # nothing is known, or the topic is another one since: from its start
        heard = (await read({HOME: other}))[HOME]
        assert (heard.told[name], heard.after) == (due, begin + 2)
