"""The pause of all workers of a shop: they keep their partitions and read ahead, and write nothing of the shop's.

No event and no catalogue record is applied, no timer fires, no namespace is promoted or goes on to be, no list is made
anew, no statistics are merged. What was decided before still leaves for Kafka, what is on the log is still archived,
and a released model is loaded, so that the first list afterwards is made by it.

One key in Redis says so, outside of namespaces: it outlives workers, and a replay or a promotion does not touch it.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Final

import msgspec
from redis.asyncio import Redis

from infra import metrics
from infra.keys import LIVE, owner, paused, resting
from infra.logs import logger
from infra.metrics import Metrics
from infra.redis import told_as_away
from streams.inbox import Inbox
from streams.lua import Script, run_scripts
from streams.pipeline import Pipeline
from streams.standstill import Standstill

_log = logger(__name__)

_SHARED: Final = b"shared:"

# KEYS paused, resting · ARGV the pause as it was
_END: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1], KEYS[2])
return 1
""")


class Pause(msgspec.Struct, frozen=True):
    """A pause: since when (ms), who asked for it, and why."""

    since_ms: int
    by: str
    why: str = ""

    @property
    def told(self) -> str:
        """Since when, by whom and why, in words."""
        why = f": {self.why}" if self.why else ""
        return f"since {datetime.fromtimestamp(self.since_ms // 1000, UTC):%Y-%m-%dT%H:%M:%SZ} by {self.by}{why}"

    @property
    def command_id(self) -> str:
        """The same pause has the same id, however often it is written down."""
        digest = blake2b(repr((self.since_ms, self.by, self.why)).encode(), digest_size=8)
        return f"pause:{digest.hexdigest()}"


class Pauses:
    """Reads and writes the pause, and who stands still because of it."""

    def __init__(self, redis: Redis, where: str) -> None:
        self._redis = redis
        self._where = where

    async def now(self) -> Pause | None:
        """The pause that is in force.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.get(paused())
        with told_as_away(self._where):
            [raw] = await pipe.execute()
        return None if raw is None else msgspec.json.decode(raw, type=Pause)

    async def begin(self, pause: Pause) -> Pause:
        """Pause; the one that is in force then, an earlier one if there is.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.set(paused(), msgspec.json.encode(pause), nx=True)
        pipe.get(paused())
        with told_as_away(self._where):
            _, raw = await pipe.execute()
        return msgspec.json.decode(raw, type=Pause)

    async def end(self, pause: Pause) -> bool:
        """End this pause; False: it had ended.

        Raises:
            RedisAway.
        """
        call = (_END, (paused(), resting()), (msgspec.json.encode(pause),))
        [ended] = await run_scripts(self._redis, self._where, [call])
        return bool(ended)

    async def rest(self, token: str, pause: Pause) -> None:
        """A worker says that it stands still.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hset(resting(), token, pause.command_id)
        with told_as_away(self._where):
            await pipe.execute()

    async def workers(self, pause: Pause | None) -> tuple[int, int]:
        """(workers that run, those of them that stand still in this pause).

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.time()
        pipe.zrange(owner(LIVE), 0, -1, withscores=True)
        pipe.hgetall(resting())
        with told_as_away(self._where):
            (seconds, _), holders, rested = await pipe.execute()
        tokens = [
            member.removeprefix(_SHARED)
            for member, until_ms in holders
            if member.startswith(_SHARED) and until_ms > seconds * 1000
        ]
        wanted = b"" if pause is None else pause.command_id.encode()
        return len(tokens), sum(rested.get(token) == wanted for token in tokens)


class Gate:
    """A worker's part: it looks for the pause, holds the inboxes, and says when nothing is under way any more.

    `beside` holds the work that no inbox feeds.
    """

    def __init__(
        self, pauses: Pauses, pipeline: Pipeline, inboxes: Iterable[Inbox], token: str, measured: Metrics
    ) -> None:
        self._pauses = pauses
        self._pipeline = pipeline
        self._inboxes = tuple(inboxes)
        self._token = token
        self._metrics = measured
        self._rests = False
        self.beside = Standstill()
        self.pause: Pause | None = None

    def closed(self) -> bool:
        """Whether nothing may be applied and no timer fire."""
        return self.pause is not None

    async def look(self) -> None:
        """Follow what is asked for; call it every second.

        Raises:
            RedisAway.
        """
        found = await self._pauses.now()
        if found != self.pause:
            self._turn(found)
        if self.pause is not None and not self._rests and self._nothing_under_way():
            async with self._pipeline.lock:  # timers that were being fired are
                pass
            await self._pauses.rest(self._token, self.pause)
            self._rests = True

    def _nothing_under_way(self) -> bool:
        return self.beside.at_rest and all(inbox.at_rest for inbox in self._inboxes)

    def _turn(self, found: Pause | None) -> None:
        self.pause, self._rests = found, False
        for inbox in self._inboxes:
            inbox.hold(found is not None)
        self.beside.hold(found is not None)
        self._metrics.set(metrics.PAUSED_SINCE, 0 if found is None else found.since_ms / 1000)
        if found is None:
            _log.info("resumed")
        else:
            _log.warning("paused: nothing is applied until `daogou streams resume`", by=found.by, why=found.why)
