"""The embedded servers: data outlive a stop, nothing outlives the process that started it."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr

from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.outside import Outside, running
from infra.embedded.redis_server import EmbeddedRedis, free_port
from infra.errors import DaogouError, RedisAway
from infra.kafka_admin import partition_counts
from infra.redis import connect_sync
from infra.settings import Settings

WITHIN_MS = 10_000

# Starts both servers, says their processes, then waits for the end that the test gives it.
OWNER = """
import signal, sys
from pathlib import Path
from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.redis_server import EmbeddedRedis
kafka, redis = EmbeddedKafka(1, log_id="x"), EmbeddedRedis(Path(sys.argv[1]))
kafka.start(), redis.start()
print(kafka.pid, redis.pid, flush=True)
signal.pause()
"""


def has_ended(pid: int) -> Callable[[], bool]:
    """Opens a handle on a process; the result waits until it has ended."""
    handle = os.pidfd_open(pid)

    def ended() -> bool:
        poll = select.poll()
        poll.register(handle, select.POLLIN)
        answered = bool(poll.poll(WITHIN_MS))
        os.close(handle)
        return answered

    return ended


def settings_for(folder: Path) -> Settings:
    return Settings(data_dir=folder, kafka="", redis=SecretStr(""), embedded_log="", partitions=0)


def test_what_redis_holds_outlives_a_stop(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    with connect_sync(SecretStr(server.start()), 1000) as client:
        client.set("row", b"kept")
    server.stop()
    with connect_sync(SecretStr(server.start()), 1000) as client:
        assert client.get("row") == b"kept"
    server.stop()
    assert not server.alive


def test_what_redis_holds_outlives_a_kill(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    with connect_sync(SecretStr(server.start()), 1000) as client:
        client.set("row", b"kept")
    os.kill(server.pid, signal.SIGKILL)
    server.stop()
    with connect_sync(SecretStr(server.start()), 1000) as client:
        assert client.get("row") == b"kept"
    server.stop()


def test_a_redis_that_cannot_start_names_its_log(tmp_path: Path) -> None:
    (tmp_path / "appendonly.aof").write_bytes(b"not what Redis writes\n")
    with pytest.raises(RedisAway, match=r"redis\.log"):
        EmbeddedRedis(tmp_path).start()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_servers_end_with_their_parent(end: signal.Signals, tmp_path: Path) -> None:
    argv = [sys.executable, "-c", OWNER, str(tmp_path)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        ends = [has_ended(int(pid)) for pid in owner.stdout.readline().split()]
        owner.send_signal(end)
        assert len(ends) == 2
        assert [ended() for ended in ends] == [True, True]


def test_the_broker_has_the_partitions_asked_for() -> None:
    broker = EmbeddedKafka(3, log_id="three")
    assert set(partition_counts(broker.start()).values()) == {3}
    broker.stop()
    assert not broker.alive


def test_outside_starts_what_is_not_set_and_ends_it(tmp_path: Path) -> None:
    asked = settings_for(tmp_path / "data")
    outside = Outside(asked)
    with outside as filled:
        assert outside.alive
        assert filled.embedded_kafka
        assert filled.partition_count == 8
        assert set(partition_counts(filled.kafka).values()) == {8}
        with connect_sync(filled.redis, 1000) as client:
            client.set("row", b"kept")
    assert running(asked) is None
    with Outside(asked) as again:
        assert again.embedded_log != filled.embedded_log
        with connect_sync(again.redis, 1000) as client:
            assert client.get("row") == b"kept"


def test_a_second_process_uses_the_servers_of_the_first(tmp_path: Path) -> None:
    asked = settings_for(tmp_path)
    with Outside(asked) as first:
        second = Outside(asked)
        with second as filled:
            assert filled == first
            assert second.alive
        assert running(asked) == first  # leaving did not end what belongs to the first
    assert not second.alive


def test_outside_leaves_real_servers_alone(tmp_path: Path) -> None:
    named = Settings(kafka="k:9092", redis=SecretStr("redis://r:1/0"), data_dir=tmp_path / "untouched")
    outside = Outside(named)
    with outside as filled:
        assert filled == named
        assert outside.alive
    assert not (tmp_path / "untouched").exists()


def test_only_what_is_not_set_is_embedded(tmp_path: Path) -> None:
    asked = settings_for(tmp_path).model_copy(update={"redis": SecretStr(f"redis://127.0.0.1:{free_port()}/0")})
    with Outside(asked) as filled:
        assert filled.redis == asked.redis
        assert filled.kafka
    assert not (tmp_path / "redis").exists()


def test_a_start_that_fails_leaves_nothing_running(tmp_path: Path) -> None:
    asked = settings_for(tmp_path)
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "appendonly.aof").write_bytes(b"not what Redis writes\n")
    with pytest.raises(DaogouError):
        Outside(asked).__enter__()
    assert running(asked) is None
    (tmp_path / "redis" / "appendonly.aof").unlink()
    with Outside(asked) as filled:
        assert filled.kafka
