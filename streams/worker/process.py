"""Wiring of the worker process, its start and its end."""

import asyncio
import signal
import uuid
from collections.abc import Awaitable
from contextlib import AsyncExitStack
from typing import Any, Final

import uvloop
from prometheus_client import start_http_server

from infra import logs
from infra.errors import DaogouError, OwnershipLost, RedisAway
from infra.kafka import Producer
from infra.metrics import OWNERSHIP_LOST, Metrics
from infra.ready import tell_ready
from infra.redis import connect
from infra.settings import Settings
from streams.processes import OWNERSHIP_LOST_STATUS
from streams.worker.parts import Parts
from streams.worker.positions import identify

_log = logs.logger(__name__)

FAILED_STATUS: Final = 1
_REDIS_TIMEOUT_MS: Final = 5000
_START_WITHIN_S: Final = 60.0
# The end takes ten seconds at most.
_SETTLE_WITHIN_S: Final = 2.0
_APP_WITHIN_S: Final = 4.0


def run(settings: Settings) -> int:
    """Run one worker until a signal or a failure ends it; the exit status.

    0: asked to end. 75: it lost what it owned, or Redis came back from the past; start it again. 1: anything
    else.
    """
    logs.configure(settings.log_level, settings.log_format)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_run(settings))


async def _run(settings: Settings) -> int:
    measured = Metrics()
    try:
        status = await _serve(settings, measured)
    except OwnershipLost as error:
        measured.count(OWNERSHIP_LOST, code=error.reason)
        _log.error("ownership lost", code=error.reason, why=error.message)
        return OWNERSHIP_LOST_STATUS
    except DaogouError as error:
        _log.error("the worker ends", code=error.reason, why=error.message)
        return FAILED_STATUS
    return status


async def _serve(settings: Settings, measured: Metrics) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
        stack.push_async_callback(redis.aclose)
        producer = Producer(settings.brokers, embedded=settings.embedded_kafka)
        await producer.start()
        stack.push_async_callback(asyncio.to_thread, producer.close)
        parts = Parts(settings, redis, producer, await identify(settings), measured, uuid.uuid4().hex)
        await parts.hold.take()
        stack.push_async_callback(_release, parts)
        if settings.metrics_port:
            server, _ = start_http_server(settings.metrics_port, registry=measured.registry)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
        await _until_ended(parts, stop)
    return 0


async def _until_ended(parts: Parts, stop: asyncio.Event) -> None:
    """Run everything until it is asked to stop.

    Raises:
        Whatever the first part that failed raised.
    """
    async with asyncio.timeout(_START_WITHIN_S):
        await parts.load_model()
        await parts.app.start()
    asked, ready = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(_ready(parts))
    tasks = [asyncio.ensure_future(loop) for loop in parts.loops()]
    app_ended = asyncio.ensure_future(parts.until_app_ends())
    try:
        await asyncio.wait({asked, app_ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, app_ended):
            if task.done():
                task.result()
        await _within(_SETTLE_WITHIN_S, parts.settle())
    finally:
        await _within(_SETTLE_WITHIN_S, _cancel(parts, [asked, ready, *tasks]))
        await _within(_APP_WITHIN_S, parts.app.stop())
        app_ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def _ready(parts: Parts) -> None:
    await parts.begun.wait()
    _log.info("worker ready", partitions=len(parts.pipeline.owned))
    tell_ready()


async def _cancel(parts: Parts, tasks: list[asyncio.Future[Any]]) -> None:
    """End the loops between two commits: nothing is half done, and what waits comes again from the log."""
    await parts.pipeline.let_go()
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _release(parts: Parts) -> None:
    try:
        await parts.hold.release()
    except RedisAway:
        _log.warning("the namespace stays held for half a minute", why="Redis is away")


async def _within(seconds: float, work: Awaitable[None]) -> None:
    """Wait for a step of the end, but not for long: everything is safe on the log and in Redis already."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        _log.warning("a step of the end took too long", after_s=seconds)
