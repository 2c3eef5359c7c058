"""An end that the Redis client lost is noticed after the next step."""

import asyncio

import pytest
from redis.asyncio import Redis

from streams.interruption import step_done, to_its_end


async def test_an_end_asked_for_during_a_step_comes_after_it(redis: Redis) -> None:
    steps: list[str] = []

    async def work() -> None:
        task = asyncio.current_task()
        assert task is not None
        steps.append("one")
        task.cancel()  # as a signal handler does while this code runs
        await redis.ping()
        steps.append("lost")
        await step_done()
        steps.append("two")

    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(work())
    assert steps[-1] != "two"


async def test_nothing_happens_when_nobody_asked() -> None:
    await step_done()


async def test_a_step_comes_to_its_end_before_the_task_does() -> None:
    begun, go_on, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def step() -> None:
        begun.set()
        await go_on.wait()
        done.set()

    task = asyncio.ensure_future(to_its_end(step()))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert done.is_set()


async def test_asked_a_second_time_a_step_ends_where_it_is() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def step() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.ensure_future(to_its_end(step()))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended.wait()


async def test_what_a_step_raises_is_raised() -> None:
    async def step() -> int:
        raise ValueError("of the step")

    with pytest.raises(ValueError, match="of the step"):
        await to_its_end(step())
