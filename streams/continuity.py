"""Nothing is passed over: what is read of a log goes on where what was read before ended."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from infra.errors import WentBack
from infra.logs import logger
from streams.inbox import Chunk
from streams.patience import patiently

_log = logger(__name__)

# The offset of the first record of a partition at or after that one, as the broker has it.
NextOnLog = Callable[[int, int], Awaitable[int]]

NOTHING_READ: Final[Mapping[int, int]] = {}


class Continuity:
    """Knows the next offset of each partition of one topic. `reading` is another whenever reading begins anew."""

    def __init__(self, topic: str, next_on_log: NextOnLog) -> None:
        self._topic = topic
        self._next_on_log = next_on_log
        self._next: dict[int, int] = {}
        self.reading = 0

    def begin(self, positions: Mapping[int, int]) -> None:
        """Reading begins anew at these offsets, in these partitions alone."""
        self._next = dict(positions)
        self.reading += 1

    async def follows(self, chunk: Chunk, reading: int) -> bool:
        """Whether this chunk, which came in that reading, is the next to be applied. The broker is asked where it
        leaves offsets out: compaction and retention do that, and so would a reader that skips.

        False: its partition is not read, or reading has begun anew.

        Raises:
            WentBack: records were passed over.
            Unavailable: nobody could say.
        """
        partition, first = chunk.partition, chunk.records[0].offset
        if reading != self.reading or partition not in self._next:
            return False
        after = self._next[partition]
        if first > after:
            there = await patiently("asking for the next record", self._next_on_log, partition, after)
            if reading != self.reading:
                return False
            if there < first:
                raise WentBack(
                    f"{self._topic} partition {partition}: the records from {there} to {first - 1} were passed over; "
                    "start again to read them"
                )
            _log.info("the log has a hole", topic=self._topic, partition=partition, first=after, last=first - 1)
        self._next[partition] = max(after, chunk.records[-1].offset + 1)
        return True
