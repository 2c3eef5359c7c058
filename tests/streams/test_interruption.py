"""An end that the Redis client lost is noticed after the next step."""

import asyncio

import pytest
from redis.asyncio import Redis

from streams.interruption import step_done


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
