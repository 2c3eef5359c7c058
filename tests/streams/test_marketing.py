"""Carts left alone: when a message is due, what it says, and that it is made once or not at all."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from redis.asyncio import Redis

from features.catalog import Content, FacetRecord, Item, Price, Stock
from features.catalog_store import CatalogStore
from features.events import EventName, to_ms
from features.messages import Trigger, TriggerItem
from features.shoppers import CartLine, State, decode_state
from infra.clock import ManualClock
from infra.errors import KafkaAway, RedisAway
from infra.kafka import Producer
from infra.keys import ShardKeys, items, partition_of, record_key
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import TRIGGERS
from streams.commit import Fired, PartitionFire, PartitionStore
from streams.draining import Drainer
from streams.marketing import copy
from streams.marketing.decision import LIFETIME_MS, cart_abandoned
from streams.marketing.firing import PER_TURN, Firing
from streams.marketing.timers import cart_due
from streams.outbox import Outbox, unpack
from streams.pipeline import Pipeline, build_pipeline
from tests.streams.shop import LOG, PARTITIONS, T0, Log, event, partition_of_event

HOUR_MS = 3_600_000
DUE_MS = to_ms(T0) + HOUR_MS


def item(item_id: str, **facets: object) -> Item:
    known = {"content": Content(name=f"Name of {item_id}"), "price": Price(price=Decimal("3.20"), currency="EUR")}
    return Item(item_id=item_id, **{**known, **facets})


def state(*item_ids: str, **more: object) -> State:
    cart = {item_id: CartLine(1, "3.20", "EUR", at) for at, item_id in enumerate(item_ids)}
    return State(cart=cart, cart_live_at=DUE_MS - HOUR_MS, **more)


def decide(of: State, *items: Item, now_ms: int = DUE_MS) -> Trigger | str:
    return cart_abandoned("default", "u-ann", of, {one.item_id: one for one in items}, DUE_MS, now_ms)


def test_a_cart_is_due_an_hour_after_its_last_live_change() -> None:
    assert cart_due(state("a"), HOUR_MS) == DUE_MS
    assert cart_due(state(), HOUR_MS) is None
    assert cart_due(State(cart={"a": CartLine(1, None, None, 5)}), HOUR_MS) is None


def test_the_message_names_what_lies_in_the_cart_newest_first() -> None:
    made = decide(state("a", "b"), item("a"), item("b"))
    assert isinstance(made, Trigger)
    assert [one.item_id for one in made.items] == ["b", "a"]
    assert made.items[0].price == Decimal("3.20")
    assert "Name of b (3.20 EUR), Name of a (3.20 EUR)" in made.copy.body
    assert (made.copy.locale, made.consent_basis) == ("en", "soft_opt_in")
    assert to_ms(made.eligible_at) == DUE_MS
    assert to_ms(made.expires_at) == DUE_MS + LIFETIME_MS
    assert decide(state("a", "b"), item("a"), item("b"), now_ms=DUE_MS + 5) == made


def test_the_id_follows_from_shopper_and_due_time() -> None:
    ids = {
        made.trigger_id
        for due in (DUE_MS, DUE_MS + 1)
        for who in ("u-ann", "u-bob")
        if isinstance(made := cart_abandoned("default", who, state("a"), {"a": item("a")}, due, due), Trigger)
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("of", "items", "late_ms", "reason"),
    [
        (state("a"), [item("a")], LIFETIME_MS + 1, "expired"),
        (state(), [], 0, "empty_cart"),
        (state("a", consent={"marketing": False}), [item("a")], 0, "no_consent"),
        (state("a"), [item("a", stock=Stock(available=False))], 0, "out_of_stock"),
        (state("a"), [item("a", content=Content(name="x", hidden=True))], 0, "out_of_stock"),
        (state("a"), [], 0, "out_of_stock"),
    ],
)
def test_no_message(of: State, items: list[Item], late_ms: int, reason: str) -> None:
    assert decide(of, *items, now_ms=DUE_MS + late_ms) == reason


def test_what_cannot_be_bought_is_left_out() -> None:
    made = decide(state("a", "b"), item("a"), item("b", stock=Stock(quantity=0)))
    assert isinstance(made, Trigger)
    assert [one.item_id for one in made.items] == ["a"]


def test_chinese_for_chinese_shoppers() -> None:
    made = decide(state("a", locale="zh-Hans-CN"), item("a", content=Content(name="龙井茶")))
    assert isinstance(made, Trigger)
    assert made.copy.locale == "zh"
    assert "龙井茶（3.20 EUR）" in made.copy.body


def test_shop_text_is_data() -> None:
    assert copy.plain("a\n\tb\u202e{x}\u0000 c") == "a b {x} c"
    assert len(copy.plain("long " * 100)) <= copy.MAX_NAME
    hostile = TriggerItem(item_id="a", name="{0.__class__} %s\r\nBcc: all")
    assert "\n" not in copy.cart_abandoned([hostile], "en").subject


@pytest.fixture
async def shop(settings: Settings, redis: Redis) -> Pipeline:
    return await stocked_pipeline(settings, redis)


async def stocked_pipeline(settings: Settings, redis: Redis) -> Pipeline:
    pipeline = build_pipeline(settings, redis)
    await pipeline.claim(range(PARTITIONS), LOG)
    store = CatalogStore(redis)
    for item_id in ("tea", "cup"):
        whole = item(item_id)
        record = FacetRecord(tenant="default", item_id=item_id, content=whole.content)
        at = partition_of(record_key("default", item_id), PARTITIONS)
        await store.apply(at, [record], "items", 0 if item_id == "tea" else 1)
    return pipeline


class Till:
    """Fires timers at a minute after T0; `ends` are those of the log, `asked` how often they were asked for."""

    def __init__(self, pipeline: Pipeline, redis: Redis, settings: Settings) -> None:
        self.ends: dict[int, int] = {}
        self.asked: list[list[int]] = []
        self.away = False
        self.drainer = Drainer(pipeline, Outbox(redis, Producer(settings.kafka, embedded=True)), 1, Metrics())
        self._clock = ManualClock(to_ms(T0))
        self._firing = Firing(pipeline, CatalogStore(redis), self.drainer, self._clock, self._log_ends)

    async def turn(self, minutes: float) -> Counter[str]:
        self._clock.move_ms(to_ms(T0) + int(minutes * 60_000) - self._clock.now_ms())
        return await self._firing.turn()

    async def _log_ends(self, partitions: Sequence[int]) -> dict[int, int]:
        self.asked.append(list(partitions))
        if self.away:
            raise KafkaAway("away")
        return {partition: self.ends.get(partition, 0) for partition in partitions}


async def turn(pipeline: Pipeline, redis: Redis, settings: Settings, minutes: float) -> Counter[str]:
    return await Till(pipeline, redis, settings).turn(minutes)


async def messages(redis: Redis) -> list[Trigger]:
    found = []
    for partition in range(PARTITIONS):
        for raw in await redis.lrange(ShardKeys(partition).outbox, 0, -1):
            record = unpack(raw)
            assert (record.topic, record.partition) == (TRIGGERS, partition)
            found.append(msgspec.json.decode(record.value or b"", type=Trigger))
    return found


async def test_a_cart_left_alone_gives_one_message(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 59) == {}
    assert await turn(shop, redis, settings, 60) == {"ok": 1}
    assert await turn(shop, redis, settings, 61) == {}
    [made] = await messages(redis)
    assert (made.shopper_id, [one.item_id for one in made.items]) == ("u-ann", ["tea"])
    log.append(event("ann", "view_item", "cup", minute=70))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 200) == {"duplicate": 1}, "the same visit, the same cart"
    log.append(event("ann", "add_to_cart", "cup", minute=210))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 270) == {"ok": 1}, "another cart"


async def test_whoever_still_looks_around_has_not_left_the_cart_alone(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"), event("ann", "page_view", minute=30))
    log.append(event("ann", "view_item", "cup", minute=59), event("ann", "page_view", minute=70, load_id="load-1"))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 118) == {}
    assert await turn(shop, redis, settings, 119) == {"ok": 1}
    [made] = await messages(redis)
    assert to_ms(made.eligible_at) == to_ms(T0) + 119 * 60_000


async def test_another_visit_leaves_the_due_time_as_it_was(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log = Log()
    other = msgspec.structs.replace(event("ann", "page_view", minute=50), session_id="s2")
    log.append(event("ann", "add_to_cart", "tea"), other)
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 60) == {"ok": 1}


@pytest.mark.parametrize(
    ("late", "minute"),
    [("remove_from_cart", 5), ("add_to_cart", 20), ("view_item", 40), ("add_to_cart", -30), ("add_to_cart", 60)],
)
async def test_an_event_that_comes_late_makes_no_second_message_for_the_same_abandonment(
    shop: Pipeline, redis: Redis, settings: Settings, late: EventName, minute: int
) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea", "cup"))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 60) == {"ok": 1}
    log.append(event("ann", late, "cup", minute=minute))
    await shop.apply(log.batches())
    assert (await turn(shop, redis, settings, 200))["ok"] == 0
    assert len(await messages(redis)) == 1
    log.append(event("ann", "add_to_cart", "cup", minute=201))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 261) == {"ok": 1}, "a change after the message"


@tries(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add_to_cart", "remove_from_cart", "view_item", "purchase", "page_view"]),
            st.integers(0, 400),
            st.integers(0, 100),
        ),
        max_size=12,
    )
)
async def test_between_two_messages_the_cart_was_changed(
    settings: Settings, redis: Redis, done: list[tuple[EventName, int, int]]
) -> None:
    """Whatever the shopper did, in whatever order it arrives: (what, minute, minutes of delay)."""
    await redis.flushall()
    pipeline = await stocked_pipeline(settings, redis)
    log, till = Log(), Till(pipeline, redis, settings)
    arrivals = sorted(done, key=lambda one: one[1] + one[2])
    changes = {minute for what, minute, _ in done if what != "view_item" and what != "page_view"}
    for what, minute, delay in arrivals:
        await till.turn(minute + delay)
        log.append(event("ann", what, *(() if what == "page_view" else ("tea",)), minute=minute))
        await pipeline.apply(log.batches())
        await till.turn(minute + delay)
    await till.turn(600)
    due = [(to_ms(made.eligible_at) - to_ms(T0)) // 60_000 for made in await messages(redis)]
    assert all(any(before < change <= after - 60 for change in changes) for before, after in pairwise(due))


async def test_a_view_that_arrives_after_the_purchase_does_not_make_the_cart_look_abandoned(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log, timers = Log(), ShardKeys(partition_of_event(event("ann", "page_view"))).timers
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    assert await redis.zcard(timers) == 1
    log.append(event("ann", "purchase", "tea", minute=20))
    await shop.apply(log.batches())
    for late in (event("ann", "view_item", "tea", minute=10), event("ann", "add_to_cart", "tea", minute=15)):
        log.append(late)
        await shop.apply(log.batches())
        assert await redis.zcard(timers) == 0
    row = await redis.get(ShardKeys(HOME).row("default", "u-ann"))
    found = decode_state(row)
    assert (found.cart, found.cart_live_at, found.cart_changed_at) == ({}, 0, 0)
    assert [met.kind for met in found.interactions] == ["add_to_cart", "view_item", "add_to_cart", "purchase"]
    assert await turn(shop, redis, settings, 200) == {}
    assert await messages(redis) == []


async def test_a_purchase_stops_it_and_another_cart_starts_anew(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"), event("bob", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    log.append(
        event("ann", "purchase", "tea", minute=20),
        event("bob", "purchase", "tea", minute=20, load_id="load-1"),
    )
    await shop.apply(log.batches())
    assert await redis.zcard(ShardKeys(partition_of_event(event("ann", "page_view"))).timers) == 0
    assert await turn(shop, redis, settings, 90) == {}
    log.append(event("ann", "add_to_cart", "cup", minute=100))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 160) == {"ok": 1}


async def test_history_sets_no_timer(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea", load_id="load-1"))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 90) == {}


async def test_an_old_timer_is_dropped_with_its_reason(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 60 * 26) == {"expired": 1}
    assert await messages(redis) == []
    assert await turn(shop, redis, settings, 60 * 26) == {}


HOME = partition_of_event(event("ann", "page_view"))
# Another shopper of the same partition.
BOB = next(name for name in map("bob{}".format, range(100)) if partition_of_event(event(name, "page_view")) == HOME)


async def test_a_purchase_that_waits_on_the_log_stops_the_message(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    log.append(event("ann", "purchase", "tea", minute=20))
    till.ends = {HOME: len(log.records[HOME])}
    assert await till.turn(90) == {}
    await shop.apply(log.batches())
    assert await till.turn(90) == {}
    assert await messages(redis) == []


async def test_a_cart_fires_once_its_partition_has_reached_the_end(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    log.append(event(BOB, "view_item", "cup", minute=20))
    till.ends = {HOME: 2}
    assert await till.turn(90) == {}
    assert await till.turn(90) == {}
    assert till.asked == [[HOME]]
    await shop.apply(log.batches())
    assert await till.turn(90.01) == {"ok": 1}
    assert till.asked == [[HOME]]


async def test_an_end_asked_for_long_ago_is_asked_for_anew(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till.ends = {HOME: 2}
    assert await till.turn(90) == {}
    log.append(event(BOB, "view_item", "cup", minute=20), event("ann", "purchase", "tea", minute=95))
    till.ends = {HOME: 3}
    assert await till.turn(96) == {}
    await shop.apply(log.batches(stop=2))
    assert await till.turn(96) == {}
    await shop.apply(log.batches())
    assert await till.turn(96) == {}
    assert await messages(redis) == []


async def test_a_timer_set_after_the_end_was_asked_for_waits_for_the_next(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till.ends = {HOME: 2}
    assert await till.turn(90) == {}
    log.append(event(BOB, "view_item", "cup", minute=-5), event(BOB, "add_to_cart", "tea"))
    await shop.apply(log.batches())
    log.append(event(BOB, "purchase", "tea", minute=30))
    till.ends = {HOME: 4}
    assert await till.turn(90) == {"ok": 1}
    assert await till.turn(90) == {}
    await shop.apply(log.batches())
    assert [made.shopper_id for made in await messages(redis)] == ["u-ann"]


async def test_nobody_is_asked_when_nothing_is_due(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    till = Till(shop, redis, settings)
    assert await till.turn(90) == {}
    assert till.asked == []


async def test_with_kafka_away_messages_wait(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till.away = True
    assert await till.turn(90) == {}
    till.away = False
    assert await till.turn(90) == {"ok": 1}


async def test_a_claim_meanwhile_asks_anew(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    till.ends = {HOME: 2}
    assert await till.turn(90) == {}
    await shop.claim(range(PARTITIONS), LOG)
    till.ends = {HOME: 1}
    assert await till.turn(90) == {"ok": 1}


class AnswerLost(PartitionStore):
    """Loses the answer to the first call that fires."""

    lost = False

    async def fire(self, fires: Sequence[PartitionFire]) -> list[Fired]:
        fired = await super().fire(fires)
        if not self.lost:
            self.lost = True
            raise RedisAway("the answer was lost")
        return fired


async def test_a_message_whose_answer_was_lost_is_sent(shop: Pipeline, redis: Redis, settings: Settings) -> None:
    shop.store = AnswerLost(redis)
    log, till = Log(), Till(shop, redis, settings)
    log.append(event("ann", "add_to_cart", "tea"))
    await shop.apply(log.batches())
    with pytest.raises(RedisAway):
        await till.turn(60)
    assert await till.turn(60) == {}
    assert len(await messages(redis)) == 1
    waiting = asyncio.create_task(till.drainer.until_below_bound())
    done, _ = await asyncio.wait([waiting], timeout=0)
    assert not done  # the drainer knows that one effect waits: its bound is one
    waiting.cancel()


class Counting(PartitionStore):
    """Counts the calls that a turn makes."""

    fired: list[int]

    async def fire(self, fires: Sequence[PartitionFire]) -> list[Fired]:
        self.fired = [len(fire.timers) for fire in fires]
        return await super().fire(fires)


async def test_a_turn_is_bounded_over_all_partitions_and_fires_each_once(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    store = shop.store = Counting(redis)
    log, till = Log(), Till(shop, redis, settings)
    log.append(*(event(f"s{number}", "add_to_cart", "tea") for number in range(2 * PER_TURN + 10)))
    await shop.apply(log.batches())
    assert await till.turn(60) == {"ok": PER_TURN}
    assert len(store.fired) <= PARTITIONS
    assert sum(store.fired) == PER_TURN
    assert await till.turn(60) == {"ok": PER_TURN}
    assert await till.turn(60) == {"ok": 10}
    assert await till.turn(60) == {}
    assert len(await messages(redis)) == 2 * PER_TURN + 10


async def test_an_item_that_cannot_be_read_takes_only_its_own_message(
    shop: Pipeline, redis: Redis, settings: Settings
) -> None:
    broken = partition_of(record_key("default", "broken"), PARTITIONS)
    await redis.hset(items("default", broken), "broken", b"\xff")
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"), event("bob", "add_to_cart", "broken"))
    await shop.apply(log.batches())
    assert await turn(shop, redis, settings, 60) == {"ok": 1, "failed": 1}
