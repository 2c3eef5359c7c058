"""Another namespace is served while events keep coming: none is lost, none comes twice, and back again."""

import asyncio
from collections.abc import Mapping

import msgspec
import pytest
from redis.asyncio import Redis

from features.aggregates import SHOPPER_BEHAVIOUR, Value
from features.shoppers import State, decode_state
from infra.errors import Fenced, Refused
from infra.kafka_admin import start_offsets
from infra.keys import ReplayKeys, ShardKeys, feast_project, record_key
from infra.settings import Settings
from infra.topics import EVENTS
from streams.derived import Derived
from streams.pipeline import build_pipeline
from streams.replay.command import ReplayRequest, replay_with
from streams.replay.diffing import compare
from streams.replay.lacking import refuse_lacking
from streams.replay.records import Records, Replay, Wanted
from streams.replay.running import replay_pipeline
from streams.replay.swapping import Swap, swap
from streams.replay.wishes import Wish
from tests.features.online_reader import OnlineReader
from tests.streams.replay.past import CLOCK, apply_live, archive, held, made, quietly
from tests.streams.replay.running_shop import RunningShop
from tests.streams.shop import LOG, PARTITIONS, Log, event, partition_of_event

REPLAY = Replay(
    name="doubled",
    wanted=Wanted(source="kafka", partitions=PARTITIONS, lateness_ms=1, cart_abandoned_ms=1),
    windows=[],
    started_ms=1,
)


async def truth(shop: RunningShop, redis: Redis, name: str) -> dict[str, object]:
    """What the whole log, replayed anew, holds."""
    await shop.replay(name)
    return await held(redis, name)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_promoted_and_rolled_back_while_events_come(
    settings: Settings, redis: Redis, broker: str, seed: int
) -> None:
    shop = RunningShop(settings, redis, broker, seed)
    shop.produce(seed, 300)
    await shop.replay("again", through=9)
    async with shop.running():
        await shop.wish("again")
        promoting = asyncio.create_task(shop.promoted())
        for n in range(12):
            await asyncio.to_thread(shop.produce, 100 * seed + n, 60)
        await promoting
        await asyncio.to_thread(shop.produce, 77, 60)
    assert await shop.served() == {"again"}
    assert await held(redis, "again") == await truth(shop, redis, "truth-1")
    assert shop.counts.redelivered == 0
    assert shop.counts.records == sum(shop.ends.values()) + PARTITIONS
    left = await held(redis, "live")
    async with shop.running():
        await asyncio.to_thread(shop.produce, 78, 60)
        await shop.wish("live")
        promoting = asyncio.create_task(shop.promoted())
        for n in range(6):
            await asyncio.to_thread(shop.produce, 200 * seed + n, 60)
        await promoting
    assert await shop.served() == {"live"}
    now = await held(redis, "live")
    assert now == await truth(shop, redis, "truth-2")
    assert now != left


class Doubled(Derived):
    """The next version of the code: a feature is defined anew."""

    def values(self, state: State) -> Mapping[str, Value]:
        return super().values(msgspec.structs.replace(state, views=2 * state.views))


async def test_a_changed_feature_is_backfilled_while_events_come(settings: Settings, redis: Redis, broker: str) -> None:
    """Replayed by the new code beside the old one, compared, promoted under the new worker: nobody is missing."""
    old = RunningShop(settings, redis, broker)
    old.produce(1, 300)
    new = RunningShop(settings, redis, broker, derived=Doubled)
    new.ends, new.made = old.ends, old.made
    async with old.running():
        await old.caught_up()
        await new.replay("doubled")
    await Records(redis, "Redis").put(REPLAY)
    found = await compare(settings, redis, "doubled", "live")
    assert found.changes.keys() == {"feature views"}
    assert (found.rows_equal, found.features_different > 0) == (found.both, True)
    async with new.running():
        await new.wish("doubled")
        promoting = asyncio.create_task(new.promoted())
        for n in range(8):
            await asyncio.to_thread(new.produce, 50 + n, 60)
        await promoting
    assert await new.served() == {"doubled"}
    rows = {key: value for key, value in (await held(redis, "doubled")).items() if key.startswith("row")}
    assert rows == {key: value for key, value in (await truth(new, redis, "all")).items() if key.startswith("row")}
    states = {key: decode_state(raw) for key, raw in rows.items()}
    reader, names = OnlineReader(redis, feast_project("doubled")), ["views", "orders"]
    shoppers = [key.split("'")[-2] for key in states]
    values = await reader.read(SHOPPER_BEHAVIOUR, [record_key("default", name) for name in shoppers], names)
    assert values == [{"views": 2 * state.views, "orders": state.orders} for state in states.values()]
    assert sum(state.views for state in states.values()) > 0


async def test_a_namespace_ahead_of_live_waits_for_it(settings: Settings, redis: Redis, broker: str) -> None:
    shop = RunningShop(settings, redis, broker)
    shop.produce(4, 200)
    await shop.replay("again")
    await shop.pipeline.claim(range(PARTITIONS), LOG)
    await shop.wish("again")
    assert await shop.promotion.turn() == 0
    async with shop.running():
        await shop.promoted()
    assert await held(redis, "again") == await truth(shop, redis, "truth")


async def test_statistics_go_on_from_those_of_the_namespace(settings: Settings, redis: Redis, broker: str) -> None:
    """What live keeps of them in memory is of what was served before."""
    shop = RunningShop(settings, redis, broker)
    shop.produce(12, 100)
    for name in ("again", "truth"):
        await shop.replay(name)
        await redis.delete(*(ShardKeys(p, name).partials for p in range(PARTITIONS)))
    async with shop.running():
        await shop.caught_up()
        await shop.wish("again")
        await shop.promoted()
        await asyncio.to_thread(shop.produce, 13, 60)
    assert await held(redis, "again") == await truth(shop, redis, "truth")


async def test_some_partitions_alone_and_a_new_owner_goes_on(settings: Settings, redis: Redis, broker: str) -> None:
    shop = RunningShop(settings, redis, broker)
    shop.produce(5, 200)
    await shop.replay("again")
    async with shop.running():
        await shop.wish("again", [1, 4])
        await shop.promoted(2)
    assert {p for p in range(PARTITIONS) if await redis.get(ShardKeys(p).live)} == {1, 4}
    other = RunningShop(settings, redis, broker)
    other.ends = shop.ends
    async with other.running():
        await asyncio.to_thread(other.produce, 6, 100)
    await other.replay("truth")
    expected = await held(redis, "truth")
    for namespace, partitions in (("again", {1, 4}), ("live", {*range(PARTITIONS)} - {1, 4})):
        for name, value in (await held(redis, namespace)).items():
            if name.startswith("timers {p") and int(name[9:].rstrip("}")) in partitions:
                assert value == expected[name]
    for partition in range(PARTITIONS):
        store = other.pipeline.store
        assert store.namespace(partition) == ("again" if partition in (1, 4) else "live")


async def test_timers_of_the_past_are_dropped_later_ones_live_on(settings: Settings, redis: Redis, broker: str) -> None:
    shop = RunningShop(settings, redis, broker)
    shop.produce(7, 150)
    await shop.replay("again")
    async with shop.running():
        await shop.caught_up()
        due = sorted({int(score) for p in range(PARTITIONS) for _, score in await timers(redis, "again", p)})
        shop.clock.move_ms(due[len(due) // 2])
        [waiting, *fired] = [
            (p, member)
            for p in range(PARTITIONS)
            for member, score in await timers(redis, "live", p)
            if score <= shop.clock.now_ms()
        ]
        for partition, member in fired:
            await redis.zrem(ShardKeys(partition).timers, member)
        expected = {p: await timers(redis, "live", p) for p in range(PARTITIONS)}
        await shop.wish("again")
        await shop.promoted()
    assert {p: await timers(redis, "again", p) for p in range(PARTITIONS)} == expected
    assert waiting[1] in dict(expected[waiting[0]])
    assert len(fired) > 0
    text = shop.measured.text().decode()
    assert f'reason="replay"}} {len(fired)}.0' in text


async def timers(redis: Redis, namespace: str, partition: int) -> list[tuple[bytes, float]]:
    return list(await redis.zrange(ShardKeys(partition, namespace).timers, 0, -1, withscores=True))


async def test_what_retention_took_cannot_be_caught_up(settings: Settings, redis: Redis, broker: str) -> None:
    """The embedded broker keeps 5 MiB of a partition: large records push the oldest out."""
    shop = RunningShop(settings, redis, broker)
    shop.produce(8, 60)
    await shop.replay("again", through=2)
    async with shop.running():
        for _ in range(12):  # one by one: live must not lose them
            await asyncio.to_thread(shop.produce_large, 0)
            await shop.caught_up()
        await shop.wish("again", [0])
        assert await shop.promotion.turn() == 0
    [wish] = (await shop.wishes.of([0])).values()
    assert f"the log begins at {start_offsets(broker, EVENTS)[0]} now" in wish.refused
    assert await shop.served() == {"live"}


async def test_a_namespace_that_lacks_a_load_is_not_served_unless_forced(
    settings: Settings, redis: Redis, broker: str
) -> None:
    load = made(9, 40, "load-9", load_id="l")
    await apply_live(settings, redis, load)
    shop = RunningShop(settings, redis, broker)
    shop.produce(10, 60)
    await shop.replay("again")
    async with shop.running():
        await shop.wish("again")
        assert await shop.promotion.turn() == 0
        refused = await shop.wishes.of(range(PARTITIONS))
        with pytest.raises(Refused, match=f"{len(load.records[0])} of load-9.*--force") as error:
            await refuse_lacking(settings, redis, {0: "again"}, LOG)
        assert error.value.message == refused[0].refused
        await shop.wishes.put({p: Wish("again", "c", passing=("namespace_lacks",)) for p in range(PARTITIONS)})
        await shop.promoted()
    assert await shop.served() == {"again"}


async def test_a_namespace_by_other_code_is_served_only_by_force_or_again(
    settings: Settings, redis: Redis, broker: str
) -> None:
    shop = RunningShop(settings, redis, broker)
    shop.produce(1, 60)
    await shop.replay("doubled")
    by_other = msgspec.structs.replace(REPLAY, code="another")
    await Records(redis, "Redis").put(by_other)
    async with shop.running():
        await shop.caught_up()
        await shop.wish("doubled", [0])
        assert await shop.promotion.turn() == 0
        assert "was made by other code of features/ (another)" in (await shop.wishes.of([0]))[0].refused
        await shop.wishes.put({0: Wish("doubled", "ask", passing=("namespace_lacks",))})
        assert await shop.promotion.turn() == 0
        assert "--force other_code" in (await shop.wishes.of([0]))[0].refused, "one reason is not the other"
        await shop.wishes.put({0: Wish("doubled", "ask", passing=("other_code",))})
        await shop.promoted(1)
        await shop.wish("live", [0])
        await shop.promoted(1)
        await shop.wish("doubled", [0])  # back to what was served before
        await shop.promoted(1)


async def test_what_an_ended_embedded_log_held_is_not_lost_unseen(settings: Settings, redis: Redis) -> None:
    past = made(11, 60, "embedded-old")
    archive(settings, past)
    await replay_with(settings, ReplayRequest("again", until="offset:3", score=False), quietly(), CLOCK)
    wanted = dict.fromkeys(range(PARTITIONS), "again")
    with pytest.raises(Refused, match="of embedded-old"):
        await refuse_lacking(settings, redis, wanted, "embedded-new")
    await replay_with(settings, ReplayRequest("whole", score=False), quietly(), CLOCK)
    await refuse_lacking(settings, redis, dict.fromkeys(wanted, "whole"), "embedded-new")


async def test_a_swap_that_is_not_as_believed_changes_nothing(settings: Settings, redis: Redis) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"))
    [batch] = log.batches()
    live, again = build_pipeline(settings, redis), replay_pipeline(settings, redis, "again")
    await again.store.open([batch.partition])  # type: ignore[attr-defined]
    for pipeline in (live, again):
        await pipeline.claim([batch.partition], LOG)
        await pipeline.apply([batch])
    wish = Wish("again", "c")
    right = Swap(batch.partition, live.owned[batch.partition].epoch, "live", wish, LOG, 0)
    old, new = right.keys
    await redis.set(old.promoting, wish.packed)

    async def refused(change: Swap, why: str) -> None:
        before = {key: await redis.dump(key) for key in await redis.keys("*")}
        with pytest.raises(Fenced, match=why):
            await swap(redis, "Redis", change, 0)
        assert before == {key: await redis.dump(key) for key in await redis.keys("*")}

    await refused(Swap(batch.partition, 9, "live", wish, LOG, 0), "taken the partition")
    await refused(Swap(batch.partition, right.epoch, "other", wish, LOG, 0), "another namespace")
    await refused(Swap(batch.partition, right.epoch, "live", wish, LOG, 1), "what is served has another fence")
    await refused(Swap(batch.partition, right.epoch, "live", Wish("again", "d"), LOG, 0), "nobody wants it")
    await redis.hset(new.fence, LOG, 3)
    await refused(right, "the namespace has another fence")
    await redis.hset(new.fence, LOG, 0)
    guard = await redis.getdel(new.replaying)
    await refused(right, "may not be written")
    await redis.set(new.replaying, guard)
    await swap(redis, "Redis", right, 0)
    await swap(redis, "Redis", right, 0)  # its answer was lost
    assert [await redis.get(key) for key in (old.live, old.before, old.promoting, new.replaying)] == [
        b"again", b"live", None, None
    ]  # fmt: skip


async def test_neither_the_old_nor_the_new_can_be_written_by_those_before(settings: Settings, redis: Redis) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"))
    [batch] = log.batches()
    live, again = build_pipeline(settings, redis), replay_pipeline(settings, redis, "again")
    await again.store.open([batch.partition])  # type: ignore[attr-defined]
    for pipeline in (live, again):
        await pipeline.claim([batch.partition], LOG)
        await pipeline.apply([batch])
    await redis.set(ShardKeys(batch.partition).promoting, Wish("again", "c").packed)
    change = Swap(batch.partition, live.owned[batch.partition].epoch, "live", Wish("again", "c"), LOG, 0)
    await swap(redis, "Redis", change, 0)
    log.append(event("ann", "add_to_cart", "milk", minute=1))
    for pipeline in (live, again):
        with pytest.raises(Fenced):
            await pipeline.apply(log.batches(1))


async def test_features_go_to_the_project_of_what_is_served(settings: Settings, redis: Redis) -> None:
    log = Log()
    log.append(event("ann", "add_to_cart", "tea"))
    home = partition_of_event(event("ann", "page_view"))
    await redis.set(ShardKeys(home).live, "again")
    pipeline = build_pipeline(settings, redis)
    await pipeline.claim(range(PARTITIONS), LOG)
    await pipeline.apply(log.batches())
    entities = [key for key in await redis.keys("*") if record_key("default", "u-ann").encode() in key]
    rows = [key for key in entities if key.endswith(feast_project("again").encode())]
    assert len(rows) == 1
    assert not [key for key in entities if key.endswith(feast_project("live").encode())]
    assert await redis.exists(ShardKeys(home, "again").row("default", "u-ann"))
    assert not await redis.exists(ReplayKeys(home, "again").replaying)
