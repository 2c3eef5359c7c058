"""A shop whose statistics are there to be merged, and the job that has it done."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from msgspec import DecodeError
from redis.asyncio import Redis

from infra.logs import said
from infra.metrics import Metrics
from infra.settings import Settings
from streams.holds import Hold
from streams.pipeline import build_pipeline
from streams.statistics_job import HOLD, MergeFailed, Passes, StatisticsJob
from streams.statistics_merging import Merging, reached
from tests.streams.shop import LOG, PARTITIONS, Log, event

OWNED = range(PARTITIONS)


class Within:
    """Passes that are made in this process."""

    def __init__(self, redis: Redis) -> None:
        self._merging = Merging(redis, PARTITIONS)

    async def merge(self) -> None:
        try:
            await self._merging.merge()
        except DecodeError as error:
            raise MergeFailed(said(error)) from None

    def forget(self) -> None:
        pass


def job_of(
    redis: Redis,
    passes: Passes | None = None,
    measured: Metrics | None = None,
    applied_to: Callable[[], Awaitable[object]] | None = None,
) -> StatisticsJob:
    hold = Hold(redis, HOLD, "one", alone=True)
    asked = applied_to or partial(reached, redis, PARTITIONS)
    return StatisticsJob(hold, passes or Within(redis), asked, measured or Metrics(), every_s=0.001)


async def ended(running: asyncio.Task[None]) -> None:
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def applied(settings: Settings, redis: Redis, log: Log, start: int = 0) -> None:
    pipeline = build_pipeline(settings, redis)
    await pipeline.claim(OWNED, LOG)
    await pipeline.apply(log.batches(start))


def shoppers() -> Log:
    log = Log()
    for n in range(30):
        log.append(
            event(f"s{n}", "view_item", "tea", minute=n),
            event(f"s{n}", "view_item", f"i{n % 5}", minute=n + 1),
            event(f"s{n}", "purchase", "tea", "cup", minute=n + 2),
        )
    return log
