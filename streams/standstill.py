"""Work beside the micro-batches, and a pause in which it stands still."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Standstill:
    """Lets pieces of work through, or holds them until it opens; those under way go on to their end."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self._under_way = 0

    @property
    def held(self) -> bool:
        """Whether nothing more is let through."""
        return not self._open.is_set()

    @property
    def at_rest(self) -> bool:
        """Whether nothing is under way."""
        return not self._under_way

    def hold(self, held: bool) -> None:
        """Let nothing through, or let it through again."""
        (self._open.clear if held else self._open.set)()

    @asynccontextmanager
    async def passage(self) -> AsyncIterator[None]:
        """One piece of work."""
        while self.held:  # it may be held again before whoever waits has its turn
            await self._open.wait()
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
