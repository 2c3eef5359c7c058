"""Whether the catalogue in Redis is applied to the end of its log: a message says what items are called and cost.

Redis that comes back empty, or from the past, has its timers again before it has all items again. A timer that fired
then would say that nothing of its cart is for sale, and would be gone.
"""

from collections.abc import Mapping
from typing import Final

from features.catalog_store import CatalogStore
from infra.redis import told_as_away
from streams.marketing.backlog import LogEnds

# The end is asked for anew when it is so old: more is on the log by now.
_GOOD_FOR_MS: Final = 2000


class Stocked:
    """Compares where the catalogue is with where its log ended when it was asked last."""

    def __init__(self, catalogue: CatalogStore, log: str, partitions: int, where: str = "Redis") -> None:
        self._catalogue = catalogue
        self._log = log
        self._partitions = range(partitions)
        self._where = where
        self._asked_ms: int | None = None
        self._ends: Mapping[int, int] = {}
        self._after: dict[int, int] = {}

    @property
    def after(self) -> Mapping[int, int]:
        """The offset that each partition waited for when it was compared last."""
        return self._after

    async def look(self, log_ends: LogEnds, now_ms: int) -> None:
        """Ask for the ends, if that was not just done.

        Raises:
            KafkaAway.
        """
        if self._asked_ms is None or abs(now_ms - self._asked_ms) > _GOOD_FOR_MS:
            self._ends = await log_ends(self._partitions)
            self._asked_ms = now_ms

    async def behind(self) -> list[int]:
        """The partitions of the catalogue that lack something; what was read from them before must not be used.

        Raises:
            RedisAway.
        """
        with told_as_away(self._where):
            found = await self._catalogue.positions(self._partitions, self._log)
        self._after = {p: found[p][1] + 1 if p in found else 0 for p in self._partitions}
        return [partition for partition, end in self._ends.items() if self._after[partition] < end]
