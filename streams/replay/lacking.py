"""What a namespace would lack if it were served: logs that cannot be followed any more, and that it has not applied.

The log that live follows is caught up with. A direct load is over, and so is the log of an embedded broker that has
ended: what a namespace has not applied of them it would never have.
"""

import asyncio
from collections.abc import Mapping

from redis.asyncio import Redis

from features.archive import EventArchive
from infra.errors import KafkaAway, NotFound, Refused
from infra.kafka_admin import log_id
from infra.redis import address
from infra.settings import Settings
from infra.topics import EVENTS
from streams.replay.live import all_fences, served
from streams.replay.records import Replay
from streams.replay.wishes import NAMESPACE_LACKS

# The last offset applied, by log.
Fences = Mapping[str, int]


def lacks(served_from: Fences, wanted: Fences, followed: str) -> dict[str, int]:
    """Offsets that one partition's namespace lacks of logs that live has applied, by log."""
    return {
        log: at - wanted.get(log, -1) for log, at in served_from.items() if log != followed and at > wanted.get(log, -1)
    }


def refusal(namespace: str, lacking: Mapping[str, int]) -> Refused:
    """Why such a namespace is not served."""
    what = ", ".join(f"{count:,} of {log}" for log, count in sorted(lacking.items()))
    return Refused(
        f"the namespace {namespace!r} lacks records that live has applied and that the topic does not hold ({what}): "
        "replay from the archive into another name and promote that, or promote it all the same "
        f"with --force {NAMESPACE_LACKS}",
        code=NAMESPACE_LACKS,
    )


def refuse_in_part(replay: Replay) -> None:
    """See that a replay went over all that its source had.

    Raises:
        Refused: it did not (`namespace_lacks`).
    """
    if replay.skipped:
        raise Refused(
            f"the replay {replay.name!r} does not begin at the beginning: {replay.skipped:,} records before it are not "
            "in its rows; promote it all the same "
            f"with --force {NAMESPACE_LACKS}",
            code=NAMESPACE_LACKS,
        )
    if replay.missing:
        raise Refused(
            f"the replay {replay.name!r} went over {replay.missing:,} offsets that the archive does not hold: their "
            "records are not in its rows. `daogou archive verify --against-log` names them and says whether Kafka has "
            "them still: bring the files back, or replay from Kafka, into another name. Markers of transactions take "
            "offsets, too: if they are all that is missing, or nothing better is to be had, promote it with "
            f"--force {NAMESPACE_LACKS}",
            code=NAMESPACE_LACKS,
        )


async def objection(settings: Settings, redis: Redis, replay: Replay) -> str:
    """What a promotion of this replay would be refused with; empty: with nothing of this kind.

    Raises:
        RedisAway.
    """
    try:
        refuse_in_part(replay)
        log = await asyncio.to_thread(log_id, settings.brokers, EVENTS, settings.embedded_log)
        await refuse_lacking(settings, redis, dict.fromkeys(range(settings.partition_count), replay.name), log)
    except Refused as error:
        return error.message
    except (KafkaAway, NotFound) as error:
        return f"whether anything is lacking cannot be said: {error.message}"
    return ""


async def refuse_lacking(settings: Settings, redis: Redis, wanted: Mapping[int, str], followed: str) -> None:
    """See that the namespaces that are to be served lack nothing, by the fences and by the archive.

    Raises:
        Refused: one does (`namespace_lacks`).
        RedisAway.
    """
    where = address(settings.redis)
    live = await all_fences(redis, await served(redis, list(wanted), where), where)
    theirs = await all_fences(redis, wanted, where)
    if settings.embedded_kafka:  # whose fences of ended logs are forgotten: the archive knows how far those went
        for log, partition, last in await asyncio.to_thread(_ended, settings, followed):
            if partition in wanted:
                live[partition][log] = max(last, live[partition].get(log, -1))
    total: dict[str, int] = {}
    for partition, of_it in live.items():
        for log, count in lacks(of_it, theirs[partition], followed).items():
            total[log] = total.get(log, 0) + count
    if total:
        raise refusal(", ".join(sorted(set(wanted.values()))), total)


def _ended(settings: Settings, followed: str) -> list[tuple[str, int, int]]:
    """(log, partition, last offset) of the embedded logs in the archive that have ended."""
    segments = EventArchive(settings.archive_at).segments()
    return [
        (one.log, one.partition, one.last)
        for one in segments
        if one.log.startswith("embedded-") and one.log != followed
    ]
