"""`daogou streams pause`, `resume` and `status`: asks all workers of the shop, and writes down that it was asked.

The records are on `shop.commands.v1`; a pause and its end each have one id, however often they are sent. The pause
itself is a key in Redis: it holds while Kafka is away, and its record is then written by the next `pause` or `resume`.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from redis.asyncio import Redis

from features.catalog_store import CatalogStore
from infra.clock import Clock
from infra.errors import KafkaAway, Refused
from infra.kafka import Outgoing, Producer
from infra.kafka_admin import end_offsets, log_id
from infra.keys import partition_of
from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from infra.topics import CATALOG, COMMANDS
from streams.pausing import Pause, Pauses
from streams.supervisor import records_behind

_REDIS_TIMEOUT_MS: Final = 30_000
_LOOK_S: Final = 0.1

Say = Callable[[str], None]


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """The record of a pause or of its end."""

    command: str
    command_id: str
    by: str
    why: str
    at_ms: int
    state: str = "done"


def pause(settings: Settings, by: str, why: str, within_s: float, clock: Clock, say: Say) -> None:
    """Pause all workers, and wait until they stand still; with Kafka away it holds, and says that it is not noted.

    Raises:
        Refused: some are still at work after `within_s` seconds (`not_in_time`); the pause holds all the same.
        RedisAway.
    """
    asyncio.run(_pause(settings, Pause(clock.now_ms(), by, why), within_s, say))


def resume(settings: Settings, by: str, clock: Clock, say: Say) -> None:
    """Let them go on.

    Raises:
        KafkaAway, RedisAway.
    """
    asyncio.run(_resume(settings, by, clock.now_ms(), say))


def status(settings: Settings, say: Say) -> None:
    """Whether they are paused, how many there are, how far behind.

    Raises:
        KafkaAway, RedisAway.
    """
    asyncio.run(_status(settings, say))
    say(f"behind   {records_behind(settings):,} events, {facets_behind(settings):,} records of the catalogue")


async def _pause(settings: Settings, wanted: Pause, within_s: float, say: Say) -> None:
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        pauses = Pauses(redis, address(settings.redis))
        found = await pauses.begin(wanted)
        if found != wanted:
            kept = "; that reason stays: resume first to give another one" if wanted.why not in ("", found.why) else ""
            say(f"paused already {found.told}{kept}")
        # Also of one that is in force already: whoever began it may have been killed before it was written down.
        try:
            await _note(settings, _begun(found))
        except KafkaAway as error:
            say(
                f"paused; the command could not be written on the log yet ({error.message}). It is written by the next "
                "`daogou streams pause` or `resume`, under the same id"
            )
        await _until_at_rest(pauses, found, within_s, say)
    finally:
        await redis.aclose()


async def _until_at_rest(pauses: Pauses, found: Pause, within_s: float, say: Say) -> None:
    there = rest = 0
    try:
        async with asyncio.timeout(within_s):
            while True:
                there, rest = await pauses.workers(found)
                if rest >= there:
                    break
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise Refused(
            f"the pause holds, but {there - rest} of {there} workers are still at work after {within_s:g} s; each "
            "stops behind its present batch or merge of statistics: look again with `daogou streams status`",
            code="not_in_time",
        ) from None
    say(f"paused   {there} workers stand still; go on: daogou streams resume")


async def _resume(settings: Settings, by: str, now_ms: int, say: Say) -> None:
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        pauses = Pauses(redis, address(settings.redis))
        found = await pauses.now()
        if found is None:
            say("not paused")
            return
        # Written down first: a resume that is killed in between is asked for again, with the same id. The pause goes
        # before it once more: it was not written if Kafka was away then.
        command_id = found.command_id.replace("pause:", "resume:")
        try:
            await _note(settings, _begun(found), _told("resume", command_id, by, "", now_ms))
        except KafkaAway as error:
            raise KafkaAway(f"still paused {found.told}: {error.message}") from None
        await pauses.end(found)
        say(f"resumed; it was paused {found.told}")
    finally:
        await redis.aclose()


async def _status(settings: Settings, say: Say) -> None:
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        await _say_status(redis, address(settings.redis), say)
    finally:
        await redis.aclose()


async def _say_status(redis: Redis, where: str, say: Say) -> None:
    pauses = Pauses(redis, where)
    found = await pauses.now()
    there, rest = await pauses.workers(found)
    if found is None:
        say("state    not paused")
        say(f"workers  {there}")
    else:
        say(f"state    paused {found.told}")
        say(f"workers  {there}, of which {rest} stand still")


def _begun(found: Pause) -> Told:
    return _told("pause", found.command_id, found.by, found.why, found.since_ms)


def _told(command: str, command_id: str, by: str, why: str, at_ms: int) -> Told:
    return Told(command=command, command_id=command_id, by=by, why=why, at_ms=at_ms)


async def _note(settings: Settings, *records: Told) -> None:
    producer = Producer(settings.brokers, embedded=settings.embedded_kafka)
    await producer.start()
    try:
        for told in records:
            partition = partition_of(told.command_id, settings.partition_count)
            await producer.send(Outgoing(COMMANDS, partition, told.command_id, msgspec.json.encode(told)))
    finally:
        await asyncio.to_thread(producer.close)


def facets_behind(settings: Settings) -> int:
    """Records on the catalogue's log that no worker has applied yet.

    Raises:
        KafkaAway, RedisAway.
    """
    ends = end_offsets(settings.brokers, CATALOG)
    log = log_id(settings.brokers, CATALOG, settings.embedded_log)
    applied = asyncio.run(_facets_applied(settings, ends, log))
    return sum(max(0, end - 1 - applied.get(partition, -1)) for partition, end in ends.items())


async def _facets_applied(settings: Settings, partitions: Iterable[int], log: str) -> dict[int, int]:
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        with told_as_away(address(settings.redis)):
            found = await CatalogStore(redis).positions(partitions, log)
        return {partition: offset for partition, (_, offset) in found.items()}
    finally:
        await redis.aclose()
