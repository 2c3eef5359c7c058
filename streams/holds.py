"""Who holds a whole namespace: workers share it, a direct load has it alone.

A hold ends by itself 30 s after it was last renewed, so nothing stays held by a process that was killed. It
keeps honest processes apart and says so in a sentence; what keeps a mistaken one from writing is the epoch in
each commit.
"""

import time
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from infra.errors import Refused
from infra.keys import owner
from infra.redis import told_as_away
from streams.lua import HOLD, run_scripts

HOLD_MS: Final = 30_000
_RENEW_S: Final = 5.0


class Hold:
    """One holder of `name`. `token` tells holders apart: any text that no other process has."""

    def __init__(
        self, redis: Redis, name: str, token: str, *, alone: bool, where: str = "Redis", shown: str = ""
    ) -> None:
        """`shown` is what people know the namespace by, where that is another name."""
        self._shown = shown or name
        self._redis = redis
        self._name = name
        self._member = f"{'alone' if alone else 'shared'}:{token}"
        self._where = where

    async def take(self) -> None:
        """Hold it, or hold it for another 30 s: call it again at least every 10 s.

        Raises:
            Refused: somebody else holds it (`held`).
            RedisAway.
        """
        calls = [(HOLD, (owner(self._name),), (self._member, str(HOLD_MS)))]
        [other] = await run_scripts(self._redis, self._where, calls)
        if other:
            who = "a worker" if other.startswith(b"shared:") else "another process that needs it for itself"
            raise Refused(
                f"the namespace {self._shown!r} is held by {who}; end it (it lets go within {HOLD_MS // 1000} s) "
                "and try again",
                code="held",
            )

    async def release(self) -> None:
        """Let go.

        Raises:
            RedisAway: it ends by itself all the same.
        """
        pipe = self._redis.pipeline(transaction=False)
        pipe.zrem(owner(self._name), self._member)
        with told_as_away(self._where):
            await pipe.execute()


async def is_held(redis: Redis, name: str, where: str) -> bool:
    """Whether anybody holds `name` now.

    Raises:
        RedisAway.
    """
    pipe = redis.pipeline(transaction=False)
    pipe.time()
    pipe.zrange(owner(name), 0, -1, withscores=True)
    with told_as_away(where):
        (seconds, _), holders = await pipe.execute()
    return any(until_ms > seconds * 1000 for _, until_ms in holders)


class Held:
    """A hold that is renewed while long work goes on: call `renew` now and then."""

    def __init__(self, hold: Hold, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._hold = hold
        self._monotonic = monotonic
        self._taken = 0.0

    async def take(self) -> None:
        """Hold it.

        Raises:
            Refused, RedisAway: as `Hold.take`.
        """
        await self._hold.take()
        self._taken = self._monotonic()

    async def renew(self) -> None:
        """Hold it on, if some seconds are over.

        Raises:
            Refused, RedisAway: as `Hold.take`.
        """
        if self._monotonic() - self._taken > _RENEW_S:
            await self.take()

    async def release(self) -> None:
        """Let go.

        Raises:
            RedisAway: it ends by itself all the same.
        """
        await self._hold.release()
