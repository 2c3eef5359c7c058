"""Where the log of events ends for a worker that waits for its fences to get there.

A mark of a transaction fills an offset that no record has: behind the last one of a partition there may be nothing
left to apply, and the end is one further all the same.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

# The offset of the next record of a partition at or after that one; of the partition's end where there is none.
NextOrEnd = Callable[[int, int], Awaitable[int]]


class _Stand(NamedTuple):
    after: int
    end: int


class Ends:
    """Answers with the ends of partitions.

    `ends` asks the broker, `began` says where reading began, `after` which offset each fence waits for. Only a
    partition that stands between two questions is looked into: that costs a connection.
    """

    def __init__(
        self,
        ends: Callable[[Sequence[int]], Awaitable[Mapping[int, int]]],
        began: Callable[[], Mapping[int, int]],
        after: Callable[[], Mapping[int, int]],
        next_or_end: NextOrEnd,
    ) -> None:
        self._ends = ends
        self._began = began
        self._after = after
        self._next_or_end = next_or_end
        self._stands: dict[int, _Stand] = {}
        self._empty: dict[int, _Stand] = {}

    async def of(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """The offset after the last record of each, as far as anybody waits for it.

        0 where the log still ends where reading began, whatever the fence says: what retention took before it was
        applied is waited for by nobody.

        Raises:
            KafkaAway.
        """
        after, ends = dict(self._after()), await self._ends(partitions)
        return {partition: await self._end(partition, after.get(partition), end) for partition, end in ends.items()}

    async def _end(self, partition: int, after: int | None, end: int) -> int:
        if end <= self._began().get(partition, 0):
            return 0
        if after is None or after >= end:
            return end
        stand = _Stand(after, end)
        if self._empty.get(partition) == stand:  # a log that was empty there stays so
            return after
        stood, self._stands[partition] = self._stands.get(partition) == stand, stand
        if not stood or await self._next_or_end(partition, after) < end:
            return end
        self._empty[partition] = stand
        return after
