"""The process that merges: the same as in the worker's own, never longer there than its worker, replaced when lost."""

import asyncio
import os
import select
import signal
import subprocess
import sys
import time

import pytest
from redis.asyncio import Redis

from features.snapshot_store import SnapshotStore
from infra.settings import Settings, environment
from streams.statistics_job import MergeFailed
from streams.statistics_merging import Merging
from streams.statistics_process import MergingProcess
from tests.streams.merging import applied, ended, job_of, shoppers
from tests.streams.shop import PARTITIONS


def wait_for_end(handle: int) -> bool:
    """Whether the process of a pidfd has ended, which is waited for."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(20_000))


async def test_a_process_of_its_own_merges_the_same_and_is_started_anew(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    within = (await Merging(redis, PARTITIONS).merge())["default"]
    await redis.delete(*[key async for key in redis.scan_iter("daogou:*:merged")])
    passes, store = MergingProcess(settings, os.environ), SnapshotStore(redis, "default")
    try:
        await passes.merge()
        assert await store.newest() == (within.version, 1)
        first = passes.pid
        os.kill(first, signal.SIGKILL)
        with pytest.raises(MergeFailed):
            await passes.merge()
        await passes.merge()
        assert passes.pid not in (0, first)
    finally:
        last = passes.pid
        passes.forget()
    with pytest.raises(ProcessLookupError):
        os.kill(last, 0)


async def test_the_process_writes_the_bytes_that_are_made_in_process(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    store, passes = SnapshotStore(redis, "default"), MergingProcess(settings, os.environ)
    version = (await Merging(redis, PARTITIONS).merge())["default"].version
    within = await store.load(version)
    await redis.flushall()
    await applied(settings, redis, shoppers())
    try:
        await passes.merge()
    finally:
        passes.forget()
    assert within is not None
    assert await store.newest() == (version, 1)
    assert await store.load(version) == within


async def test_a_process_that_answers_nothing_is_ended_and_replaced(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    passes = MergingProcess(settings, os.environ)
    try:
        await passes.merge()
        first, bound = passes.pid, passes.within_s
        os.kill(first, signal.SIGSTOP)
        passes.within_s = 0.01
        with pytest.raises(MergeFailed):
            await passes.merge()
        assert passes.pid == 0
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)
        passes.within_s = bound
        await passes.merge()
        assert passes.pid not in (0, first)
    finally:
        passes.forget()


async def test_a_process_that_cannot_be_started_is_a_trouble_of_the_pass(settings: Settings, redis: Redis) -> None:
    passes = MergingProcess(settings, os.environ, command=("/nothing/here",))
    with pytest.raises(MergeFailed, match="FileNotFoundError"):
        await passes.merge()
    assert passes.pid == 0


async def test_the_end_of_the_job_ends_the_process(settings: Settings, redis: Redis) -> None:
    await applied(settings, redis, shoppers())
    passes, store = MergingProcess(settings, os.environ), SnapshotStore(redis, "default")
    running = asyncio.create_task(job_of(redis, passes).run(time.monotonic))
    async with asyncio.timeout(20):
        while await store.newest() is None:
            await asyncio.sleep(0)
    handle = os.pidfd_open(passes.pid)
    try:
        await ended(running)
        assert passes.pid == 0
        assert wait_for_end(handle)
    finally:
        os.close(handle)


_WORKER = """
import asyncio, os
from infra.settings import read_settings
from streams.statistics_process import MergingProcess
async def main():
    passes = MergingProcess(read_settings(), os.environ)
    await passes.merge()
    print(passes.pid, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.mark.parametrize("busy", [False, True])
def test_the_process_ends_when_its_worker_is_killed(settings: Settings, redis: Redis, busy: bool) -> None:
    """A process that is stopped stands for one in the middle of its arithmetic: it reads no end of a socket."""
    env = dict(os.environ) | environment(settings)
    with subprocess.Popen([sys.executable, "-c", _WORKER], env=env, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        child = int(worker.stdout.readline())
        handle = os.pidfd_open(child)
        try:
            if busy:
                os.kill(child, signal.SIGSTOP)
            worker.kill()
            assert wait_for_end(handle)
        finally:
            os.close(handle)
