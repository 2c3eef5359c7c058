"""Noting in the archive that a log begins to be applied, so that a replay can keep the order."""

import asyncio
from collections.abc import Mapping

from redis.asyncio import Redis

from features.archive_order import ArchiveOrder
from infra.errors import ArchiveAway, Refused
from infra.logs import logger, said
from infra.places import Place
from infra.settings import Settings
from streams.replay.live import live_fences

_log = logger(__name__)


async def note_begun(settings: Settings, redis: Redis, log: str, *, again: bool = False) -> None:
    """Note that `log` is applied from here on; `again`: also when it was begun before, but others went on since.

    An archive that cannot be written is said: the order is then guessed.

    Raises:
        RedisAway.
    """
    fences = await live_fences(redis, settings)
    try:
        await asyncio.to_thread(_note, settings.archive_at, log, fences, again)
    except (OSError, Refused, ArchiveAway) as error:
        why = said(error) if isinstance(error, OSError) else error.message
        _log.error("the order of logs could not be noted in the archive", log=log, why=why)


def _note(archive: Place, log: str, fences: Mapping[int, Mapping[str, int]], again: bool) -> None:
    order = ArchiveOrder(archive)
    if again or not order.knows(log):
        order.begin(log, fences)
