"""Carts left alone: when a message is due, and that it is made once or not at all."""

from itertools import pairwise

import msgspec
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from redis.asyncio import Redis

from features.events import EventName, to_ms
from features.shoppers import decode_state
from infra.keys import ShardKeys
from infra.settings import Settings
from streams.pipeline import Pipeline
from tests.streams.marketing.till import HOME, Till, messages, stocked_pipeline, turn
from tests.streams.shop import T0, Log, event, partition_of_event


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
