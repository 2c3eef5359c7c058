"""`daogou replay status`: what replays there are, how far each is, how far behind live."""

import asyncio
from collections.abc import Mapping
from typing import Final

from redis.asyncio import Redis

from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from streams.holds import is_held
from streams.partition import RowRef
from streams.replay.code import code_of_rows, differs
from streams.replay.lacking import objection
from streams.replay.live import all_fences, served, served_before
from streams.replay.ranges import moment, spoken
from streams.replay.records import DONE, Records, Replay
from streams.replay.running import positions
from streams.replay.store import ReplayStore

_REDIS_TIMEOUT_MS: Final = 30_000
_SAMPLES: Final = 200
_SCAN: Final = 1000


def status(settings: Settings, *, memory: bool = False) -> list[str]:
    """Lines about each replay and about what is served.

    Raises:
        RedisAway.
    """
    return asyncio.run(_status(settings, memory))


async def _status(settings: Settings, memory: bool) -> list[str]:
    redis, where = await connect(settings.redis, _REDIS_TIMEOUT_MS), address(settings.redis)
    try:
        partitions = range(settings.partition_count)
        now, before = await served(redis, partitions, where), await served_before(redis, partitions, where)
        live = await all_fences(redis, now, where)
        lines = [f"live    {_names(now)}" + (f" (before: {_names(before)})" if any(before.values()) else "")]
        replays = await Records(redis, where).all()
        for replay in replays:
            lines += await _lines(redis, where, replay, now, live)
            if replay.state == DONE and replay.name not in now.values():
                why = await objection(settings, redis, replay)
                lines += [f"        promote would refuse it: {why}"] if why else []
            if memory:
                lines.append(f"        {await _memory(redis, where, replay.name)}")
        return lines if replays else [*lines, "no replay; make one: daogou replay run --into NAME"]
    finally:
        await redis.aclose()


async def _lines(
    redis: Redis, where: str, replay: Replay, now: Mapping[int, str], live: Mapping[int, Mapping[str, int]]
) -> list[str]:
    name, wanted = replay.name, replay.wanted
    done = sum((await positions(ReplayStore(redis, name, where=where), replay)).values())
    mine = sum(namespace == name for namespace in now.values())
    at = await all_fences(redis, dict.fromkeys(now, name), where)
    behind = sum(max(0, fence - at[p].get(log, -1)) for p, of_it in live.items() for log, fence in of_it.items())
    state = f"live in {mine} of {len(now)} partitions" if mine else await _state(redis, where, replay)
    span = f" from {wanted.since or 'the beginning'} to {wanted.until or 'its end'}"
    lines = [
        f"{name}: {state}, begun {moment(replay.started_ms)}"
        + (f", ended {moment(replay.ended_ms)}" if replay.ended_ms else ""),
        f"        source {wanted.source}{span}{f', code {wanted.code_label}' if wanted.code_label else ''}"
        + (", made by other code than this" if differs(replay.code, code_of_rows()) else ""),
        f"        {done:,} of {replay.total:,} records ({spoken(replay.windows)}); {behind:,} behind live",
        f"        applied {replay.applied:,}, duplicates {replay.duplicates:,}, late {replay.late:,}, "
        f"dead {replay.dead:,}{f' ({_reasons(replay)})' if replay.reasons else ''}",
    ]
    if replay.missing:
        lines.append(f"        {replay.missing:,} offsets of it are missing in the archive")
    if replay.counted < done:
        lines.append(
            f"        {done - replay.counted:,} more records were applied just before it was killed, uncounted"
        )
    if replay.state == DONE:
        lines.append(f"        lists by model {replay.model}" if replay.model else "        no lists")
    return lines


async def _state(redis: Redis, where: str, replay: Replay) -> str:
    """As its record says, but one that nobody carries on does not run."""
    if replay.state == DONE or await is_held(redis, replay.name, where):
        return replay.state
    return f"stopped while {replay.state} ({replay.stopped or 'its process was killed'}; the same command goes on)"


async def _memory(redis: Redis, where: str, name: str) -> str:
    """The bytes of some rows."""
    store, cursor, refs = ReplayStore(redis, name, where=where), 0, list[RowRef]()
    while len(refs) < _SAMPLES:
        cursor, found = await store.scan_rows(cursor, _SCAN)
        refs += found
        if not cursor:
            break
    pipe = redis.pipeline(transaction=False)
    for ref in refs[:_SAMPLES]:
        pipe.memory_usage(store.keys(ref.partition).row(ref.tenant, ref.shopper_id))
    with told_as_away(where):
        sizes = [size for size in await pipe.execute() if size]
    return f"{sum(sizes) / len(sizes):,.0f} bytes a row in Redis, by {len(sizes)} rows" if sizes else "no rows"


def _names(namespaces: Mapping[int, str]) -> str:
    names = sorted({name for name in namespaces.values() if name})
    if len(names) == 1:
        return names[0]
    return ", ".join(f"{name} in {sum(each == name for each in namespaces.values())} partitions" for name in names)


def _reasons(replay: Replay) -> str:
    return ", ".join(f"{code} {number:,}" for code, number in sorted(replay.reasons.items()))
