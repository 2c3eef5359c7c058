"""The outside of the tests: a real Redis and librdkafka's broker, embedded, once per process that runs tests."""

import logging
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog
from pydantic import SecretStr
from redis.asyncio import Redis

from infra.archive_uri import place
from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.redis_server import EmbeddedRedis
from infra.places import Place
from infra.redis import connect
from infra.settings import Settings

if TYPE_CHECKING:
    from tests.stores import Server

PARTITIONS = 8
EMBEDDED_LOG = "embedded-tests"
MOST_PROCESSES = 8  # each takes about 2 GB: torch, Feast, a broker and a Redis of its own


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """A process per core where folders are asked for; 0 is this one, for a few files or tests."""
    if any(not Path(asked.partition("::")[0]).is_dir() for asked in config.args):
        return 0
    return min(len(os.sched_getaffinity(0)), MOST_PROCESSES)


@pytest.fixture(autouse=True)
def logs_as_before() -> Iterator[None]:
    """A command that a test runs sets logs up, on a stream that ends with the test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an embedded Redis; the `redis` fixture empties it before each test that uses it."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    yield server.start()
    server.stop()


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    """A client of an empty Redis, bytes in and out."""
    client = await connect(SecretStr(redis_url), timeout_ms=5000)
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def kafka() -> Iterator[str]:
    """The bootstrap address of an embedded broker with every topic; what tests write stays until the run ends."""
    broker = EmbeddedKafka(PARTITIONS, log_id=EMBEDDED_LOG)
    yield broker.start()
    broker.stop()


@pytest.fixture
def settings(redis_url: str, kafka: str, tmp_path: Path) -> Settings:
    """Settings that name both servers and a data folder of this test alone."""
    return Settings(
        kafka=kafka,
        redis=SecretStr(redis_url),
        embedded_log=EMBEDDED_LOG,
        data_dir=tmp_path / "data",
        tenant="default",
        partitions=PARTITIONS,
        lag_max_ms=10_000,  # a machine that has other things to do is no overload that a test is about
    )


@pytest.fixture(scope="session")
def store() -> "Iterator[Server]":
    """A server of S3's protocol; moto takes a second to import."""
    from tests.stores import running

    with running() as server:
        yield server


@pytest.fixture(scope="session", params=["folder", "s3"])
def new_uri(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Gives the URI of an empty place for archives, of each kind that there is."""
    if request.param == "folder":
        return lambda: f"file://{tmp_path_factory.mktemp('archive')}"
    server: Server = request.getfixturevalue("store")
    return lambda: server.uri(server.make())


@pytest.fixture(scope="session")
def new_place(new_uri: Callable[[], str]) -> Callable[[], Place]:
    """Gives an empty place for an archive, of each kind that there is."""
    return lambda: place(new_uri(), Path("/nowhere"), "default")


@pytest.fixture
def at(new_place: Callable[[], Place]) -> Place:
    """An empty place for an archive."""
    return new_place()
