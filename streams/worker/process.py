"""Wiring of the worker process, its start and its end."""

import asyncio
import gc
import signal
import uuid
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from traceback import extract_tb
from typing import Any, Final

import msgspec
import uvloop

from infra import logs
from infra.errors import DaogouError, OwnershipLost, RedisAway, Unavailable
from infra.kafka import Producer
from infra.metrics import OF_WORKER, OWNERSHIP_LOST, Metrics
from infra.ready import tell_ready
from infra.redis import connect
from infra.settings import Settings
from streams.processes import OWNERSHIP_LOST_STATUS
from streams.worker.closing import ended_within, within
from streams.worker.health import serve
from streams.worker.parts import Parts
from streams.worker.positions import identify

_log = logs.logger(__name__)

FAILED_STATUS: Final = 1
_UNKNOWN: Final = "internal"
_REDIS_TIMEOUT_MS: Final = 5000
_START_WITHIN_S: Final = 60.0
# The end takes ten seconds at most.
_SETTLE_WITHIN_S: Final = 2.0
_APP_WITHIN_S: Final = 4.0
_CLOSE_WITHIN_S: Final = 1.0


def run(settings: Settings) -> int:
    """Run one worker until a signal or a failure ends it; the exit status.

    0: asked to end. 75: it lost what it owned, or Redis came back from the past; start it again. 1: anything
    else.
    """
    logs.configure(settings.log_level, settings.log_format)
    runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
    status = FAILED_STATUS
    try:
        status = runner.run(_run(settings))
    finally:
        with ended_within(_CLOSE_WITHIN_S, status):
            runner.close()
    return status


async def _run(settings: Settings) -> int:
    measured = Metrics(OF_WORKER)
    try:
        status = await _serve(settings, measured)
    except OwnershipLost as error:
        measured.count(OWNERSHIP_LOST, code=error.reason)
        _log.error("ownership lost", code=error.reason, why=error.message)
        return OWNERSHIP_LOST_STATUS
    except DaogouError as error:
        _log.error("the worker ends", code=error.reason, why=error.message)
        return FAILED_STATUS
    except Exception as error:
        code, why = told(error, settings)
        _log.error("the worker ends", code=code, why=why, passed=_passed(error) if code == _UNKNOWN else None)
        return FAILED_STATUS
    return status


def told(error: Exception, settings: Settings) -> tuple[str, str]:
    """(code, what happened and what to do) of an error that is none of ours, as it comes out of the worker."""
    if isinstance(error, OSError):
        at, why = f" at {error.filename}" if error.filename else "", error.strerror or type(error).__name__
        return "os_error", (
            f"the system refused something{at} ({why}): see that {settings.data_dir} has room and may be written, and "
            "that the machine has memory and open files left; then start again"
        )
    if isinstance(error, msgspec.DecodeError):
        return "unreadable_data", (
            f"something that this version cannot read lies in Redis or in {settings.data_dir} ({logs.said(error)}): it "
            "is damaged, or another version wrote it; run that one, or take an empty Redis and folder and load again"
        )
    return _UNKNOWN, (
        f"{logs.said(error)}, which nobody expected: what was not applied comes again; start again, and report this "
        "line if it ends once more"
    )


def _passed(error: Exception) -> list[str]:
    """Where the error came through: no text of it, which may hold a shopper's data."""
    return [f"{Path(at.filename).name}:{at.lineno} {at.name}" for at in extract_tb(error.__traceback__)]


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
            stack.callback(serve(settings.metrics_port, measured, parts.health))
        await _until_ended(parts, stop)
    return 0


def _spare_the_collector() -> None:
    """Keep the garbage collector from looking at everything again and again.

    What is there when work begins (modules, the model) stays to the end, and a batch makes tens of thousands of
    objects, of which hardly one is in a cycle: with Python's own thresholds the collector took more than half of the
    time of a worker that scores.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


async def _until_ended(parts: Parts, stop: asyncio.Event) -> None:
    """Run everything until it is asked to stop.

    Raises:
        Whatever the first part that failed raised.
    """
    await started(parts.load_model, parts.look_for_pause, parts.app.start, within_s=_START_WITHIN_S)
    asked, ready = asyncio.ensure_future(stop.wait()), asyncio.ensure_future(_ready(parts))
    tasks = [asyncio.ensure_future(loop) for loop in parts.loops()]
    app_ended = asyncio.ensure_future(parts.until_app_ends())
    try:
        await asyncio.wait({asked, app_ended, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in (*tasks, app_ended):
            if task.done():
                task.result()
        await within(_SETTLE_WITHIN_S, parts.settle())
    finally:
        await within(_SETTLE_WITHIN_S, _cancel(parts, [asked, ready, *tasks]))
        await within(_APP_WITHIN_S, parts.app.stop())
        app_ended.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


async def started(*steps: Callable[[], Awaitable[object]], within_s: float) -> None:
    """Do what a start consists of.

    Raises:
        Unavailable: it took longer (`start_too_slow`).
    """
    try:
        async with asyncio.timeout(within_s):
            for step in steps:
                await step()
    except TimeoutError:
        raise Unavailable(
            f"the worker did not start within {within_s:g} s: Kafka does not let it join its group, or the model takes "
            "too long to load; see what `daogou doctor` says, then start again",
            code="start_too_slow",
        ) from None


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
