"""The catalogue of a direct load: into the archive first, then into Redis, items and features alike."""

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final

from features.catalog import FacetRecord
from features.catalog_archive import CatalogArchive, Facet
from features.catalog_store import CatalogStore
from features.online import OnlineWriter
from infra.keys import partition_of, record_key
from streams.catalogue import write_contents

_FACETS_AT_ONCE: Final = 1000


class DirectCatalogue:
    """The facets of one load, each with its place on the load's log; `at_ms` is when they were received."""

    def __init__(self, log: str, records: Sequence[FacetRecord], partitions: int, at_ms: int) -> None:
        self._log = log
        self._at_ms = at_ms
        self._partitions = partitions
        self._shares: dict[int, list[FacetRecord]] = {}
        for record in records:
            partition = partition_of(record_key(record.tenant, record.item_id), partitions)
            self._shares.setdefault(partition, []).append(record)

    def archive(self, into: CatalogArchive) -> int:
        """Write what is not in the archive yet; how many facets that were."""
        return into.write(
            facet for partition, share in self._shares.items() for facet in self._facets(partition, 0, share)
        )

    async def apply(self, store: CatalogStore, online: OnlineWriter, advance: Callable[[int], Awaitable[None]]) -> None:
        """Write what is not in Redis yet; `advance` hears of facets, old and new."""
        reached = await store.positions(self._shares, self._log)
        for partition, share in sorted(self._shares.items()):
            done = reached.get(partition, ("", -1))[1]
            for first in range(0, len(share), _FACETS_AT_ONCE):
                facets = list(self._facets(partition, first, share[first : first + _FACETS_AT_ONCE]))
                last = facets[-1].offset
                if last > done:
                    # The features first: after a crash in between they come again.
                    await write_contents(store, online, facets, self._partitions)
                    records = [facet.record for facet in facets]
                    at_ms = dict.fromkeys((record.tenant for record in records), self._at_ms)
                    await store.apply(partition, records, self._log, last, at_ms=at_ms)
                await advance(len(facets))

    def _facets(self, partition: int, first: int, records: Sequence[FacetRecord]) -> Iterator[Facet]:
        for place, record in enumerate(records):
            yield Facet(self._at_ms, self._log, partition, first + place, record)
