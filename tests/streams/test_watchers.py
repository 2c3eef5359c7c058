"""The index of watchers says what the rows say: whatever comes, however it is cut, in replays and after logins."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as tries
from hypothesis import strategies as st
from redis.asyncio import Redis

from features.events import Event
from features.shoppers import decode_state
from features.watching import watched
from infra.errors import Fenced
from infra.keys import ShardKeys, split_shard_key
from infra.settings import Settings
from streams.commit import PartitionStore
from streams.pipeline import build_pipeline
from streams.replay.store import ReplayStore
from streams.watchers import Watchers, Watching
from tests.features.people import event, login
from tests.streams.shop import LOG, PARTITIONS, Log, partition_of_event
from tests.streams.shop import event as event_of
from tests.streams.test_identity import Worker, told

Index = dict[str, dict[bytes, int]]
NAMES = ("view_item", "add_to_cart", "remove_from_cart", "add_to_wishlist", "remove_from_wishlist", "dislike_item")


async def index_of(redis: Redis, namespace: str = "live") -> Index:
    """The whole index of a namespace, by key as the live namespace has it."""
    found = {}
    async for key in redis.scan_iter(f"daogou:*:{namespace}:*:watchers:*"):
        name = key.decode().replace(f":{namespace}:", ":live:", 1)
        found[name] = {who: int(at) for who, at in await redis.zrange(key, 0, -1, withscores=True)}
    return found


async def recomputed(redis: Redis) -> Index:
    """The index as the rows say it should be."""
    found: Index = {}
    async for key in redis.scan_iter("daogou:*:live:*:row:*"):
        partition, tenant, shopper_id = split_shard_key(key.decode())
        for (interest, item_id), at in watched(decode_state(await redis.get(key))).items():
            of_item = found.setdefault(ShardKeys(partition).watchers(tenant, interest, item_id), {})
            of_item[shopper_id.encode()] = at
    return found


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """What two devices and two users did, with logins, repeats, orders, and events that come late."""
    many = draw(st.integers(1, 25))
    events: list[Event] = []
    for n in range(many):
        minute = draw(st.integers(0, 3000))
        device, user = draw(st.sampled_from(["phone", "desk"])), draw(st.sampled_from([None, "ann", "bob"]))
        what = draw(st.sampled_from([*NAMES, "purchase", "page_view", "login", "repeat"]))
        if what == "repeat" and events:
            events.append(draw(st.sampled_from(events)))
        elif what in ("login", "repeat"):
            events.append(login(device, user or "ann", minute))
        else:
            items = draw(st.lists(st.sampled_from(["tea", "cup", "p:o|t 茶"]), min_size=1, max_size=3, unique=True))
            events.append(event(what, *items, minute=minute, anonymous_id=device, user_id=user, event_id=f"e{n}"))
    return events


@tries(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=histories(), most=st.integers(1, 6))
async def test_it_is_what_the_rows_say_and_a_replay_makes_the_same(
    settings: Settings, redis: Redis, history: list[Event], most: int
) -> None:
    await redis.flushall()
    worker = Worker(settings, redis)
    for one in told(*history):
        worker.log.append(one)
        if most == 1:
            await worker.apply(1)
    while await worker.apply(most) + await worker.drain():
        pass
    live = await index_of(redis)
    assert live == await recomputed(redis)
    store = ReplayStore(redis, "again")
    await store.open(range(PARTITIONS))
    replayed = Worker(settings, redis, worker.log, store)
    while await replayed.apply(most + 2):
        pass
    assert await index_of(redis, "again") == live


async def test_a_fenced_writer_changes_nothing_of_it(settings: Settings, redis: Redis) -> None:
    log, first = Log(), build_pipeline(settings, redis)
    await first.claim(range(PARTITIONS), LOG)
    log.append(event_of("ann", "add_to_cart", "tea"))
    await first.apply(log.batches())
    second = build_pipeline(settings, redis)
    await second.claim(range(PARTITIONS), LOG)
    log.append(event_of("ann", "remove_from_cart", "tea", minute=1))
    before = await index_of(redis)
    with pytest.raises(Fenced):
        await first.apply(log.batches())
    assert await index_of(redis) == before
    await second.apply(log.batches())
    assert await index_of(redis) == await recomputed(redis) != before


async def test_they_are_counted_and_named_newest_first(settings: Settings, redis: Redis) -> None:
    log, pipeline = Log(), build_pipeline(settings, redis)
    await pipeline.claim(range(PARTITIONS), LOG)
    guests = [f"guest-{n}" for n in range(20)]
    for minute, guest in enumerate(guests):
        log.append(event_of(guest, "add_to_wishlist" if minute % 2 else "add_to_cart", "tea", minute=minute))
    await pipeline.apply(log.batches())
    watchers = Watchers(PartitionStore(redis))
    counted = await watchers.count(range(PARTITIONS), "default", "tea", 0)
    assert [sum(of) for of in zip(*((one.cart, one.wish, one.seen) for one in counted), strict=True)] == [10, 10, 20]
    home = partition_of_event(event_of("guest-19", "page_view"))
    here = [guest for guest in guests if partition_of_event(event_of(guest, "page_view")) == home]
    found = await watchers.newest(home, "default", "seen", "tea", 0, 100)
    assert [who for who, _ in found] == [f"u-{guest}" for guest in reversed(here)]
    assert await watchers.newest(home, "default", "seen", "tea", 0, 1) == found[:1]
    (late,) = await watchers.count([home], "default", "tea", found[0][1] + 1)
    carts = sum(int(guest.removeprefix("guest-")) % 2 == 0 for guest in here)
    assert late == replace(late, partition=home, cart=carts, wish=len(here) - carts, seen=0)
    assert await watchers.count([home], "default", "no such item", 0) == [Watching(home, 0, 0, 0)]
