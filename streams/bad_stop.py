"""The stop that a broken producer brings about, and that a new start does not undo.

A worker that starts anew has seen nothing, and would take the next records before it could judge them. So the
stop is written down, for the log that it happened on, and whoever is assigned partitions of it asks first. It
is lifted by a limit that the share then is within.
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from redis.asyncio import Redis

from infra.keys import stopped
from infra.logs import logger
from infra.redis import told_as_away
from streams.bad_share import BadShare, Excess

_log = logger(__name__)


class _Stop(msgspec.Struct, frozen=True):
    log: str
    seen: int
    bad: int
    reason: str


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(_Stop)


class BadStop:
    """Judges batches by the limit and remembers a stop in Redis."""

    def __init__(self, redis: Redis, share: BadShare, where: str) -> None:
        self._redis = redis
        self._share = share
        self._where = where

    async def begin(self, topic: str, log: str) -> None:
        """Ask before anything of a log is taken.

        Raises:
            Refused: the stop stands (`too_many_bad`).
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.hget(stopped(), topic)
        with told_as_away(self._where):
            [raw] = await pipe.execute()
        if raw is None:
            return
        stop = _decoder.decode(raw)
        excess = Excess(topic, stop.seen, stop.bad, stop.reason)
        if stop.log == log and self._share.most < 1 and excess.share > self._share.most:
            raise excess.refusal(self._share.most)
        _log.warning("a stop for too many bad records is lifted", topic=topic, limit=self._share.most)
        pipe = self._redis.pipeline(transaction=False)
        pipe.hdel(stopped(), topic)
        with told_as_away(self._where):
            await pipe.execute()

    async def judge(self, topic: str, log: str, seen: int, reasons: Mapping[str, int]) -> None:
        """Ask before a batch is written; asking again is harmless.

        Raises:
            Refused: with this batch too many would be bad (`too_many_bad`); the stop is written down.
            RedisAway.
        """
        excess = self._share.excess(topic, seen, reasons)
        if excess is None:
            return
        stop = _Stop(log, excess.seen, excess.bad, excess.reason)
        pipe = self._redis.pipeline(transaction=False)
        pipe.hset(stopped(), topic, _encoder.encode(stop).decode())
        with told_as_away(self._where):
            await pipe.execute()
        raise excess.refusal(self._share.most)

    def note(self, topic: str, seen: int, reasons: Mapping[str, int]) -> None:
        """A batch was written."""
        self._share.add(topic, seen, reasons)
