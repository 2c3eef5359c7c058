"""Who watches an item, read from the index that each partition keeps; `streams.commit` writes it with the rows.

Cart and wish list say what is there now. Of those who looked at the item only the ones since a given time count: time
alone takes nobody out of the index.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from features.watching import INTERESTS, Interest
from streams.commit import PartitionStore


@dataclass(frozen=True, slots=True)
class Watching:
    """How many shoppers of one partition watch an item, by interest; the same shopper may have several."""

    partition: int
    cart: int
    wish: int
    seen: int


class Watchers:
    """Reads the index of the namespaces that are served."""

    def __init__(self, store: PartitionStore) -> None:
        self._store = store

    async def count(self, partitions: Sequence[int], tenant: str, item_id: str, since_ms: int) -> list[Watching]:
        """How many watch an item, in each partition.

        Raises:
            RedisAway.
        """
        await self._store.look(partitions)
        commands: list[tuple[str | int, ...]] = [
            ("ZCOUNT", self._key(p, tenant, interest, item_id), since_ms if interest == "seen" else "-inf", "+inf")
            for p in partitions
            for interest in INTERESTS
        ]
        _, found = await self._store.rows_and((), commands)
        counted = zip(*[iter(map(int, found))] * len(INTERESTS), strict=True)
        return [Watching(partition, *of_it) for partition, of_it in zip(partitions, counted, strict=True)]

    async def newest(
        self, partition: int, tenant: str, interest: Interest, item_id: str, since_ms: int, most: int
    ) -> list[tuple[str, int]]:
        """(shopper id, since when, ms) of those who watch an item, the newest first, at most so many.

        Raises:
            RedisAway.
        """
        key = self._key(partition, tenant, interest, item_id)
        command = ("ZREVRANGEBYSCORE", key, "+inf", since_ms, "WITHSCORES", "LIMIT", 0, most)
        _, [found] = await self._store.rows_and((), [command])
        flat = iter(found)
        return [(who.decode(), int(at)) for who, at in zip(flat, flat, strict=True)]

    def _key(self, partition: int, tenant: str, interest: Interest, item_id: str) -> str:
        return self._store.keys(partition).watchers(tenant, interest, item_id)
