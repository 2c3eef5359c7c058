"""Waiting for fences: one question for all who wait, and none when nobody does."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from infra.errors import RedisAway
from serving.fence_watch import Fences, FenceWatch

FAR_MS = 30_000


class Lane:
    """Answers HGET of a fence from a table; `rises` is added to every fence at each question."""

    def __init__(self, rises: int = 1) -> None:
        self.asked: list[list[tuple[str, str]]] = []
        self.offset = -1
        self.rises = rises
        self.fails: Exception | None = None

    async def ask(self, commands: Sequence[tuple[Any, ...]]) -> list[Any]:
        await asyncio.sleep(0)
        self.asked.append([(key, log) for _, key, log in commands])
        if self.fails is not None:
            raise self.fails
        self.offset += self.rises
        return [b"%d" % self.offset if self.offset >= 0 else None for _ in commands]


def watch(lane: Fences) -> FenceWatch:
    return FenceWatch(lane, lambda partition: f"fence-{partition}")


async def test_a_hundred_who_wait_for_a_partition_cost_one_question_at_a_time() -> None:
    lane = Lane()
    fences = watch(lane)
    async with asyncio.timeout(30):
        assert all(await asyncio.gather(*(fences.wait_for(3, "log", 4, FAR_MS) for _ in range(100))))
    assert lane.asked == [[("fence-3", "log")]] * 5
    assert not fences.asking


async def test_each_is_woken_when_its_own_offset_is_reached() -> None:
    lane = Lane()
    fences = watch(lane)
    woken: list[int] = []

    async def wait(offset: int) -> None:
        assert await fences.wait_for(0, "log", offset, FAR_MS)
        assert lane.offset == offset
        woken.append(offset)

    async with asyncio.timeout(30):
        await asyncio.gather(*(wait(offset) for offset in (5, 1, 3)))
    assert woken == [1, 3, 5]


async def test_partitions_and_logs_are_asked_for_together() -> None:
    lane = Lane(rises=100)
    fences = watch(lane)
    places = [(0, "log"), (1, "log"), (1, "other"), (0, "log")]
    async with asyncio.timeout(30):
        assert all(await asyncio.gather(*(fences.wait_for(p, log, 50, FAR_MS) for p, log in places)))
    assert [sorted(asked) for asked in lane.asked] == [
        [("fence-0", "log"), ("fence-1", "log"), ("fence-1", "other")],
    ]


async def test_who_has_no_time_is_told_after_one_look() -> None:
    lane = Lane(rises=0)
    assert not await watch(lane).wait_for(0, "log", 0, 0)
    assert len(lane.asked) == 1
    lane.offset = 7
    assert await watch(lane).wait_for(0, "log", 7, 0)


async def test_redis_away_is_told_to_all_and_asking_ends() -> None:
    lane = Lane()
    fences = watch(lane)
    lane.fails = RedisAway("away")
    waiting = [asyncio.ensure_future(fences.wait_for(p, "log", 9, FAR_MS)) for p in range(3)]
    async with asyncio.timeout(30):
        await asyncio.wait(waiting)
        for one in waiting:
            with pytest.raises(RedisAway):
                one.result()
        while fences.asking:
            await asyncio.sleep(0)
    assert len(lane.asked) == 1
    lane.fails = None
    assert await fences.wait_for(0, "log", 0, FAR_MS)


async def test_asking_ends_when_the_last_one_has_gone_away() -> None:
    lane = Lane(rises=0)
    fences = watch(lane)
    waiting = [asyncio.ensure_future(fences.wait_for(0, "log", 9, FAR_MS)) for _ in range(3)]
    async with asyncio.timeout(30):
        while not lane.asked:
            await asyncio.sleep(0)
        for one in waiting:
            one.cancel()
        await asyncio.wait(waiting)
        while fences.asking:
            await asyncio.sleep(0)
