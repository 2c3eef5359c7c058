"""What a shop that is there says of itself: whether it is paused, whether its catalogue is all of what was loaded."""

import asyncio
from collections.abc import Mapping
from typing import Final

from features.archive import EventArchive
from features.catalog_archive import FOLDER
from features.catalog_store import CatalogStore
from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from streams.pausing import Pause, Pauses

_REDIS_TIMEOUT_MS: Final = 5000
_NAMED: Final = 3


def pause_now(settings: Settings) -> Pause | None:
    """The pause in force.

    Raises:
        RedisAway.
    """
    return asyncio.run(_pause(settings))


def catalogue_lacks(settings: Settings, log: str | None) -> str:
    """What the archive has of the catalogue and Redis has not, in words; empty: nothing. `log` is the one that a
    worker reads by itself.

    Raises:
        RedisAway, ArchiveAway, Refused.
    """
    reached: dict[int, dict[str, int]] = {}
    for (name, partition), spans in EventArchive(settings.archive_at / FOLDER).spans().items():
        if name != log:
            reached.setdefault(partition, {})[name] = max(last for _, last in spans)
    return _told(reached, asyncio.run(_known(settings, reached)))


async def _pause(settings: Settings) -> Pause | None:
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        return await Pauses(redis, address(settings.redis)).now()
    finally:
        await redis.aclose()


async def _known(settings: Settings, partitions: Mapping[int, object]) -> Mapping[int, Mapping[str, int]]:
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        with told_as_away(address(settings.redis)):
            return await CatalogStore(redis).logs(partitions)
    finally:
        await redis.aclose()


def _told(archived: Mapping[int, Mapping[str, int]], known: Mapping[int, Mapping[str, int]]) -> str:
    lacking = {
        log
        for partition, of_it in archived.items()
        for log, offset in of_it.items()
        if offset > known.get(partition, {}).get(log, -1)
    }
    if not lacking:
        return ""
    more = f" and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    named = ", ".join(sorted(lacking)[:_NAMED])
    return f"Redis lacks what the archive holds ({named}{more}): stop the workers, then `daogou catalogue rebuild`"
