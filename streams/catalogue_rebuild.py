"""The catalogue in Redis made anew: from the archive, and from the catalogue's log where there is a broker.

The log is compacted, so it is read from its start; what the archive has of it already counts once. Facets are applied
in the order of time, as they were received.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis

from features import catalog
from features.aggregates import ITEM_CONTENT
from features.catalog import Item
from features.catalog_archive import CatalogArchive, Facet, contents, in_time
from features.catalog_store import CatalogStore
from features.online import OnlineRow, OnlineWriter
from infra.errors import BadInput, KafkaAway, Refused
from infra.kafka import Follower
from infra.kafka_admin import end_offsets, log_id, start_offsets
from infra.keys import LIVE, feast_project, partition_of, record_key
from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from infra.topics import CATALOG
from streams.holds import Held, Hold
from streams.progress import Phases
from streams.replay.live import served

_REDIS_TIMEOUT_MS: Final = 30_000
_READ_AT_ONCE: Final = 5000
_SILENT_S: Final = 10.0
_ROWS_AT_ONCE: Final = 1000


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What the catalogue was made from, and how many items it has."""

    facets: int
    items: int


@dataclass(frozen=True, slots=True)
class _Read:
    """Facets in the order of time, and by partition how far each log was read."""

    facets: list[Facet]
    reached: Mapping[int, Mapping[str, int]]


def rebuild(settings: Settings, phases: Phases) -> Rebuilt:
    """Put the catalogue that archive and log tell of in the place of the one in Redis.

    Args:
        settings: with the address of Redis; without one of Kafka the archive alone is read.
        phases: who hears how far it is.

    Raises:
        Refused: a worker runs (`held`), or Redis holds facets that neither archive nor log has (`not_archived`):
            nothing was changed.
        KafkaAway: the log cannot be read to its end.
        RedisAway.
    """
    with phases.phase("facets read", 0, "facets") as advance:
        read = _read(settings)
        advance(len(read.facets))
    return asyncio.run(_write(settings, read, phases))


def _read(settings: Settings) -> _Read:
    archive = CatalogArchive(settings.archive_at)
    facets = archive.facets()
    reached = archive.reached(dict.fromkeys(facet.log for facet in facets))
    if settings.kafka:
        log = log_id(settings.brokers, CATALOG, settings.embedded_log)
        ends = end_offsets(settings.brokers, CATALOG)
        facets = in_time([*facets, *_on_the_log(settings, log, ends)])
        for partition, end in ends.items():
            if end > 0:
                reached.setdefault(partition, {})[log] = end - 1
    return _Read(facets, reached)


def _on_the_log(settings: Settings, log: str, ends: Mapping[int, int]) -> Iterator[Facet]:
    starts = start_offsets(settings.brokers, CATALOG)
    missing = {partition for partition, end in ends.items() if starts[partition] < end}
    follower = Follower(settings.brokers, CATALOG, starts, embedded=settings.embedded_kafka)
    try:
        while missing:
            records = follower.read(_READ_AT_ONCE, _SILENT_S)
            if not records:
                raise KafkaAway(f"{CATALOG} cannot be read to its end: nothing came for {_SILENT_S:.0f} s; try again")
            for one in records:
                if one.offset >= ends[one.partition] - 1:
                    missing.discard(one.partition)
                try:
                    record = catalog.decode_record(one.key, one.value)
                except BadInput:
                    continue  # the worker has put it among the dead letters
                yield Facet(one.timestamp, log, one.partition, one.offset, record)
    finally:
        follower.close()


async def _write(settings: Settings, read: _Read, phases: Phases) -> Rebuilt:
    where = address(settings.redis)
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        names = set((await served(redis, range(settings.partition_count), where)).values())
        shown = ", ".join(sorted(names))
        held = Held(Hold(redis, LIVE, uuid4().hex, alone=True, where=where, shown=shown))
        await held.take()
        try:
            with told_as_away(where):
                await _refuse_to_forget(CatalogStore(redis), read, settings.partition_count)
                return await _replace(settings, redis, read, phases, held)
        finally:
            await held.release()
    finally:
        await redis.aclose()


async def _refuse_to_forget(store: CatalogStore, read: _Read, partitions: int) -> None:
    """Whether all that Redis holds is known elsewhere."""
    for partition, logs in (await store.logs(range(partitions))).items():
        for log, offset in logs.items():
            if offset > read.reached.get(partition, {}).get(log, -1):
                raise Refused(
                    f"partition {partition} of the catalogue in Redis holds what neither the archive nor the log has "
                    f"({log}, up to {offset}): load its file again with --direct, which archives it; or remove the "
                    "catalogue from Redis first",
                    code="not_archived",
                )


async def _replace(settings: Settings, redis: Redis, read: _Read, phases: Phases, held: Held) -> Rebuilt:
    store, online = CatalogStore(redis), OnlineWriter(redis, feast_project(LIVE))
    partitions = settings.partition_count
    facets = [facet for facet in read.facets if facet.partition == _home(facet, partitions)]
    items: dict[tuple[str, str], Item | None] = {}
    last: dict[str, Facet] = {}
    for facet in facets:
        key = (facet.record.tenant, facet.record.item_id)
        items[key] = catalog.apply(items.get(key), facet.record)
        last[record_key(*key)] = facet
    newest = {row.key: row for row in contents(facets)}
    rows = [OnlineRow(*row, last[key].log, last[key].offset) for key, row in newest.items()]
    with phases.phase("catalogue", len(rows), "items") as advance:
        for begin in range(0, len(rows), _ROWS_AT_ONCE):
            await online.write(ITEM_CONTENT, rows[begin : begin + _ROWS_AT_ONCE])
            await held.renew()
        tenants = sorted({tenant for tenant, _ in items} | {settings.tenant})
        shares: dict[int, dict[tuple[str, str], Item]] = {partition: {} for partition in range(partitions)}
        for key, item in items.items():
            if item is not None:
                shares[partition_of(record_key(*key), partitions)][key] = item
        began: dict[str, int] = {}
        for facet in facets:
            began.setdefault(facet.record.tenant, facet.at_ms)  # they are in the order of time
        for partition, share in shares.items():
            await store.replace(partition, tenants, share, read.reached.get(partition, {}), began)
            advance(len(share))
            await held.renew()
    return Rebuilt(len(facets), sum(item is not None for item in items.values()))


def _home(facet: Facet, partitions: int) -> int:
    return partition_of(record_key(facet.record.tenant, facet.record.item_id), partitions)
