"""What cannot be told, or not yet: it waits, or goes to the dead letters, and stops nothing behind it."""

import asyncio
from collections.abc import Callable, Sequence

from redis.asyncio import Redis

from features.events import decode
from infra import keys
from infra.errors import KafkaAway, TooLarge
from infra.kafka import Follower, Outgoing, Producer, Record
from infra.kafka_admin import end_offsets
from infra.topics import CATALOG, DEAD_LETTERS, EVENTS
from streams.draining import Blocked
from streams.inbox import Chunk, Inbox
from streams.telling import Teller
from tests.streams.shop import PARTITIONS
from tests.streams.telling.catalogue import (
    HOME,
    Catalogue,
    Dying,
    at_home,
    changed_in,
    content,
    price,
    stock,
)


class Recovering(Dying):
    """The same once; then it is back, and notes what the teller said meanwhile."""

    teller: Teller
    said: list[Blocked | None]

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        self.said.append(self.teller.blocked())
        if len(self.said) == 1:
            return await super().send_many(records)
        return await Producer.send_many(self, records)


async def test_kafka_is_waited_for_and_that_is_told(make: Callable[[], Catalogue], kafka: str) -> None:
    shop, producer = make(), Recovering(kafka, embedded=True)
    await producer.start()
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    shop.append(price("8.00"))
    await shop.apply()
    producer.teller, producer.said = shop.teller(producer), []
    producer.teller.note([HOME])
    running = asyncio.ensure_future(producer.teller.run())
    async with asyncio.timeout(30):
        await producer.teller.until_told()
    running.cancel()
    producer.close()
    assert producer.said == [None, Blocked((HOME,), "the brokers are away")]
    assert producer.teller.blocked() is None
    assert [len(set(of)) for of in shop.on_log()] == [1] * PARTITIONS


async def test_the_catalogue_waits_until_its_changes_are_told(make: Callable[[], Catalogue]) -> None:
    shop = make()
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    shop.append(price("8.00"))
    await shop.apply()
    teller = shop.teller()
    await teller.until_told()
    teller.note([HOME])
    waiting = asyncio.ensure_future(teller.until_told())
    running = asyncio.ensure_future(teller.run())
    async with asyncio.timeout(30):
        await waiting
    assert await shop.waiting() == 0
    running.cancel()


async def test_a_change_counts_once_though_redis_went_back_and_the_log_was_cut_otherwise(
    make: Callable[[], Catalogue], redis: Redis
) -> None:
    """Sold out was told alone; after Redis went back it is read together with what came next, and is net nothing."""
    shop = make()
    shop.append(content(), stock(20), at_ms=0)
    await shop.apply()
    saved = {key: await redis.dump(key) for key in await redis.keys("daogou:{c*")}
    shop.append(stock(0))
    await shop.apply()
    await shop.tell()
    for key in await redis.keys("daogou:{c*"):
        await redis.delete(key)
    for key, raw in saved.items():
        await redis.restore(key, 0, raw)
    shop.keeper = None
    shop.append(stock(20))
    await shop.apply()
    await shop.tell()
    first, again = (changed_in(raw).items for raw in shop.on_log()[0])
    assert again[0] == first[0]
    assert [(one.kinds, one.offset) for one in again] == [(("out_of_stock",), 2), (("back_in_stock",), 3)]


async def test_what_nobody_can_read_goes_to_the_dead_letters_and_the_next_is_told(
    make: Callable[[], Catalogue], redis: Redis
) -> None:
    shop = make()
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    page_view = b'{"event_name":"page_view","occurred_at":"2026-11-24T10:00:00Z","event_id":"e","user_id":"u"}'
    await redis.rpush(keys.changes(HOME), b"\xff", page_view)
    shop.append(price("8.00"))
    await shop.apply()
    before = end_offsets(shop.bootstrap, DEAD_LETTERS)
    assert await shop.tell() == 1
    assert await shop.waiting() == 0
    assert shop.told() == [[("tea", ("price_dropped",))]] * PARTITIONS
    letters = letters_since(shop.bootstrap, before, 2)
    assert [(one.value, dict(one.headers)["daogou-reason"]) for one in letters] == [
        (b"\xff", b"not_json"),
        (page_view, b"changed_required"),
    ]
    assert 'daogou_dead_letters_total{code="not_json",topic="shop.events.v1"} 1.0' in shop.measured.text().decode()


def letters_since(bootstrap: str, since: dict[int, int], many: int) -> list[Record]:
    follower = Follower(bootstrap, DEAD_LETTERS, since, embedded=True)
    found: list[Record] = []
    while len(found) < many:
        read = follower.read(many, 5.0)
        assert read, "they are there, or never will be"
        found += read
    follower.close()
    return found


class Narrow(Producer):
    """The topic of events takes no more than 500 bytes; keeps what it took."""

    def __init__(self, bootstrap: str) -> None:
        super().__init__(bootstrap, embedded=True)
        self.took: list[Outgoing] = []

    async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
        if any(len(one.value or b"") > 500 for one in records if one.topic == EVENTS):
            raise TooLarge("a record is larger than its topic allows")
        self.took += records
        return [0] * len(records)


async def test_a_change_that_its_topic_does_not_take_goes_to_the_dead_letters_and_the_next_is_told(
    make: Callable[[], Catalogue], kafka: str
) -> None:
    shop, items, narrow = make(), at_home(3), Narrow(kafka)
    shop.append(*(facet for one in items for facet in (content(one), price("9.50", one))), at_ms=0)
    await shop.apply()
    shop.append(*(price("8.00", one) for one in items))
    await shop.apply()
    shop.append(price("7.00", items[0]))
    await shop.apply()
    assert await shop.teller(narrow).tell(HOME) == 2
    assert await shop.waiting() == 0
    assert [one.topic for one in narrow.took] == [DEAD_LETTERS] * PARTITIONS + [EVENTS] * PARTITIONS
    assert [decode(one.value or b"").changed.into for one in narrow.took] == [*range(PARTITIONS)] * 2
    measured = shop.measured.text().decode()
    assert f'code="effect_too_large",topic="shop.events.v1"}} {PARTITIONS:.1f}' in measured
    assert 'daogou_item_changes_told_total{kind="price_dropped"} 1.0' in measured


async def test_a_pause_comes_to_rest_though_changes_wait_for_kafka(make: Callable[[], Catalogue], kafka: str) -> None:
    class Away(Producer):
        asked = asyncio.Event()

        async def send_many(self, records: Sequence[Outgoing]) -> list[int]:
            self.asked.set()
            raise KafkaAway("the brokers are away")

    shop, away, inbox = make(), Away(kafka, embedded=True), Inbox(100)
    shop.append(content(), price("9.50"), at_ms=0)
    await shop.apply()
    keeper, teller = await shop.started(), shop.teller(away)
    keeper._teller = teller
    keeper.read_from({HOME: 2})
    shop.append(price("8.00"), price("7.00"))
    inbox.put(Chunk(CATALOG, HOME, shop.records[2:3]))
    running = [asyncio.ensure_future(teller.run()), asyncio.ensure_future(keeper.run(inbox, 1, shop.measured))]
    async with asyncio.timeout(30):
        await away.asked.wait()
    inbox.put(Chunk(CATALOG, HOME, shop.records[3:]))
    inbox.hold(True)
    assert inbox.at_rest
    assert (keeper.reached, inbox.waiting, await shop.waiting()) == ({HOME: 2}, 1, 1)
    for one in running:
        one.cancel()
    assert inbox.at_rest
