"""Which of the timers that are due may fire: those of partitions that are applied to the end of their log.

A purchase that lies on the log and is not applied yet must stop its timer. So the log is asked for its end after
the timers were found due, and they wait until the fence has passed that end.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from streams.partition import Claimed, Due

# The offsets after the last records of these partitions, as the broker has them now. Only asked for when
# something is due.
LogEnds = Callable[[Sequence[int]], Awaitable[Mapping[int, int]]]

# A partition that has not come so far by then is asked for its end anew: more is on the log by now.
_GOOD_FOR_MS: Final = 2000


@dataclass(frozen=True, slots=True)
class _Look:
    """The end of a partition's log at a moment, and the timers that were due before it."""

    epoch: int
    at_ms: int
    end: int
    timers: frozenset[Due]

    def still_good(self, owned: Claimed, now_ms: int) -> bool:
        reached = owned.fence + 1 >= self.end
        return self.epoch == owned.epoch and (reached or abs(now_ms - self.at_ms) <= _GOOD_FOR_MS)


class Backlog:
    """Remembers, for partitions with timers that are due, how far they have to come."""

    def __init__(self, log_ends: LogEnds) -> None:
        self._log_ends = log_ends
        self._looks: dict[int, _Look] = {}

    async def look(self, due: Sequence[Due], owned: Mapping[int, Claimed], now_ms: int) -> None:
        """Ask for the ends that are not known, in one question; none when nothing is due.

        Raises:
            KafkaAway.
        """
        of: dict[int, set[Due]] = {}
        for timer in due:
            of.setdefault(timer.partition, set()).add(timer)
        self._looks = {p: it for p, it in self._looks.items() if p in of and it.still_good(owned[p], now_ms)}
        unknown = [partition for partition in of if partition not in self._looks]
        if unknown:
            ends = await self._log_ends(unknown)
            for partition in unknown:
                timers = frozenset(of[partition])
                self._looks[partition] = _Look(owned[partition].epoch, now_ms, ends[partition], timers)

    def ready(self, due: Sequence[Due], owned: Mapping[int, Claimed]) -> list[Due]:
        """The timers that may fire now. The ends that say so are used up: what is left is looked at anew."""
        reached: dict[int, frozenset[Due]] = {}
        for partition, look in list(self._looks.items()):
            held = owned.get(partition)
            if held is not None and held.epoch == look.epoch and held.fence + 1 >= look.end:
                reached[partition] = self._looks.pop(partition).timers
        return [timer for timer in due if timer in reached.get(timer.partition, ())]
