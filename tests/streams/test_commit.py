"""The partition store: one step, wholly or not at all, and only for whom Redis believes to be the owner."""

import pytest
from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from infra.errors import Fenced, RedisAway, Refused, WentBack
from infra.keys import ShardKeys
from streams import lua
from streams.commit import PartitionStore
from streams.holds import Hold
from streams.partition import Due, Fired, PartitionFire, PartitionWrite, RowRef

LOG = "a-log"


def write(epoch: int, expected: int, fence: int, **more: object) -> PartitionWrite:
    return PartitionWrite(3, LOG, epoch, expected, fence, **more)


async def everything(redis: Redis) -> dict[bytes, bytes]:
    return {key: await redis.dump(key) async for key in redis.scan_iter()}


async def test_a_first_claim_finds_no_fence_and_begins_the_epochs(redis: Redis) -> None:
    store = PartitionStore(redis)
    first, second = await store.claim([3, 4], LOG), await store.claim([3], LOG)
    assert (first[3].epoch, first[3].fence, first[4].epoch) == (1, -1, 1)
    assert second[3].epoch == 2


async def test_a_commit_writes_rows_timers_outbox_and_fence(redis: Redis) -> None:
    store, keys = PartitionStore(redis), ShardKeys(3)
    epoch = (await store.claim([3], LOG))[3].epoch
    row = keys.row("t", "u-1")
    lengths = await store.commit(
        [write(epoch, -1, 7, values={row: b"row"}, timers={"m": 500, "n": 600}, outbox=[b"a", b"b"])]
    )
    assert lengths == {3: 2}
    assert await store.fences([3, 5], LOG) == {3: 7, 5: -1}
    assert await store.rows([RowRef(5, "t", "u-1"), RowRef(3, "t", "u-1")]) == [None, b"row"]
    assert await store.due([3], 550, 10) == [(3, "m", 500)]
    await store.commit([write(epoch, 7, 9, timers={"m": None, "n": 400})])
    assert await store.due([3], 10_000, 10) == [(3, "n", 400)]


async def test_statistics_are_part_of_the_step(redis: Redis) -> None:
    store, keys = PartitionStore(redis), ShardKeys(3)
    epoch = (await store.claim([3], LOG))[3].epoch
    partials = {"t|tea": b"1", "t|pot": b"2"}
    more = {"timers": {"m": 500, "gone": None}, "outbox": [b"a"]}
    await store.commit([write(epoch, -1, 7, values={keys.row("t", "u-1"): b"row"}, partials=partials, **more)])
    await store.commit([write(epoch, 7, 8, partials={"t|tea": b"3", "t|pot": None, "t|cup": None})])
    rows, [kept, count] = await store.rows_and(
        [RowRef(3, "t", "u-1")], [("HGETALL", keys.partials), ("HLEN", keys.partials)]
    )
    assert (rows, kept, count) == ([b"row"], {b"t|tea": b"3"}, 1)
    before = await everything(redis)
    with pytest.raises(Fenced):
        await store.commit([write(epoch, 5, 12, partials={"t|tea": b"4"})])
    assert await everything(redis) == before


async def test_the_same_commit_again_changes_nothing(redis: Redis) -> None:
    store = PartitionStore(redis)
    epoch = (await store.claim([3], LOG))[3].epoch
    again = write(epoch, -1, 7, values={ShardKeys(3).row("t", "u-1"): b"row"}, outbox=[b"a"])
    await store.commit([again])
    before = await everything(redis)
    assert await store.commit([again]) == {3: 1}
    assert await everything(redis) == before


@pytest.mark.parametrize(("expected", "error"), [(9, WentBack), (5, Fenced)])
async def test_another_fence_than_expected_writes_nothing(redis: Redis, expected: int, error: type[Exception]) -> None:
    store = PartitionStore(redis)
    epoch = (await store.claim([3], LOG))[3].epoch
    await store.commit([write(epoch, -1, 7)])
    before = await everything(redis)
    with pytest.raises(error):
        await store.commit([write(epoch, expected, 12, values={ShardKeys(3).row("t", "u"): b"x"}, outbox=[b"o"])])
    assert await everything(redis) == before


async def test_an_earlier_owner_is_shut_out(redis: Redis) -> None:
    store = PartitionStore(redis)
    old = (await store.claim([3], LOG))[3].epoch
    await store.claim([3], LOG)
    before = await everything(redis)
    with pytest.raises(Fenced):
        await store.commit([write(old, -1, 7)])
    with pytest.raises(Fenced):
        await store.fire([PartitionFire(3, LOG, old, -1, [(Due(3, "m", 1), b"a")])])
    assert await everything(redis) == before


async def test_a_lost_redis_is_noticed_by_an_idle_owner(redis: Redis) -> None:
    store = PartitionStore(redis)
    epoch = (await store.claim([3], LOG))[3].epoch
    await store.commit([write(epoch, -1, 7)])
    await redis.flushall()
    with pytest.raises(WentBack):
        await store.commit([write(epoch, 7, 7)])


async def test_no_timer_fires_in_a_redis_that_went_back(redis: Redis) -> None:
    store = PartitionStore(redis)
    epoch = (await store.claim([3], LOG))[3].epoch
    await store.commit([write(epoch, -1, 7, timers={"m": 500})])
    before = await everything(redis)
    with pytest.raises(WentBack):
        await store.fire([PartitionFire(3, LOG, epoch, 9, [(Due(3, "m", 500), b"a")])])
    assert await everything(redis) == before


async def test_another_live_namespace_stops_the_writer_until_it_claims_anew(redis: Redis) -> None:
    store = PartitionStore(redis)
    epoch = (await store.claim([3], LOG))[3].epoch
    await redis.set(ShardKeys(3).live, "replay-1")
    with pytest.raises(Fenced, match="replay-1"):
        await store.commit([write(epoch, -1, 7)])
    [claimed] = (await store.claim([3], LOG)).values()
    await store.commit([write(claimed.epoch, claimed.fence, 7)])
    assert claimed.fence == -1
    assert await redis.hgetall(ShardKeys(3, "replay-1").fence) == {LOG.encode(): b"7"}
    assert not await redis.exists(ShardKeys(3).fence)


async def test_each_log_has_a_fence_and_those_of_ended_embedded_brokers_go(redis: Redis) -> None:
    store = PartitionStore(redis)
    for log in ("embedded-1", "direct-1", "embedded-2"):
        epoch = (await store.claim([3], log))[3].epoch
        await store.commit([PartitionWrite(3, log, epoch, -1, 4)])
    await store.claim([3], "embedded-2", forget_logs="embedded-")
    assert await redis.hgetall(ShardKeys(3).fence) == {b"direct-1": b"4", b"embedded-2": b"4"}


async def test_a_timer_fires_once_and_only_at_its_time(redis: Redis) -> None:
    store = PartitionStore(redis)
    epoch = (await store.claim([3], LOG))[3].epoch
    await store.commit([write(epoch, -1, 7, timers={"m": 500, "n": 600, "o": 700})])

    def fire(*timers: tuple[str, int, bytes | None]) -> PartitionFire:
        return PartitionFire(3, LOG, epoch, 7, [(Due(3, member, due), effect) for member, due, effect in timers])

    assert await store.fire([fire(("m", 499, b"a"))]) == [Fired(0, [False])]
    assert await store.fire([fire(("m", 500, b"a"), ("gone", 1, b"b"), ("n", 600, None))]) == [
        Fired(1, [True, False, True])
    ]
    assert await store.fire([fire(("m", 500, b"a"))]) == [Fired(1, [False])]
    assert await redis.lrange(ShardKeys(3).outbox, 0, -1) == [b"a"]
    assert await store.due([3], 10_000, 10) == [Due(3, "o", 700)]


async def test_redis_may_forget_its_scripts(redis: Redis) -> None:
    store = PartitionStore(redis)
    epoch = (await store.claim([3], LOG))[3].epoch
    await redis.script_flush()
    await store.commit([write(epoch, -1, 7)])
    assert await store.fences([3], LOG) == {3: 7}


async def test_a_redis_that_starts_anew_within_a_call_is_away(redis: Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    async def forgets(*_: object) -> list[NoScriptError]:
        return [NoScriptError("NOSCRIPT")]

    monkeypatch.setattr(lua, "_evaluate", forgets)
    with pytest.raises(RedisAway, match="anew"):
        await PartitionStore(redis).claim([3], "log")


async def test_workers_share_a_namespace_and_a_load_holds_it_alone(redis: Redis) -> None:
    one, two = (Hold(redis, "live", token, alone=False) for token in ("w1", "w2"))
    load = Hold(redis, "live", "l1", alone=True)
    await one.take()
    await two.take()
    with pytest.raises(Refused, match="a worker"):
        await load.take()
    await one.release()
    await two.release()
    await load.take()
    await load.take()
    with pytest.raises(Refused, match="for itself"):
        await one.take()
    with pytest.raises(Refused):
        await Hold(redis, "live", "l2", alone=True).take()
