"""The offline feature log, made anew from the event archive by the same fold as the worker's.

It is not written beside the online values: it follows from the archive alone, so nothing is lost when a worker dies,
and the same archive gives the same log.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from features.aggregates import ITEM_CONTENT, ITEM_STATISTICS, SHOPPER_BEHAVIOUR
from features.archive import EventArchive
from features.catalog_archive import CatalogArchive, contents
from features.feature_log import FeatureLog, replaced
from features.history import Counts, History
from features.item_statistics import ItemCounter
from infra.places import Place


def build(archive_at: Place | Path, offline_dir: Path, lateness_ms: int, progress: Callable[[int], None]) -> Counts:
    """Fold the whole archive into a new build of the offline log, which then takes the place of the one in use.

    Args:
        archive_at: where the event archive lies.
        offline_dir: of the offline log, a folder of this machine, as Feast reads it.
        lateness_ms: how late an event may be, as the worker has it.
        progress: hears how many more events are done.
    """
    archive = EventArchive(archive_at)
    items = ItemCounter()
    told = 0

    def tell(done: int) -> None:
        nonlocal told
        progress(done - told)
        told = done

    with replaced(offline_dir) as folder:
        with FeatureLog(folder, SHOPPER_BEHAVIOUR) as behaviour:
            history = History(behaviour, items, lateness_ms)
            history.take(_in_order(archive), tell)
        with FeatureLog(folder, ITEM_STATISTICS) as statistics:
            snapshots = items.snapshots()
            if snapshots.keys:
                at_us = snapshots.at_ms * 1000
                statistics.add_columns([snapshots.keys, at_us, at_us, *snapshots.values.values()])
        with FeatureLog(folder, ITEM_CONTENT) as content:
            for key, at_ms, values in contents(CatalogArchive(archive_at).facets()):
                content.add(key, at_ms, at_ms * 1000, values)
    tell(history.counts.events)
    history.counts.item_rows = len(snapshots.keys)
    return history.counts


def _in_order(archive: EventArchive) -> Iterator[tuple[bytes, int]]:
    """The log's bytes, each with its time of receipt: one log after the other, the one first that began first."""
    begun: dict[str, int] = {}
    for batch in archive.scan(columns=("log", "received_at")):
        logs, times = (column.to_pylist() for column in batch.columns)
        for log, at in zip(logs, times, strict=True):
            begun[log] = min(begun.get(log, at), at)
    for log in sorted(begun, key=lambda name: (begun[name], name)):
        for batch in archive.scan(columns=("value", "received_at"), log=log):
            values, times = batch.columns
            both = zip(values.to_pylist(), times.cast(pa.int64()).to_pylist(), strict=True)
            yield from ((value, at_ms) for value, at_ms in both if value is not None)
