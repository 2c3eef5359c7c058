"""The limit of a replay that runs beside live work: so many events a second, and no bursts."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

_BURST_S: Final = 0.25


class Rate:
    """Holds back whoever goes faster than `limit` events a second; 0: nobody."""

    def __init__(
        self,
        limit: int,
        monotonic: Callable[[], float],
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._limit = limit
        self._monotonic = monotonic
        self._sleep = sleep
        self._free_at = monotonic()

    def batch(self, most: int) -> int:
        """The events of one micro-batch, so that a limited replay comes in small steps."""
        return min(most, max(1, int(self._limit * _BURST_S))) if self._limit else most

    async def took(self, events: int) -> None:
        """Wait until so many more events may follow."""
        if not self._limit:
            return
        now = self._monotonic()
        # What was not used before is not made up for: an idle minute gives no right to a burst.
        self._free_at = max(self._free_at, now) + events / self._limit
        await self._sleep(max(0.0, self._free_at - now))
