"""The servers of a page view: Redis, Kafka, and one API process on a core of its own."""

import contextlib
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from pydantic import SecretStr

from infra.children import end_child, start_child
from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.redis_server import EmbeddedRedis, free_port
from infra.errors import RedisAway
from infra.kafka import create_topics
from infra.ports import listen, port_of
from infra.ready import VARIABLE, ReadyListener
from infra.redis import connect_sync
from infra.settings import Settings, environment, read_settings
from tests.benchmarks.machine import on_cores

_READY_WITHIN_S = 60.0
_POLL_S = 0.1


@contextlib.contextmanager
def outside(folder: Path) -> Iterator[tuple[Settings, str]]:
    """Settings that name Redis and Kafka, and what the two are, in words."""
    given = read_settings(data_dir=folder)
    with contextlib.ExitStack() as stack:
        settings, of_redis = _redis(given, folder, stack)
        settings, of_kafka = _kafka(settings, stack)
        client = connect_sync(settings.redis, 5000)
        version = dict(client.info("server"))["redis_version"]
        client.close()
        yield settings, f"Redis {version} ({of_redis}), {of_kafka}"


def _redis(settings: Settings, folder: Path, stack: contextlib.ExitStack) -> tuple[Settings, str]:
    if settings.redis.get_secret_value():
        client = stack.enter_context(connect_sync(settings.redis, 5000))
        if client.dbsize():
            raise SystemExit("DAOGOU_REDIS names a database that is not empty; give one that may be filled and emptied")
        stack.callback(client.flushdb)
        return settings, "DAOGOU_REDIS"
    server = shutil.which("redis-server")
    if server is None:
        embedded = EmbeddedRedis(folder / "redis")
        stack.callback(embedded.stop)
        return settings.model_copy(update={"redis": SecretStr(embedded.start())}), "embedded"
    port = free_port()
    options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder)]
    process = start_child([server, *options], output=subprocess.DEVNULL)
    stack.callback(end_child, process, 5.0)
    url = SecretStr(f"redis://127.0.0.1:{port}/0")
    _until_it_answers(url)
    return settings.model_copy(update={"redis": url}), server


def _until_it_answers(url: SecretStr) -> None:
    until = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            connect_sync(url, 1000).close()
            return
        except RedisAway:
            if time.monotonic() > until:
                raise
            time.sleep(_POLL_S)


def _kafka(settings: Settings, stack: contextlib.ExitStack) -> tuple[Settings, str]:
    if settings.kafka:
        create_topics(settings.brokers, settings.partition_count, settings.replication)
        return settings, "Kafka (DAOGOU_KAFKA)"
    broker = EmbeddedKafka(settings.partition_count, log_id=f"embedded-{uuid.uuid4().hex}")
    stack.callback(broker.stop)
    update = {"kafka": broker.start(), "embedded_log": broker.log_id}
    return settings.model_copy(update=update), "embedded Kafka broker"


@contextlib.contextmanager
def api(settings: Settings, checkout: Path, on: frozenset[int]) -> Iterator[tuple[int, int]]:
    """One API process of a checkout, as `daogou api` starts it, on these cores; its port and process id."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen("127.0.0.1", 0))
        ready = stack.enter_context(ReadyListener())
        log = stack.enter_context((settings.data_dir / "api.log").open("ab"))
        port, fd = port_of(listener), listener.fileno()
        env = {**os.environ, **environment(settings), VARIABLE: ready.address, "OMP_NUM_THREADS": "1"}
        command = ["env", f"--chdir={checkout}", sys.executable, "-m", "streams.cli", "api", "--socket", str(fd)]
        with on_cores(on):
            process = start_child(command, env=env, output=log, keep_open=[fd])
        stack.callback(end_child, process, 10.0)
        until = time.monotonic() + _READY_WITHIN_S
        while not ready.heard(_POLL_S):
            if process.poll() is not None or time.monotonic() > until:
                raise SystemExit(f"the API did not start: {Path(log.name).read_text()[-2000:]}")
        yield port, process.pid
