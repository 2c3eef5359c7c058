"""What one process writes to Redis, as Redis' own MONITOR tells it: a process that was paused must write nothing."""

import re
import threading
from types import TracebackType
from typing import Final

import redis

# A line of MONITOR: time [db address] "COMMAND" "argument" …; a script's own calls have `lua` for an address.
_LINE: Final = re.compile(rb'\A\+?[\d.]+ \[\d+ (?P<who>[^\]]+)\] "(?P<command>[^"]+)"')
_WORD: Final = re.compile(rb'"((?:[^"\\]|\\.)*)"')
_WRITES: Final = (b"SET", b"HSET", b"ZADD", b"ZREM", b"RPUSH", b"LTRIM", b"INCR")


class Stale:
    """Counts, while it is entered, script calls with one of the epochs `old`: those tried, and those that wrote."""

    def __init__(self, url: str, epoch_at: dict[bytes, int], old: dict[bytes, bytes]) -> None:
        """`epoch_at` says which argument of a script is the epoch, `old` the paused one's epoch by its key."""
        self._client = redis.Redis.from_url(url)
        self._connection = self._client.connection_pool.get_connection()
        self._epoch_at = epoch_at
        self._old = old
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self.tried = 0
        self.wrote = 0

    def __enter__(self) -> "Stale":
        self._connection.send_command("MONITOR")
        self._connection.read_response()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join(5.0)
        self._connection.disconnect()
        self._client.close()

    def _listen(self) -> None:
        stale = False
        while not self._ended.is_set():
            if not self._connection.can_read(timeout=0.2):
                continue
            try:
                line = self._connection.read_response(disable_decoding=True)
            except redis.RedisError:
                return
            found = _LINE.match(line)
            if found is None:
                continue
            command = found["command"].upper()
            if found["who"] != b"lua":
                stale = command == b"EVALSHA" and self._is_old(line)
                self.tried += stale
            elif stale and command in _WRITES:
                self.wrote += 1
                stale = False

    def _is_old(self, line: bytes) -> bool:
        words = _WORD.findall(line)
        keys, arguments = words[3 : 3 + int(words[2])], words[3 + int(words[2]) :]
        place = self._epoch_at.get(words[1])
        epochs = [self._old[key] for key in keys if key in self._old]
        return place is not None and bool(epochs) and arguments[place] == epochs[0]
