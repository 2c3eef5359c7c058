"""`daogou up`: worker and API as child processes, kept running until somebody says stop."""

import asyncio
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from infra.embedded.outside import Outside
from infra.errors import DaogouError, NotFound, SettingWrong, Unavailable
from infra.kafka import create_topics, end_offsets, log_id
from infra.kafka_admin import check_topics
from infra.ports import is_loopback, listen, port_of
from infra.ready import tell_ready
from infra.redis import address, connect
from infra.settings import Settings, environment
from infra.shards import agree
from infra.topics import EVENTS
from streams.commit import PartitionStore
from streams.one_shop import OneShop
from streams.processes import KeptProcess, Say
from streams.stop_signals import StopSignals

_READY_WITHIN_S: Final = 120.0
_DRAIN_WITHIN_S: Final = 10.0
_END_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.1
_REDIS_TIMEOUT_MS: Final = 2000


class Shop:
    """Worker and API of one data folder; `settings` name Kafka and Redis. Start it from the main thread.

    With `log_dir` the children write `worker.log` and `api.log` there, else where this process writes.
    """

    def __init__(self, settings: Settings, say: Say, *, log_dir: Path | None = None) -> None:
        self._settings = settings
        self._say = say
        self._hurried = False
        self._listener = listen(settings.host, settings.port)
        self.host, self.port = settings.host, port_of(self._listener)
        if settings.port not in (0, self.port):
            say(f"port {settings.port} is used; taking {self.port}")
        filled = settings.model_copy(update={"port": self.port})
        env = dict(os.environ) | environment(filled)
        logs = [None if log_dir is None else log_dir / f"{name}.log" for name in ("worker", "api")]
        fd = self._listener.fileno()
        command = [sys.executable, "-m", "streams.cli"]
        self._worker = KeptProcess("worker", [*command, "worker"], env, say, log_file=logs[0])
        self._api = KeptProcess(
            "API", [*command, "api", "--socket", str(fd)], env, say, keep_open=[fd], log_file=logs[1]
        )

    @property
    def url(self) -> str:
        """Where the API answers."""
        return f"http://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def start(self) -> None:
        """Start both and wait until both are ready.

        Raises:
            Unavailable: one of them is not ready in time; the message says which, and what it waits for.
            ChildFailed: one of them cannot run.
        """
        now = time.monotonic()
        self._worker.start(now)
        self._api.start(now)
        until = now + _READY_WITHIN_S
        missing = "the worker, the API"
        while missing:
            if time.monotonic() > until:
                raise Unavailable(f"not ready after {_READY_WITHIN_S:.0f} s: {missing}")
            time.sleep(_POLL_S)  # children tell that they are ready on a socket, and may die instead
            self.check()
            missing = ", ".join(f"the {one.name}" for one in (self._worker, self._api) if not one.ready)

    def check(self) -> None:
        """Start again what has ended.

        Raises:
            ChildFailed: one of them cannot run.
        """
        now = time.monotonic()
        self._worker.check(now)
        self._api.check(now)

    def stop(self) -> None:
        """End the API, let the worker finish what an embedded broker would forget, end the worker."""
        self._api.stop(_END_WITHIN_S)
        self._listener.close()
        if self._settings.embedded_log and self._worker.pid and self._worker.ready and not self._hurried:
            self._drain()
        self._worker.stop(_END_WITHIN_S)

    def hurry(self) -> None:
        """End both at once, the worker before what it works with; for a signal that comes in the middle of `stop`."""
        self._hurried = True
        self._worker.kill()
        self._api.kill()

    def __enter__(self) -> "Shop":
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _drain(self) -> None:
        until = time.monotonic() + _DRAIN_WITHIN_S
        try:
            while (left := records_behind(self._settings)) and time.monotonic() < until and not self._hurried:
                time.sleep(_POLL_S)  # the worker's lag can only be asked
        except DaogouError as error:
            self._say(f"could not ask how far the worker is: {error.message}")
            return
        if left:
            within = "" if self._hurried else f" in {_DRAIN_WITHIN_S:.0f} s"
            self._say(f"{left} events were not applied{within}; the embedded broker forgets them")


def up(settings: Settings, say: Say, signals: StopSignals) -> None:
    """Outside, worker and API until a signal ends this; says where they are and, at the end, what was kept.

    Raises:
        AlreadyRuns: another process runs the shop of this data folder; nothing was started.
        DaogouError: something cannot start; everything that had started has ended again.
    """
    refuse_open_door(settings)
    with OneShop(settings.data_dir) as held:
        _until_stopped(settings, say, signals, held)


def _until_stopped(settings: Settings, say: Say, signals: StopSignals, held: OneShop) -> None:
    starting = False
    try:
        outside = Outside(settings)
        with outside as filled:
            prepare(filled)
            say(f"Redis   {address(filled.redis)}{'' if settings.redis.get_secret_value() else ' (embedded)'}")
            say(f"Kafka   {filled.kafka}{'' if settings.kafka else ' (embedded, in memory)'}")
            say("starting worker and API (some seconds) …")
            starting = True
            shop = Shop(filled, say)
            signals.hurry = shop.hurry
            with shop:
                held.opened(shop.url)
                say(f"ready   {shop.url}/  (OpenAPI: {shop.url}/openapi.json; Ctrl-C ends everything)")
                tell_ready()
                while outside.alive:
                    shop.check()
                    time.sleep(_POLL_S)
        raise Unavailable("an embedded server has ended, and so do worker and API; start again")
    finally:
        for line in kept(settings) if starting else ():
            say(line)


def prepare(settings: Settings) -> None:
    """Make the topics that are missing and check the others; Redis must answer and agree on the partitions.

    Raises:
        KafkaAway, RedisAway, Refused: as their names say.
    """
    # Both are asked before either is changed: a wrong number would stay in whichever was still empty.
    with suppress(NotFound):
        check_topics(settings.brokers, settings.partition_count)
    asyncio.run(_agreed(settings))
    create_topics(settings.brokers, settings.partition_count, settings.replication)


def refuse_open_door(settings: Settings) -> None:
    """Beyond loopback only with keys. With a Kafka that keeps them there may be some on the log: there the API itself
    looks before it answers.

    Raises:
        SettingWrong: the API would answer everybody.
    """
    keys = settings.secret_keys or settings.publishable_keys or settings.operator_keys
    if settings.embedded_kafka and not is_loopback(settings.host) and not keys:
        raise SettingWrong(
            f"DAOGOU_HOST = {settings.host!r}: without keys the API listens on loopback only. Allowed: 127.0.0.1, or "
            "set DAOGOU_SECRET_KEYS and DAOGOU_PUBLISHABLE_KEYS.",
            path="host",
        )


def records_behind(settings: Settings) -> int:
    """Records on the event log that no worker has applied yet.

    Raises:
        KafkaAway, RedisAway: as their names say.
    """
    ends = end_offsets(settings.brokers, EVENTS)
    log = log_id(settings.brokers, EVENTS, settings.embedded_log)
    fences = asyncio.run(_fences(settings, list(ends), log))
    return sum(max(0, end - 1 - fences[partition]) for partition, end in ends.items())


def kept(settings: Settings) -> list[str]:
    """What a stop leaves behind, as lines to say."""
    folder = settings.data_dir
    parts = {
        "redis": "shopper rows, lists, features",
        "archive": "events and catalogue",
        "offline": "features for training",
        "models": "models",
    }
    found = [
        f"{what} ({folder / name}, {_size(folder / name)})" for name, what in parts.items() if (folder / name).is_dir()
    ]
    lines = [f"kept    {'; '.join(found)}" if found else f"kept    nothing in {folder} yet"]
    if settings.archive:
        lines.append(f"        events and catalogue are in {settings.archive_at}")
    if settings.redis.get_secret_value():
        lines.append(f"        shopper rows, lists and features are in Redis at {address(settings.redis)}")
    if not settings.kafka:
        lines.append("gone    the embedded broker's log: it is in memory only")
    return lines


async def _agreed(settings: Settings) -> None:
    client = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        await agree(client, settings.partition_count, address(settings.redis))
    finally:
        await client.aclose()


async def _fences(settings: Settings, partitions: list[int], log: str) -> dict[int, int]:
    client = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        return await PartitionStore(client, where=address(settings.redis)).fences(partitions, log)
    finally:
        await client.aclose()


def _size(folder: Path) -> str:
    size = 0.0
    for file in folder.rglob("*"):
        try:
            size += file.lstat().st_size
        except FileNotFoundError:
            continue  # a server that still runs has just replaced it
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"
