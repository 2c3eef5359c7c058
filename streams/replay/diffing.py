"""Comparing two namespaces: every row, every Feast row and every timer of both, byte for byte.

Redis is walked in batches; what stays in memory is 8 bytes of hash a shopper, in a Python set (about 80 bytes each),
because a walk may give a key twice while others write.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from redis.asyncio import Redis

from features.value_codec import entity_key
from infra.clock import clock_from
from infra.errors import NotFound
from infra.keys import LIVE, ShardKeys, feast_project, record_key, shoppers_pattern, split_shard_key
from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from streams.partition import RowRef
from streams.replay.diff_report import Diff, Entries, Example
from streams.replay.explaining import feature_parts, row_parts, settled_otherwise
from streams.replay.live import all_fences, served, served_before
from streams.replay.names import BEFORE
from streams.replay.records import Records

_REDIS_TIMEOUT_MS: Final = 30_000
_SCAN: Final = 2000
_AT_ONCE: Final = 500
_ENTITY: Final = "shopper"


@dataclass(frozen=True, slots=True)
class Side:
    """A namespace by partition (what is live need not be one), and whether timers of it have fired."""

    name: str
    namespaces: Mapping[int, str]
    fired: bool

    def keys(self, partition: int) -> ShardKeys:
        """The keys of a partition."""
        return ShardKeys(partition, self.namespaces[partition])

    def row(self, ref: RowRef) -> str:
        """The key of a shopper's row."""
        return self.keys(ref.partition).row(ref.tenant, ref.shopper_id)

    def features(self, ref: RowRef) -> bytes:
        """The key of a shopper's row in Feast's store."""
        project = feast_project(self.namespaces[ref.partition])
        return entity_key(_ENTITY, record_key(ref.tenant, ref.shopper_id), project)


def diff(settings: Settings, one: str, other: str, examples: int = 0) -> Diff:
    """Compare two namespaces; `live` is what is served, `before` what was served before.

    Raises:
        NotFound: there is no such namespace.
        RedisAway.
    """
    return asyncio.run(_diff(settings, one, other, examples))


async def _diff(settings: Settings, one: str, other: str, examples: int) -> Diff:
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        return await compare(settings, redis, one, other, examples)
    finally:
        await redis.aclose()


async def compare(settings: Settings, redis: Redis, one: str, other: str, examples: int = 0) -> Diff:
    """The same with a client that is there.

    Raises:
        NotFound, RedisAway: as `diff`.
    """
    where, now_ms = address(settings.redis), clock_from(settings.clock_shift_file).now_ms()
    left, right = [await _side(redis, settings, name) for name in (one, other)]
    found = Diff(one=one, other=other)
    with told_as_away(where):
        async for refs in _shoppers(redis, left):
            await _compare_shoppers(redis, left, right, refs, found, examples)
        async for refs in _shoppers(redis, right):
            found.only_other += await _missing(redis, left, refs)
        for partition in left.namespaces:
            await _compare_timers(redis, left, right, partition, now_ms, found)
            await _compare_statistics(redis, left, right, partition, found.statistics)
        await _compare_links(redis, left, right, found.links)
    fences = [await all_fences(redis, side.namespaces, where) for side in (left, right)]
    for partition, of_it in fences[0].items():
        for log in of_it.keys() & fences[1][partition].keys():
            found.positions[log] = found.positions.get(log, 0) + of_it[log] - fences[1][partition][log]
    found.positions = {log: ahead for log, ahead in sorted(found.positions.items()) if ahead}
    return found


async def _side(redis: Redis, settings: Settings, name: str) -> Side:
    where, partitions = address(settings.redis), range(settings.partition_count)
    now, before = await served(redis, partitions, where), await served_before(redis, partitions, where)
    if name == LIVE:
        return Side(name, now, fired=True)
    if name == BEFORE:
        if not all(before.values()):
            raise NotFound("nothing was served before what is live now", path="name", code="nothing_before")
        return Side(name, before, fired=True)
    await Records(redis, where).known(name)
    return Side(name, dict.fromkeys(partitions, name), fired=name in {*now.values(), *before.values()})


async def _shoppers(redis: Redis, side: Side, family: str = "row") -> AsyncIterator[list[RowRef]]:
    """All shoppers with a key of that family, some at a time, each once."""
    seen: set[int] = set()
    for namespace in sorted(set(side.namespaces.values())):
        keys = redis.scan_iter(shoppers_pattern(namespace, family), count=_SCAN)
        refs: list[RowRef] = []
        async for key in keys:
            digest = hash(key)
            if digest in seen:
                continue
            seen.add(digest)
            ref = RowRef(*split_shard_key(key.decode()))
            if side.namespaces.get(ref.partition) == namespace:
                refs.append(ref)
            if len(refs) == _AT_ONCE:
                yield refs
                refs = []
        if refs:
            yield refs


async def _compare_shoppers(
    redis: Redis, left: Side, right: Side, refs: Sequence[RowRef], found: Diff, examples: int
) -> None:
    pipe = redis.pipeline(transaction=False)
    for ref in refs:
        for side in (left, right):
            pipe.get(side.row(ref))
            pipe.execute_command("HGETALL", side.features(ref))
    answers = iter(await pipe.execute())
    for ref in refs:
        row, features, other_row, other_features = islice(answers, 4)
        if row is None:
            continue  # gone since the walk came by
        if other_row is None:
            found.only_one += 1
            continue
        found.both += 1
        what = _compare_one((row, features), (other_row, other_features), found)
        if what and len(found.examples) < examples:
            found.examples.append(Example(ref.partition, ref.tenant, ref.shopper_id, tuple(what)))


def _compare_one(one: tuple[bytes, Any], other: tuple[bytes, Any], found: Diff) -> list[str]:
    """The parts in which one shopper differs."""
    parts = []
    if one[0] == other[0]:
        found.rows_equal += 1
    elif settled_otherwise(one[0], other[0]):
        found.rows_settled_otherwise += 1
    else:
        found.rows_different += 1
        parts += row_parts(one[0], other[0])
    of_features = feature_parts(one[1], other[1])
    found.features_equal += not of_features
    found.features_different += bool(of_features)
    for name, differences in (*parts, *of_features):
        found.change(name, differences)
    return [name for name, _ in (*parts, *of_features)]


async def _missing(redis: Redis, side: Side, refs: Sequence[RowRef]) -> int:
    pipe = redis.pipeline(transaction=False)
    for ref in refs:
        pipe.exists(side.row(ref))
    return sum(not there for there in await pipe.execute())


async def _compare_timers(redis: Redis, left: Side, right: Side, partition: int, now_ms: int, found: Diff) -> None:
    timers = found.timers
    for one, other, mine in ((left, right, True), (right, left, False)):
        async for chunk in _timers(redis, one.keys(partition).timers):
            scores = await _scores(redis, other.keys(partition).timers, chunk)
            for due, there in zip(chunk.values(), scores, strict=True):
                if there is None and due <= now_ms and other.fired:
                    timers.passed += 1
                elif there is None:
                    timers.only_one += mine
                    timers.only_other += not mine
                elif mine:
                    timers.equal += there == due
                    timers.different += there != due


async def _compare_statistics(redis: Redis, left: Side, right: Side, partition: int, found: Entries) -> None:
    for one, other, mine in ((left, right, True), (right, left, False)):
        async for chunk in _fields(redis, one.keys(partition).partials):
            pipe = redis.pipeline(transaction=False)
            pipe.execute_command("HMGET", other.keys(partition).partials, *chunk)
            [there] = await pipe.execute()
            _count(found, zip(chunk.values(), there, strict=True), mine)


async def _compare_links(redis: Redis, left: Side, right: Side, found: Entries) -> None:
    for one, other, mine in ((left, right, True), (right, left, False)):
        async for refs in _shoppers(redis, one, "link"):
            pipe = redis.pipeline(transaction=False)
            for ref in refs:
                for side in (one, other):
                    pipe.get(side.keys(ref.partition).link(ref.tenant, ref.shopper_id))
            answers = iter(await pipe.execute())
            # A link that was taken back is empty: as good as none.
            _count(found, ((here, there or None) for here, there in zip(answers, answers, strict=True) if here), mine)


def _count(found: Entries, pairs: Iterable[tuple[bytes, bytes | None]], mine: bool) -> None:
    """Count what is here and there; what both have is counted from one side alone."""
    for here, there in pairs:
        if there is None:
            found.only_one += mine
            found.only_other += not mine
        elif mine:
            found.equal += here == there
            found.different += here != there


async def _fields(redis: Redis, key: str) -> AsyncIterator[dict[bytes, bytes]]:
    chunk: dict[bytes, bytes] = {}
    async for field, value in redis.hscan_iter(key, count=_SCAN):
        chunk[field] = value
        if len(chunk) == _SCAN:
            yield chunk
            chunk = {}
    if chunk:
        yield chunk


async def _scores(redis: Redis, key: str, members: Iterable[bytes]) -> list[float | None]:
    pipe = redis.pipeline(transaction=False)
    pipe.execute_command("ZMSCORE", key, *members)
    [scores] = await pipe.execute()
    return [None if score is None else float(score) for score in scores]


async def _timers(redis: Redis, key: str) -> AsyncIterator[dict[bytes, float]]:
    chunk: dict[bytes, float] = {}
    async for member, due in redis.zscan_iter(key, count=_SCAN):
        chunk[member] = due
        if len(chunk) == _SCAN:
            yield chunk
            chunk = {}
    if chunk:
        yield chunk
