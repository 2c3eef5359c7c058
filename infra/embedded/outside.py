"""Kafka and Redis for one data folder: the real ones that the settings name, else embedded ones.

Embedded ones belong to the process that started them and end with it. Another process with the same data folder
finds them running and uses them. A lock on the folder, held by the servers themselves as well, keeps two Redis
servers from writing one file.
"""

import fcntl
import json
import os
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from pydantic import SecretStr

from infra.data_folder import make_usable
from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.redis_server import EmbeddedRedis
from infra.errors import Refused
from infra.settings import Settings

_WAIT_S = 10.0
_POLL_S = 0.05


class Outside:
    """`with Outside(settings) as settings:` gives settings in which Kafka and Redis have addresses.

    Raises:
        SettingWrong: nothing can be kept in the data folder.
        Refused: the data folder is held by a process that names no servers.
        KafkaAway, RedisAway: an embedded server did not start.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._folder = settings.data_dir
        self._lock: IO[bytes] | None = None
        self._kafka: EmbeddedKafka | None = None
        self._redis: EmbeddedRedis | None = None

    def __enter__(self) -> Settings:
        if not needs_embedded(self._settings):
            return self._settings
        make_usable(self._folder)
        until = time.monotonic() + _WAIT_S
        while (lock := _try_lock(self._folder)) is None:
            found = running(self._settings)
            if found is not None:
                return found
            if time.monotonic() > until:
                raise Refused(f"{self._folder} is in use by another process that is not ready; end it or wait")
            time.sleep(_POLL_S)
        self._lock = lock
        try:
            return self._start(lock)
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def alive(self) -> bool:
        """Whether the embedded servers in use still run; true when none is in use."""
        if self._lock is None:
            return running(self._settings) is not None
        return all(server.alive for server in (self._kafka, self._redis) if server is not None)

    def close(self) -> None:
        """End what was started here; what Redis holds stays in the data folder."""
        if self._kafka is not None:
            self._kafka.stop()
        if self._redis is not None:
            self._redis.stop()
        if self._lock is not None:
            _addresses(self._folder).unlink(missing_ok=True)
            self._lock.close()
        self._kafka = self._redis = self._lock = None

    def _start(self, lock: IO[bytes]) -> Settings:
        found: dict[str, str] = {}
        if not self._settings.redis.get_secret_value():
            self._redis = EmbeddedRedis(self._folder / "redis", keep_open=[lock.fileno()])
            found["redis"] = self._redis.start()
        if not self._settings.kafka:
            self._kafka = EmbeddedKafka(
                self._settings.partition_count,
                log_id=f"embedded-{uuid.uuid4().hex}",
                keep_open=[lock.fileno()],
            )
            found["kafka"] = self._kafka.start()
            found["embedded_log"] = self._kafka.log_id
        _publish(self._folder, found)
        return _filled(self._settings, found)


def needs_embedded(settings: Settings) -> bool:
    """Whether the settings leave Kafka or Redis to the embedded ones."""
    return not settings.kafka or not settings.redis.get_secret_value()


def running(settings: Settings) -> Settings | None:
    """The settings with the addresses of what runs for this data folder; None when a needed server does not run."""
    if not needs_embedded(settings):
        return settings
    try:
        found = json.loads(_addresses(settings.data_dir).read_bytes())
    except (OSError, ValueError):
        return None
    lock = _try_lock(settings.data_dir)
    if lock is not None:  # nobody holds it: the file was left behind
        lock.close()
        return None
    filled = _filled(settings, found)
    return None if needs_embedded(filled) else filled


def _try_lock(folder: Path) -> IO[bytes] | None:
    file = (folder / "embedded.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _addresses(folder: Path) -> Path:
    return folder / "embedded.json"


def _publish(folder: Path, found: Mapping[str, str]) -> None:
    new = _addresses(folder).with_suffix(".new")
    new.write_text(json.dumps({**found, "pid": os.getpid()}, indent=1))
    new.replace(_addresses(folder))


def _filled(settings: Settings, found: Mapping[str, str]) -> Settings:
    """Each setting that is given wins over what was found."""
    update: dict[str, object] = {}
    if not settings.redis.get_secret_value() and "redis" in found:
        update["redis"] = SecretStr(found["redis"])
    if not settings.kafka and "kafka" in found:
        update["kafka"] = found["kafka"]
        update["embedded_log"] = found["embedded_log"]
    return settings.model_copy(update=update)
