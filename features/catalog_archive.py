"""The archive of the catalogue: every facet that was loaded or came over its log, beside the event archive.

The same files as the events have (`features.archive`), in the folder `catalogue` of the event archive: by day of
receipt, written once, found complete or not at all, and passed over when they come again. The value is the record's as
it is on `shop.catalog.v1`; None is a tombstone.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import pyarrow as pa

from features import catalog
from features.aggregates import Value, item_values
from features.archive import ArchiveRow, EventArchive
from features.catalog import FacetRecord, Item
from infra.errors import BadInput
from infra.keys import record_key
from infra.places import Place, place_of

FOLDER: Final = "catalogue"


class Facet(NamedTuple):
    """A facet and when it was received, in ms; facets sort by time, then by their place on their log."""

    at_ms: int
    log: str
    partition: int
    offset: int
    record: FacetRecord


class CatalogArchive:
    """The catalogue's part of an archive. One process writes it at a time; any number read."""

    def __init__(self, archive: Place | Path) -> None:
        """`archive` is where the event archive lies."""
        self._rows = EventArchive(place_of(archive) / FOLDER)

    def write(self, facets: Iterable[Facet]) -> int:
        """Add facets; how many were new. They are safe when this returns."""
        return self._rows.write(map(_row, facets))

    def facets(self) -> list[Facet]:
        """All of them in the order of time; what no catalogue can hold is left out, as the worker leaves it out.

        None is earlier than the one before it on its log, whatever the clocks of those who sent them said.
        """
        return in_time(self._read())

    def reached(self, logs: Iterable[str]) -> dict[int, dict[str, int]]:
        """The last offset archived of these logs by partition, whether a facet or not."""
        reached: dict[int, dict[str, int]] = {}
        for log in logs:
            for partition, offset in self._rows.through(log).items():
                reached.setdefault(partition, {})[log] = offset
        return reached

    def _read(self) -> Iterator[Facet]:
        for batch in self._rows.scan(columns=("log", "partition", "offset", "received_at", "key", "value")):
            logs, partitions, offsets, times, keys, values = batch.columns
            columns = (logs, partitions, offsets, times.cast(pa.int64()), keys, values)
            for log, partition, offset, at_ms, key, value in zip(*(each.to_pylist() for each in columns), strict=True):
                try:
                    record = catalog.decode_record(key, value)
                except BadInput:
                    continue
                yield Facet(at_ms, log, partition, offset, record)


def _row(facet: Facet) -> ArchiveRow:
    key, value = catalog.key_of(facet.record).encode(), catalog.encode_record(facet.record)
    return ArchiveRow(
        facet.log, facet.partition, facet.offset, facet.at_ms, None, facet.record.tenant, None, None, key, value
    )


def in_time(facets: Iterable[Facet]) -> list[Facet]:
    """The facets, each once, in the order of time; those of one partition of a log stay in the log's order."""
    by_place = {facet[1:4]: facet for facet in facets}
    newest: dict[tuple[str, int], int] = {}
    timed = []
    for place in sorted(by_place):
        facet = by_place[place]
        at_ms = newest[place[:2]] = max(facet.at_ms, newest.get(place[:2], facet.at_ms))
        timed.append(facet._replace(at_ms=at_ms))
    return sorted(timed, key=lambda facet: facet[:4])


class Known(NamedTuple):
    """An item's features as they were known from a moment on: record key, ms, values of `item_content`."""

    key: str
    at_ms: int
    values: Mapping[str, Value]


def contents(facets: Iterable[Facet], before: Mapping[tuple[str, str], Item] | None = None) -> Iterator[Known]:
    """What was known of the items, a row for each moment that something changed.

    Args:
        facets: in the order of time.
        before: the items as they were before, by tenant and item id.
    """
    items: dict[tuple[str, str], Item | None] = dict(before or {})
    waiting: dict[tuple[str, str], int] = {}
    for at_ms, _, _, _, record in facets:
        key = (record.tenant, record.item_id)
        if waiting.get(key, at_ms) != at_ms:
            yield _known(key, waiting[key], items[key])
        waiting[key] = at_ms
        items[key] = catalog.apply(items.get(key), record)
    for key, at_ms in waiting.items():
        yield _known(key, at_ms, items[key])


def _known(key: tuple[str, str], at_ms: int, item: Item | None) -> Known:
    return Known(record_key(*key), at_ms, item_values(item or catalog.gone(key[1])))
