"""A Kafka broker of our own on a free loopback port, for running without one.

librdkafka carries a broker that speaks the real protocol. It runs in a process of its own, holds its log in memory
(5 MiB and 100,000 batches per partition, then the oldest go), and forgets it when it ends: right for a demo and for
tests, never for data that must last. All topics are made at its start, since it cannot be asked for them later.
"""

import ctypes
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from infra import topics
from infra.children import end_child, start_child
from infra.errors import KafkaAway

_PRODUCER = 0
_TEXT_BYTES = 512


class EmbeddedKafka:
    """One broker; `keep_open` are file descriptors (locks) that it holds while it lives."""

    def __init__(self, partitions: int, *, log_id: str, keep_open: Sequence[int] = ()) -> None:
        self._partitions = partitions
        self.log_id = log_id
        self._keep_open = keep_open
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> str:
        """Start it with every topic; its bootstrap address.

        Raises:
            KafkaAway: it did not start; the message holds what it said.
        """
        argv = [sys.executable, "-m", "infra.embedded.kafka_broker", str(self._partitions)]
        self._process = start_child(argv, output=subprocess.PIPE, keep_open=self._keep_open)
        assert self._process.stdout is not None
        said = self._process.stdout.readline().decode().strip()
        if not said.startswith("ready "):
            rest = self._process.stdout.read().decode()
            self.stop()
            raise KafkaAway(f"the embedded broker did not start: {(said + rest)[-_TEXT_BYTES:]}")
        return said.removeprefix("ready ")

    def stop(self) -> None:
        """End it; its log is gone."""
        if self._process is not None:
            end_child(self._process, within_s=1.0)
            self._process = None

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The broker's process; 0 when none runs."""
        return self._process.pid if self._process else 0


def _library() -> ctypes.CDLL:
    import confluent_kafka

    folder = Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs"
    found = sorted(folder.glob("librdkafka*"))
    if not found:
        raise KafkaAway(f"no librdkafka in {folder}; set DAOGOU_KAFKA to a real broker")
    library = ctypes.CDLL(str(found[0]))
    pointer, text, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t
    for name, result, arguments in (
        ("rd_kafka_conf_new", pointer, []),
        ("rd_kafka_conf_set", ctypes.c_int, [pointer, text, text, text, size]),
        ("rd_kafka_new", pointer, [ctypes.c_int, pointer, text, size]),
        ("rd_kafka_handle_mock_cluster", pointer, [pointer]),
        ("rd_kafka_mock_cluster_bootstraps", text, [pointer]),
        ("rd_kafka_mock_topic_create", ctypes.c_int, [pointer, text, ctypes.c_int, ctypes.c_int]),
        ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [pointer, ctypes.c_int32]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def serve(partitions: int) -> str:
    """Start the broker inside this process, with every topic; its bootstrap address."""
    library = _library()
    error = ctypes.create_string_buffer(_TEXT_BYTES)
    conf = library.rd_kafka_conf_new()
    for name, value in ((b"test.mock.num.brokers", b"1"), (b"log_level", b"0")):
        library.rd_kafka_conf_set(conf, name, value, error, _TEXT_BYTES)
    handle = library.rd_kafka_new(_PRODUCER, conf, error, _TEXT_BYTES)
    if not handle:
        raise KafkaAway(f"librdkafka says: {error.value.decode()}")
    cluster = library.rd_kafka_handle_mock_cluster(handle)
    library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
    for topic in topics.TOPICS:
        code = library.rd_kafka_mock_topic_create(cluster, topic.name.encode(), partitions, 1)
        if code:
            raise KafkaAway(f"the embedded broker refused the topic {topic.name} (librdkafka error {code})")
    return str(library.rd_kafka_mock_cluster_bootstraps(cluster).decode())


def main() -> None:
    """Serve until a signal ends the process."""
    print("ready", serve(int(sys.argv[1])), flush=True)
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
