"""A replay gives the bytes that live has, whatever interrupts it, and nothing of it leaves its namespace."""

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from features.archive_order import ArchiveOrder
from infra.errors import BadInput, Conflict, Fenced, Refused
from infra.keys import ReplayKeys, ShardKeys
from infra.settings import Settings
from streams.applied import Applied
from streams.batch import PartitionBatch
from streams.load import LoadRequest, load
from streams.replay.command import ReplayRequest, replay_with
from streams.replay.live import live_fences
from streams.replay.order import note_begun
from streams.replay.records import DONE, Records, Replay
from streams.replay.running import replay_pipeline
from tests.streams.replay.past import CLOCK, apply_live, archive, held, made, outside, quietly
from tests.streams.shop import LOG, PARTITIONS

ASKED = ReplayRequest("again", "archive", score=False)


async def run(settings: Settings, redis: Redis, request: ReplayRequest = ASKED) -> Replay:
    return await replay_with(settings, request, quietly(), CLOCK)


class Cut(Exception):
    pass


async def begun(settings: Settings, batches: int = 1) -> None:
    """A replay that ends in the midst, after so many batches of 15 events."""

    async def count(_: float) -> None:
        nonlocal batches
        batches -= 1
        if batches <= 0:
            raise Cut

    with pytest.raises(Cut):
        await replay_with(settings, replace(ASKED, rate=60), quietly(), CLOCK, sleep=count)


async def test_a_replay_of_the_archive_is_live_byte_for_byte(settings: Settings, redis: Redis) -> None:
    past = made(1, 400)
    counts = await apply_live(settings, redis, past)
    archive(settings, past)
    before = await outside(redis, "again")
    done = await run(settings, redis)
    assert await outside(redis, "again") == before
    assert await held(redis, "again") == await held(redis, "live")
    assert await redis.keys("daogou:*:again:*:outbox") == []
    assert (done.applied, done.duplicates, done.late, done.dead) == (
        counts.applied, counts.duplicates, counts.late, counts.dead
    )  # fmt: skip
    assert done.duplicates > 0 < done.late
    assert done.reasons == {"not_json": 1, "empty": 1}
    assert done.state == DONE


async def test_two_replays_of_one_log_are_equal(settings: Settings, redis: Redis) -> None:
    archive(settings, made(2, 300))
    for name in ("one", "two"):
        await run(settings, redis, replace(ASKED, into=name))
    one = await held(redis, "one")
    assert one == await held(redis, "two")
    assert len([key for key in one if key.startswith("row")]) == 12


@pytest.mark.parametrize("after", range(1, 12, 2))
async def test_interrupted_at_any_batch_it_goes_on_to_the_same_bytes(
    settings: Settings, redis: Redis, after: int
) -> None:
    archive(settings, made(3, 300))
    await run(settings, redis, replace(ASKED, into="whole"))
    await begun(settings, after)
    interrupted = await Records(redis, "Redis").known("again")
    assert interrupted.state != DONE
    assert 0 < interrupted.counted <= after * 15
    done = await run(settings, redis, replace(ASKED, rate=0))
    assert done.counted == done.total
    assert await held(redis, "again") == await held(redis, "whole")
    again = await run(settings, redis)
    assert again.counted == again.total


async def test_a_cut_between_two_calls_changes_no_byte(settings: Settings, redis: Redis) -> None:
    """A process that dies in the midst of a batch leaves all of it or nothing; here it dies before the commit."""
    past = made(4, 200)
    archive(settings, past)
    await apply_live(settings, redis, past)
    await begun(settings)
    pipeline = replay_pipeline(settings, redis, "again")

    async def die(_: object) -> dict[int, int]:
        raise ConnectionError

    pipeline.store.commit = die  # type: ignore[method-assign,assignment]
    await pipeline.claim(range(PARTITIONS), LOG)
    with pytest.raises(ConnectionError):
        await pipeline.apply(past.batches())
    await run(settings, redis)
    assert await held(redis, "again") == await held(redis, "live")


async def test_a_replay_that_runs_shuts_an_older_one_out(settings: Settings, redis: Redis) -> None:
    past = made(5, 50)
    archive(settings, past)
    await begun(settings)
    older = replay_pipeline(settings, redis, "again")
    await older.claim(range(PARTITIONS), LOG)
    await run(settings, redis)
    with pytest.raises(Fenced):
        await older.apply([PartitionBatch(b.partition, LOG, b.records[-1:]) for b in made(6, 90).batches()])


async def test_other_parameters_are_refused_with_what_differs(settings: Settings, redis: Redis) -> None:
    archive(settings, made(7, 30))
    await run(settings, redis)
    with pytest.raises(Conflict, match="code-label '', not 'two'"):
        await run(settings, redis, replace(ASKED, code_label="two"))
    with pytest.raises(Conflict, match="lateness-ms 86400000, not 3600000"):
        await run(settings.model_copy(update={"lateness_h": 1}), redis)


async def test_what_other_code_began_is_not_gone_on_with(settings: Settings, redis: Redis) -> None:
    archive(settings, made(5, 40))
    done = await run(settings, redis)
    done.code = "another"
    await Records(redis, "Redis").put(done)
    with pytest.raises(Conflict, match="other code of features") as error:
        await run(settings, redis)
    assert error.value.reason == "other_code"


@pytest.mark.parametrize("name", ["live", "", "a b", "a:b", "_", "-x", "ä", "x" * 41, "{p1}", "a\n"])
async def test_names_that_no_namespace_may_have(settings: Settings, redis: Redis, name: str) -> None:
    with pytest.raises(BadInput) as error:
        await run(settings, redis, replace(ASKED, into=name))
    assert error.value.reason == "name_wrong"


async def test_a_live_namespace_is_not_written(settings: Settings, redis: Redis) -> None:
    archive(settings, made(8, 30))
    await redis.set(ShardKeys(3).live, "again")
    with pytest.raises(Refused) as error:
        await run(settings, redis)
    assert error.value.reason == "namespace_live"
    assert not [key for key in await redis.keys("*:again:*") if b":row:" in key]


async def test_the_guard_of_a_namespace_is_taken_away_by_the_end_of_its_life(settings: Settings, redis: Redis) -> None:
    past = made(9, 60)
    archive(settings, past)
    await begun(settings)
    pipeline = replay_pipeline(settings, redis, "again")
    await pipeline.claim(range(PARTITIONS), LOG)
    for partition in range(PARTITIONS):
        await redis.delete(ReplayKeys(partition, "again").replaying)
    with pytest.raises(Fenced, match="another namespace"):
        await pipeline.apply(past.batches())


async def test_nothing_to_replay_is_said(settings: Settings, redis: Redis) -> None:
    with pytest.raises(Refused) as error:
        await run(settings, redis)
    assert error.value.reason == "nothing_there"
    assert await Records(redis, "Redis").all() == []


async def test_two_processes_do_not_run_one_replay(settings: Settings, redis: Redis) -> None:
    archive(settings, made(10, 60))

    async def hang(_: float) -> None:
        await asyncio.Event().wait()

    first = asyncio.ensure_future(replay_with(settings, replace(ASKED, rate=60), quietly(), CLOCK, sleep=hang))
    while not await redis.exists("daogou:{owner}:again:_:owner"):
        await asyncio.sleep(0)
    with pytest.raises(Refused) as error:
        await run(settings, redis)
    assert error.value.reason == "held"
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)


async def test_logs_are_replayed_in_the_order_in_which_live_saw_them(settings: Settings, redis: Redis) -> None:
    """Events of a load that live saw first are late after others: the order shows in the rows."""
    log = made(11, 200)
    first, second = (made(seed, 120, f"load-{seed}", load_id="l") for seed in (12, 13))
    order = ArchiveOrder(settings.archive_dir)
    counts = Applied()
    for part, start, stop in ((log, 0, 9), (second, 0, 7), (log, 9, 20), (second, 7, None), (first, 0, None)):
        order.begin(part.name, await live_fences(redis, settings))
        counts.add(await apply_live(settings, redis, part, start, stop))
    counts.add(await apply_live(settings, redis, log, 20, None))
    archive(settings, log, first, second)
    done = await run(settings, redis)
    assert await held(redis, "again") == await held(redis, "live")
    assert (done.applied, done.late) == (counts.applied, counts.late)
    await redis.flushall()
    for file in settings.archive_dir.glob("order/*"):
        file.unlink()
    guessed = await run(settings, redis)
    assert "no order files" in guessed.order
    assert guessed.late != done.late


async def test_direct_loads_beside_a_log_are_replayed_in_their_order(
    settings: Settings, redis: Redis, retail: Path, tmp_path: Path
) -> None:
    """The load notes by itself where it began; the archive alone then gives the rows that live has."""
    log = made(21, 150)
    await note_begun(settings, redis, log.name)
    await apply_live(settings, redis, log, 0, 9)
    request = LoadRequest(str(retail), "online-retail", direct=True)
    await asyncio.to_thread(load, settings, request, quietly(), CLOCK)
    await asyncio.to_thread(load, settings, request, quietly(), CLOCK)
    await apply_live(settings, redis, log, 9)
    archive(settings, log)
    done = await run(settings, redis)
    assert await held(redis, "again") == await held(redis, "live")
    assert [one.log[:5] for one in done.windows if one.partition == done.windows[0].partition][:2] == ["log-o", "load-"]


async def test_an_emptied_redis_forgets_no_order(settings: Settings, redis: Redis) -> None:
    """A load in the midst of a log, then Redis comes back empty and goes on: its fences know of no load any more."""
    log, load_of_it = made(31, 200), made(32, 120, "load-32", load_id="l")
    order = ArchiveOrder(settings.archive_dir)
    for part, start, stop in ((log, 0, 9), (load_of_it, 0, None)):
        order.begin(part.name, await live_fences(redis, settings))
        await apply_live(settings, redis, part, start, stop)
    await apply_live(settings, redis, log, 9, None)
    archive(settings, log, load_of_it)
    was = await held(redis, "live")
    await redis.flushall()
    await apply_live(settings, redis, log, 15, None)  # what Kafka still keeps
    assert await held(redis, "live") != was
    await run(settings, redis)
    assert await held(redis, "again") == was


async def test_an_order_that_cannot_be_noted_stops_nobody(
    settings: Settings, redis: Redis, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = settings.archive_dir / "order"
    folder.mkdir(parents=True)
    (folder / "000001.json").write_bytes(b"{")
    await note_begun(settings, redis, LOG)
    (folder / "000001.json").unlink()
    folder.rmdir()
    folder.write_bytes(b"no folder")
    await note_begun(settings, redis, LOG)
    assert capsys.readouterr().out.count("could not be noted") == 2
