"""The command line's part of a promotion: it asks, waits, says why not, and writes both down."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from io import StringIO
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from rich.console import Console

from infra.errors import BadInput, NotFound, Refused
from infra.kafka import Follower
from infra.settings import Settings
from infra.topics import COMMANDS
from streams.holds import Hold
from streams.interruption import step_done
from streams.pausing import Pause, Pauses
from streams.progress import Phases
from streams.replay.asking import PROMOTE, ROLLBACK, Asking, promote, rollback
from streams.replay.command import ReplayRequest, replay_with
from streams.replay.records import Records
from tests.streams.replay.past import CLOCK, archive, made, quietly
from tests.streams.replay.running_shop import RunningShop
from tests.streams.shop import PARTITIONS

ALL = range(PARTITIONS)


@pytest.fixture
def own(settings: Settings, broker: str) -> Settings:
    return settings.model_copy(update={"kafka": broker, "embedded_log": "embedded-x"})


@asynccontextmanager
async def worker(shop: RunningShop, redis: Redis) -> AsyncIterator[None]:
    """What a worker does of it: it holds the namespace, follows the log, carries out wishes."""
    await Hold(redis, "live", "w", alone=False).take()

    async def carry_out() -> None:
        while True:
            await shop.promotion.turn()
            await step_done()

    async with shop.running():
        task = asyncio.create_task(carry_out())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def asked(settings: Settings) -> list[dict[str, Any]]:
    """The records on the topic of commands."""
    follower = Follower(settings.brokers, COMMANDS, "start", embedded=True)
    found: list[dict[str, Any]] = []
    while records := await asyncio.to_thread(follower.read, 100, 0.3):
        found += [msgspec.json.decode(record.value or b"") for record in records]
    await asyncio.to_thread(follower.close)
    return found


async def test_promoted_and_rolled_back_by_asking(own: Settings, redis: Redis) -> None:
    shop = RunningShop(own, redis, own.kafka)
    shop.produce(1, 100)
    await shop.replay("again", through=4)
    asking = Asking(own, redis, quietly(), CLOCK)
    async with worker(shop, redis):
        await asking.ask(PROMOTE, dict.fromkeys(ALL, "again"), 60, ("namespace_lacks", "other_code"))
        assert await shop.served() == {"again"}
        await asking.ask(ROLLBACK, dict.fromkeys(ALL, "live"), 60, ("namespace_lacks", "other_code"))
        assert await shop.served() == {"live"}
    records = await asked(own)
    assert [(one["command"], one["state"]) for one in records if one["command"] == PROMOTE] == [
        (PROMOTE, "asked"), (PROMOTE, "done")
    ]  # fmt: skip
    assert len({one["command_id"] for one in records}) == 2
    assert len(records) == 4


async def test_a_wish_that_cannot_be_carried_out_says_why(own: Settings, redis: Redis) -> None:
    shop = RunningShop(own, redis, own.kafka)
    shop.produce(2, 40)
    await shop.replay("again")
    await redis.hset("daogou:{p3}:live:_:fence", "load-x", 4)
    asking = Asking(own, redis, quietly(), CLOCK)
    await Hold(redis, "live", "w", alone=False).take()
    with pytest.raises(Refused) as error:
        await asking.ask(PROMOTE, dict.fromkeys(ALL, "again"), 60)
    assert error.value.reason == "namespace_lacks"
    assert await shop.wishes.of(ALL) == {}


async def test_what_nobody_carries_out_is_given_up(own: Settings, redis: Redis) -> None:
    await Hold(redis, "live", "w", alone=False).take()
    asking = Asking(own, redis, quietly(), CLOCK)
    with pytest.raises(Refused, match="0 of 8 partitions are served") as error:
        await asking.ask(PROMOTE, dict.fromkeys(ALL, "again"), 0.05)
    assert error.value.reason == "not_in_time"
    shop = RunningShop(own, redis, own.kafka)
    assert await shop.wishes.of(ALL) == {}
    assert [one["state"] for one in await asked(own)] == ["asked", "not done"]


async def test_paused_workers_are_told_and_an_interrupted_promotion_says_that_it_is_given_up(
    own: Settings, redis: Redis
) -> None:
    await Hold(redis, "live", "w", alone=False).take()
    await Pauses(redis, "Redis").begin(Pause(0, "ann"))
    shop, said = RunningShop(own, redis, own.kafka), StringIO()
    asking = Asking(own, redis, Phases(Console(file=said)), CLOCK)
    task = asyncio.create_task(asking.ask(PROMOTE, dict.fromkeys(ALL, "again"), 60))
    while not said.getvalue():
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    first, last = [line for line in said.getvalue().splitlines() if not line.startswith("promoted")]
    assert first.startswith("the workers are paused since 1970-01-01T00:00:00Z by ann: nothing is promoted before `dao")
    assert last == "given up: partitions that are not served from it yet will not be; ask again for them"
    assert await shop.wishes.of(ALL) == {}
    assert [one["state"] for one in await asked(own)] == ["asked", "not done"]


async def test_without_a_worker_it_says_what_to_do(own: Settings, redis: Redis) -> None:
    with pytest.raises(Refused, match="daogou worker") as error:
        await Asking(own, redis, quietly(), CLOCK).ask(PROMOTE, dict.fromkeys(ALL, "again"), 60)
    assert error.value.reason == "no_worker"


async def test_only_a_complete_replay_is_promoted(own: Settings, redis: Redis) -> None:
    archive(own, made(3, 60))
    await replay_with(own, ReplayRequest("again", score=False), quietly(), CLOCK)
    records = Records(redis, "Redis")
    replay = await records.known("again")
    replay.state = "running"
    await records.put(replay)
    with pytest.raises(Refused) as error:
        await asyncio.to_thread(promote, own, "again", 1, quietly(), CLOCK)
    assert error.value.reason == "not_complete"
    with pytest.raises(NotFound):
        await asyncio.to_thread(promote, own, "nobody", 1, quietly(), CLOCK)


async def test_a_replay_of_a_part_is_not_promoted_unless_forced(own: Settings, redis: Redis) -> None:
    archive(own, made(4, 80))
    await replay_with(own, ReplayRequest("part", since="offset:2", score=False), quietly(), CLOCK)
    with pytest.raises(Refused, match="does not begin at the beginning"):
        await asyncio.to_thread(promote, own, "part", 1, quietly(), CLOCK)
    with pytest.raises(Refused, match="--force namespace_lacks"):
        await asyncio.to_thread(promote, own, "part", 1, quietly(), CLOCK, force=["other_code"])
    with pytest.raises(BadInput, match=r"--force all: .*there is namespace_lacks and other_code") as unknown:
        await asyncio.to_thread(promote, own, "part", 1, quietly(), CLOCK, force=["other_code", "all"])
    assert (unknown.value.reason, unknown.value.path) == ("unknown_reason", "force")
    with pytest.raises(Refused) as error:
        await asyncio.to_thread(promote, own, "part", 1, quietly(), CLOCK, force=["namespace_lacks"])
    assert error.value.reason == "no_worker"


async def test_a_replay_over_holes_is_not_promoted_unless_forced(own: Settings, redis: Redis) -> None:
    archive(own, made(4, 30))
    more = made(4, 200)
    for records in more.records.values():
        del records[: len(records) // 2]
    archive(own, more)
    done = await replay_with(own, ReplayRequest("holes", score=False), quietly(), CLOCK)
    assert done.missing > 0
    with pytest.raises(Refused, match=rf"{done.missing:,} offsets that the archive does not hold") as refused:
        await asyncio.to_thread(promote, own, "holes", 1, quietly(), CLOCK)
    assert refused.value.reason == "namespace_lacks"
    with pytest.raises(Refused) as error:
        await asyncio.to_thread(promote, own, "holes", 1, quietly(), CLOCK, force=["namespace_lacks"])
    assert error.value.reason == "no_worker"


async def test_there_is_nothing_to_roll_back_to(own: Settings, redis: Redis) -> None:
    with pytest.raises(NotFound) as error:
        await asyncio.to_thread(rollback, own, 1, quietly(), CLOCK)
    assert error.value.reason == "nothing_before"


async def test_what_is_served_already_is_said(own: Settings, redis: Redis) -> None:
    await Hold(redis, "live", "w", alone=False).take()
    said = StringIO()
    asking = Asking(own, redis, Phases(Console(file=said)), CLOCK)
    await asking.ask(ROLLBACK, dict.fromkeys(ALL, "live"), 1)
    assert "already" in said.getvalue()
    assert await asked(own) == []
