"""What a proof runs on: a Kafka whose topics are empty when a run begins, and a Redis for each run."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.redis_server import EmbeddedRedis
from infra.kafka_admin import create_topics, end_offsets, partition_counts
from infra.kafka_client import client_config
from infra.redis import connect_sync
from infra.topics import TOPICS
from tests import kafka

_GONE_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.05


class Log(NamedTuple):
    """Where a run's topics are; `embedded` is the id of an embedded broker's log."""

    bootstrap: str
    embedded: str


class Broker(Protocol):
    """A Kafka for several runs, one after the other."""

    @property
    def name(self) -> str:
        """What it is, for the summary."""
        ...

    def fresh(self) -> Log:
        """The topics, made anew."""
        ...


class Embedded:
    """Librdkafka's broker, another one for each run."""

    name = "embedded"

    def __init__(self, partitions: int, stack: ExitStack) -> None:
        self._partitions = partitions
        self._stack = stack
        self._running: EmbeddedKafka | None = None

    def fresh(self) -> Log:
        """Another broker."""
        if self._running is not None:
            self._running.stop()
        self._running = EmbeddedKafka(self._partitions, log_id=f"embedded-proof-{time.time_ns()}")
        self._stack.callback(self._running.stop)
        return Log(self._running.start(), self._running.log_id)


class Real:
    """An Apache Kafka: one that runs, with nothing on our topics, or a node of our own that is gone afterwards."""

    def __init__(self, given: str, folder: Path, partitions: int, stack: ExitStack) -> None:
        self._partitions = partitions
        self.name = "given" if given else kafka.VERSION
        if given:
            _refuse_used(given)
            self._bootstrap = given
        else:
            cluster = kafka.Cluster(folder)
            stack.callback(cluster.stop)
            self._bootstrap = cluster.start()

    def fresh(self) -> Log:
        """The same topics, deleted and made again: other logs, by their ids."""
        there = [topic.name for topic in TOPICS if topic.name in partition_counts(self._bootstrap)]
        if there:
            admin = AdminClient(client_config(self._bootstrap))  # it has to outlive its answers
            answers: dict[str, Any] = admin.delete_topics(there)
            for future in answers.values():
                future.result()
        until = time.monotonic() + _GONE_WITHIN_S
        while set(there) & set(partition_counts(self._bootstrap)):
            if time.monotonic() > until:
                raise SystemExit(f"Kafka at {self._bootstrap} still has the topics that it was told to delete")
            time.sleep(_POLL_S)
        create_topics(self._bootstrap, self._partitions, 0)
        return Log(self._bootstrap, "")


class Server(NamedTuple):
    """A Redis of a run's own, and what it is."""

    url: SecretStr
    name: str


def redis_server(folder: Path, stack: ExitStack) -> Server:
    """The machine's redis-server with an append-only file; where there is none, the embedded one."""
    executable = shutil.which("redis-server")
    server = EmbeddedRedis(folder, executable=executable)
    stack.callback(server.stop)
    url = SecretStr(server.start())
    with connect_sync(url, 5000) as client:
        version = client.info("server")["redis_version"]
    return Server(url, version if executable else f"embedded-{version}")


def _refuse_used(bootstrap: str) -> None:
    for topic in TOPICS:
        if topic.name in partition_counts(bootstrap) and any(end_offsets(bootstrap, topic.name).values()):
            raise SystemExit(
                f"the topic {topic.name} at {bootstrap} is in use: the proof deletes and makes the topics anew, "
                "so give it a Kafka without them"
            )
