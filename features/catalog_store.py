"""The catalogue in Redis: one hash of items per catalogue partition, and the log position that it is at."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from redis.asyncio import Redis

from features import catalog
from features.catalog import FacetRecord, Item
from features.catalog_changes import Step, Telling
from features.catalog_news import CatalogNews
from features.events import encode
from infra import keys
from infra.errors import WentBack
from infra.logs import logger

_log = logger(__name__)

_NAMED: Final = 5  # of the items that cannot be read, in the log
_SCAN_COUNT: Final = 1000
_LOG: Final = "log:"  # before the id of a log, in the position

# Writes only if nobody wrote since the items were read, so that reading, merging and writing are one step;
# answers 1 if it wrote. KEYS[1] the position, KEYS[2] the changes that wait, KEYS[3…] the hashes of items. ARGV: log,
# offset, the count of writes when read ('' for none), how many changes follow; the changes; then (number of the hash,
# item id, packed item or '' if removed), repeated.
_WRITE: Final = """
if (redis.call('HGET', KEYS[1], 'writes') or '') ~= ARGV[3] then return 0 end
local told = tonumber(ARGV[4])
for i = 5, 4 + told do redis.call('RPUSH', KEYS[2], ARGV[i]) end
for i = 5 + told, #ARGV, 3 do
  local hash = KEYS[tonumber(ARGV[i])]
  if ARGV[i + 2] == '' then redis.call('HDEL', hash, ARGV[i + 1])
  else redis.call('HSET', hash, ARGV[i + 1], ARGV[i + 2]) end
end
redis.call('HSET', KEYS[1], 'log', ARGV[1], 'offset', ARGV[2], 'log:' .. ARGV[1], ARGV[2])
redis.call('HINCRBY', KEYS[1], 'writes', 1)
return 1
"""


def catalogue_went_back(partition: int, found: int, left: int) -> WentBack:
    """The error of who finds older items in Redis than those left there."""
    return WentBack(
        f"catalogue partition {partition}: Redis holds position {found}, this worker left {left}; start again to read "
        "on from it"
    )


class CatalogStore:
    """Writer and reader of the families `items` and `items_at`; what waits to be told of them is in `news`.

    A partition's position is kept for each log that wrote to it, so that a load without the broker does not
    make the worker go through Kafka's log again.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._write = redis.register_script(_WRITE)
        self.news = CatalogNews(redis)

    async def apply(
        self,
        partition: int,
        records: Sequence[FacetRecord],
        log: str,
        offset: int,
        *,
        at_ms: Mapping[str, int] = {},
        telling: Telling | None = None,
        after: int = -1,
    ) -> bool:
        """Put records of one partition, up to `offset` of `log`, into the items: all of them or none.

        `after` is an offset that the items are at least at already.

        With `telling`, what of it is told goes to the changes that wait, in the same step. `at_ms` is when the
        first of each tenant's records was written.

        False if the partition is at or beyond that offset already: nothing was done.

        Raises:
            WentBack: the items are not at `after`: a position would say that they have what they lack.
        """
        at = keys.items_at(partition)
        tenants = sorted({record.tenant for record in records})
        hashes = {tenant: keys.items(tenant, partition) for tenant in tenants}
        began = await self.news.began(at_ms)
        while True:
            reached, writes = await self._fields(at, f"{_LOG}{log}", "writes")
            if reached is not None and int(reached) >= offset:
                return False
            if int(-1 if reached is None else reached) < after:
                raise catalogue_went_back(partition, int(-1 if reached is None else reached), after)
            items = await self._items(hashes, records)
            steps = _steps(items, records)
            merged = items | {(step.tenant, step.item_id): step.after for step in steps}
            told = [] if telling is None else [encode(event) for event in telling.events(steps, began)]
            changed: list[bytes | str | int] = [*told]
            for (tenant, item_id), item in merged.items():
                packed = b"" if item is None else catalog.encode(item)
                changed += (tenants.index(tenant) + 3, item_id, packed)
            head = (log, offset, writes or b"", len(told))
            if await self._write([at, keys.changes(partition), *hashes.values()], [*head, *changed]):
                return True

    async def writes(self, partitions: Iterable[int]) -> list[bytes | None]:
        """How often the items of each partition were written; None: never."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition in partitions:
                pipe.hget(keys.items_at(partition), "writes")
            found: list[bytes | None] = await pipe.execute()
        return found

    async def positions(self, partitions: Iterable[int], log: str | None = None) -> dict[int, tuple[str, int]]:
        """(log, last offset applied) of each partition that has one: of the given log, else of the last."""
        wanted = list(partitions)
        field = "offset" if log is None else f"log:{log}"
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition in wanted:
                pipe.hmget(keys.items_at(partition), ["log", field])
            found: list[list[bytes | None]] = await pipe.execute()
        return {
            partition: (log or last.decode(), int(offset))
            for partition, (last, offset) in zip(wanted, found, strict=True)
            if last is not None and offset is not None
        }

    async def logs(self, partitions: Iterable[int]) -> dict[int, dict[str, int]]:
        """The last offset applied of every log that wrote to each partition."""
        wanted = list(partitions)
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition in wanted:
                pipe.hgetall(keys.items_at(partition))
            found: list[dict[bytes, bytes]] = await pipe.execute()
        return {
            partition: {
                name.decode().removeprefix(_LOG): int(offset)
                for name, offset in fields.items()
                if name.startswith(_LOG.encode())
            }
            for partition, fields in zip(wanted, found, strict=True)
        }

    async def replace(
        self,
        partition: int,
        tenants: Iterable[str],
        items: Mapping[tuple[str, str], Item],
        reached: Mapping[str, int],
        began: Mapping[str, int],
    ) -> None:
        """Put these items, by tenant and id, in the place of all that these tenants have in a partition, in one step.

        `reached` are the last offsets of the logs that the items come from, `began` when the catalogue of each tenant
        began, ms. Nobody else may write meanwhile, and nothing of it is told.
        """
        at = keys.items_at(partition)
        await self.news.began(began)
        async with self._redis.pipeline(transaction=True) as pipe:
            for tenant in tenants:
                pipe.delete(keys.items(tenant, partition))
            for (tenant, item_id), item in items.items():
                pipe.hset(keys.items(tenant, partition), mapping={item_id: catalog.encode(item)})
            for log, offset in reached.items():
                pipe.hset(at, mapping={"log": log, "offset": offset, f"{_LOG}{log}": offset})
            pipe.hincrby(at, "writes", 1)
            await pipe.execute()

    async def load(
        self,
        tenant: str,
        partitions: Iterable[int],
        log: str | None = None,
        *,
        unreadable: list[str] | None = None,
    ) -> tuple[dict[str, Item], dict[int, tuple[str, int]]]:
        """All items of a tenant in these partitions, and positions that they are at least at.

        The positions are read first: what is applied meanwhile is in the items and comes again on the log. An item
        that cannot be read is left out and told in the log; `unreadable` takes the ids of such.
        """
        wanted = list(partitions)
        positions = await self.positions(wanted, log)
        items: dict[str, Item] = {}
        lost: list[str] = [] if unreadable is None else unreadable
        for partition in wanted:
            async for item_id, packed in self._redis.hscan_iter(keys.items(tenant, partition), count=_SCAN_COUNT):
                named = item_id.decode(errors="replace")
                item = _readable(packed)
                if item is None:
                    lost.append(named)
                else:
                    items[named] = item
        _tell_unreadable(lost)
        return items, positions

    async def ids(self, tenant: str, partitions: Iterable[int]) -> set[str]:
        """The ids of all items of a tenant in these partitions."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition in partitions:
                pipe.hkeys(keys.items(tenant, partition))
            found: list[list[bytes]] = await pipe.execute()
        return {item_id.decode(errors="replace") for of_it in found for item_id in of_it}

    async def get(
        self, tenant: str, item_ids: Sequence[str], partitions: int, *, unreadable: list[str] | None = None
    ) -> dict[str, Item]:
        """Those of the items that there are, in a shop of so many partitions.

        Raises:
            msgspec.DecodeError: one cannot be read, and there is no `unreadable` to take its id.
        """
        of: dict[int, list[str]] = {}
        for item_id in item_ids:
            partition = keys.partition_of(keys.record_key(tenant, item_id), partitions)
            of.setdefault(partition, []).append(item_id)
        async with self._redis.pipeline(transaction=False) as pipe:
            for partition, ids in of.items():
                pipe.hmget(keys.items(tenant, partition), ids)
            found: list[list[bytes | None]] = await pipe.execute()
        read = catalog.decode if unreadable is None else _readable
        held = {
            item_id: read(packed)
            for ids, packs in zip(of.values(), found, strict=True)
            for item_id, packed in zip(ids, packs, strict=True)
            if packed is not None
        }
        if unreadable is not None:
            unreadable += [item_id for item_id, item in held.items() if item is None]
        return {item_id: item for item_id, item in held.items() if item is not None}

    async def _fields(self, key: str, *names: str) -> list[bytes | None]:
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.hmget(key, list(names))
            found: list[list[bytes | None]] = await pipe.execute()
        return found[0]

    async def _items(
        self, hashes: Mapping[str, str], records: Sequence[FacetRecord]
    ) -> dict[tuple[str, str], Item | None]:
        """The items that the records are about, as they stand."""
        wanted = {tenant: list(dict.fromkeys(r.item_id for r in records if r.tenant == tenant)) for tenant in hashes}
        async with self._redis.pipeline(transaction=False) as pipe:
            for tenant, ids in wanted.items():
                pipe.hmget(hashes[tenant], ids)
            found: list[list[bytes | None]] = await pipe.execute()
        held = {
            (tenant, item_id): packed
            for (tenant, ids), packs in zip(wanted.items(), found, strict=True)
            for item_id, packed in zip(ids, packs, strict=True)
        }
        items = {key: None if packed is None else _readable(packed) for key, packed in held.items()}
        _tell_unreadable([key[1] for key, packed in held.items() if packed is not None and items[key] is None])
        return items


def _readable(packed: bytes) -> Item | None:
    """The item; None for bytes that are none, from which nothing can be made but a new item."""
    try:
        return catalog.decode(packed)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _tell_unreadable(item_ids: Sequence[str]) -> None:
    if item_ids:
        _log.error(
            "items in Redis cannot be read and count as not there; `daogou catalogue rebuild` brings them back",
            code="item_unreadable",
            count=len(item_ids),
            first=list(item_ids[:_NAMED]),
        )


def _steps(items: Mapping[tuple[str, str], Item | None], records: Sequence[FacetRecord]) -> list[Step]:
    """What each record does to its item, which it finds as those before it left it."""
    now, steps = dict(items), []
    for record in records:
        key = (record.tenant, record.item_id)
        step = Step(*key, now[key], catalog.apply(now[key], record))
        steps.append(step)
        now[key] = step.after
    return steps
