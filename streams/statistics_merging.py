"""Merging the statistics of all partitions into one snapshot for everybody, and into Feast's store.

Feast has a row of each item that was counted and is in the catalogue. A tenant without a catalogue has rows of the
items in the snapshot, 200,000 at most. Rows of items that are neither are removed by the next pass.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from features.catalog_store import CatalogStore
from features.item_partials import decode
from features.item_snapshot import Merger, Snapshot, Totals, encode, snapshot_of, version_of
from features.item_statistics import rating_mean, values_now
from features.online import OnlineRow
from features.snapshot_store import SnapshotStore
from infra.keys import LIVE, ShardKeys, split_record_key
from infra.logs import logger
from infra.redis import told_as_away
from streams.statistics_rows import StatisticsRows

LOG: Final = "statistics"
"""The log that Feast's rows of items say that they come from: its offsets are the numbers of snapshots."""

_SCAN: Final = 1000

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class Merged:
    """What a pass has made of a tenant's items."""

    version: str
    number: int
    snapshot: Snapshot
    rows: int


async def reached(
    redis: Redis, partitions: int, where: str = "Redis"
) -> tuple[list[str], list[object], list[bytes | None]]:
    """The namespaces that are served, by partition, the fence of each, and how often the catalogue was written.

    Raises:
        RedisAway.
    """
    with told_as_away(where):
        pipe = redis.pipeline(transaction=False)
        for partition in range(partitions):
            pipe.get(ShardKeys(partition).live)
        namespaces = [LIVE if live is None else live.decode() for live in await pipe.execute()]
        pipe = redis.pipeline(transaction=False)
        for partition, namespace in enumerate(namespaces):
            pipe.hgetall(ShardKeys(partition, namespace).fence)
        fences = await pipe.execute()
        return namespaces, fences, await CatalogStore(redis).writes(range(partitions))


class Merging:
    """Merges when something was applied since the last time."""

    def __init__(self, redis: Redis, partitions: int, where: str = "Redis") -> None:
        self._redis = redis
        self._partitions = partitions
        self._where = where
        self._merged_at: object = None
        self._catalogue = CatalogStore(redis)
        self._rows: dict[str, StatisticsRows] = {}

    async def merge(self) -> dict[str, Merged]:
        """Merge once, if anything was applied since the last time; what was made, by tenant.

        Raises:
            RedisAway.
        """
        at = await reached(self._redis, self._partitions, self._where)
        namespaces = at[0]
        with told_as_away(self._where):
            if at == self._merged_at:
                return {}
            mergers: dict[str, Merger] = {}
            for partition, namespace in enumerate(namespaces):
                packed = await self._packed(ShardKeys(partition, namespace).partials)
                await asyncio.to_thread(_add, mergers, packed)
            made = {}
            for tenant, merger in sorted(mergers.items()):
                merged = await self._publish(tenant, merger, sorted(set(namespaces)))
                if merged is not None:
                    made[tenant] = merged
            self._merged_at = at
            return made

    async def _packed(self, key: str) -> dict[bytes, bytes]:
        return {item: raw async for item, raw in self._redis.hscan_iter(key, count=_SCAN)}

    async def _publish(self, tenant: str, merger: Merger, namespaces: Sequence[str]) -> Merged | None:
        made = await asyncio.to_thread(_made, merger)
        if made is None:
            return None
        totals, snapshot, raw = made
        version = version_of(raw)
        number = await SnapshotStore(self._redis, tenant).publish(version, raw)
        wanted = await self._catalogue.ids(tenant, range(self._partitions)) or snapshot.item_ids
        rows = await asyncio.to_thread(_rows, tenant, totals, number, frozenset(wanted))
        self._rows = {name: self._rows.get(name) or StatisticsRows(self._redis, name) for name in namespaces}
        written = 0
        for of_namespace in self._rows.values():
            written += await of_namespace.put(tenant, rows)
        _log.info("statistics of items were merged", items=len(totals.item_ids), bytes=len(raw), rows=written)
        return Merged(version, number, snapshot, written)


def _add(mergers: dict[str, Merger], packed: Mapping[bytes, bytes]) -> None:
    """The partials of one partition, in the order of their keys: sums of floats depend on it.

    One that cannot be read is left out: the pipeline begins it anew when the item is met again.
    """
    unreadable = 0
    for key in sorted(packed):
        try:
            tenant, item_id = split_record_key(key.decode())
            partial = decode(packed[key])
        except ValueError:  # msgspec's errors are such
            unreadable += 1
            continue
        merger = mergers.get(tenant)
        if merger is None:
            merger = mergers[tenant] = Merger()
        merger.add(item_id, partial)
    if unreadable:
        _log.error("statistics of items cannot be read and are left out", items=unreadable)


def _made(merger: Merger) -> tuple[Totals, Snapshot, bytes] | None:
    totals = merger.totals()
    if totals is None:
        return None
    snapshot = snapshot_of(totals, rating_mean(totals.stars, totals.ratings))
    return totals, snapshot, encode(snapshot)


def _rows(tenant: str, totals: Totals, number: int, wanted: frozenset[str]) -> list[OnlineRow]:
    found = values_now(tenant, totals)
    columns: Iterable[tuple[object, ...]] = zip(*(column.tolist() for column in found.values.values()), strict=True)
    rows = zip(totals.item_ids, found.keys, found.at_ms.tolist(), columns, strict=True)
    return [
        OnlineRow(key, at, dict(zip(found.values, row, strict=True)), LOG, number)  # type: ignore[arg-type]
        for item_id, key, at, row in rows
        if item_id in wanted
    ]
