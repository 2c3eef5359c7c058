"""Between the reader of the log and the micro-batches.

Chunks of records wait here, in order, within a bound.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from streams.dead_letters import LogRecord


@dataclass(frozen=True, slots=True)
class Chunk:
    """Records of one partition, as they came from the broker together."""

    topic: str
    partition: int
    records: Sequence[LogRecord]


class Inbox:
    """Chunks of one topic.

    The reader asks for room before it fetches, so what waits stays near `bound` records. While it is held, it takes
    chunks and gives none.
    """

    def __init__(self, bound: int) -> None:
        self._bound = bound
        self._chunks: deque[Chunk] = deque()
        self._waiting = 0
        self._held = False
        self.at_rest = True
        self.read: dict[int, int] = {}
        self._some = asyncio.Event()
        self._full = asyncio.Event()
        self.room = asyncio.Event()
        self.room.set()

    def put(self, chunk: Chunk) -> None:
        """Add a chunk."""
        self._chunks.append(chunk)
        self._waiting += len(chunk.records)
        self.read[chunk.partition] = chunk.records[-1].offset
        self._signal()

    @property
    def waiting(self) -> int:
        """Records that wait."""
        return self._waiting

    def hold(self, held: bool) -> None:
        """Give nothing, or give again; `at_rest` says when what was taken before is done with, too."""
        self._held = held
        self._signal()

    async def some(self) -> None:
        """Wait until there is anything. Whoever asks is done with what was taken before."""
        self.at_rest = True
        await self._some.wait()

    async def fill(self, within_s: float) -> None:
        """Wait until the inbox is full, `within_s` seconds at most."""
        try:
            async with asyncio.timeout(within_s):
                await self._full.wait()
        except TimeoutError:
            return

    def take(self, most: int) -> list[Chunk]:
        """Chunks in order, up to `most` records or the first chunk; none while it is held."""
        taken: list[Chunk] = []
        count = 0
        while self._chunks and not self._held and (not taken or count + len(self._chunks[0].records) <= most):
            chunk = self._chunks.popleft()
            taken.append(chunk)
            count += len(chunk.records)
        self._waiting -= count
        self.at_rest = not taken
        self._signal()
        return taken

    def clear(self) -> None:
        """Forget everything: the partitions are read anew from their fences."""
        self._chunks.clear()
        self._waiting = 0
        self._signal()

    def _signal(self) -> None:
        for event, so in (
            (self._some, bool(self._chunks) and not self._held),
            (self._full, self._waiting >= self._bound),
            (self.room, self._waiting < self._bound),
        ):
            if so:
                event.set()
            else:
                event.clear()
