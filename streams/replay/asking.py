"""`daogou replay promote` and `rollback`: asks the workers, shows how far they are, and writes both down.

What was asked for and what became of it are records on `shop.commands.v1`; the same question has the same id.
"""

import asyncio
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final
from uuid import uuid4

import msgspec
from redis.asyncio import Redis

from infra.clock import Clock
from infra.errors import BadInput, NotFound, Refused
from infra.kafka import Outgoing, Producer
from infra.kafka_admin import log_id
from infra.keys import LIVE, owner, partition_of
from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from infra.topics import COMMANDS, EVENTS
from streams.holds import Hold
from streams.pausing import Pauses
from streams.progress import Phases
from streams.replay.lacking import refuse_in_part, refuse_lacking
from streams.replay.live import served, served_before
from streams.replay.names import held_as
from streams.replay.records import DONE, Records
from streams.replay.wishes import NAMESPACE_LACKS, Wish, Wishes, passed_over

_REDIS_TIMEOUT_MS: Final = 30_000
_LOOK_S: Final = 0.1

PROMOTE: Final = "replay_promote"
ROLLBACK: Final = "replay_rollback"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one question, and of what became of it: `asked`, `done`, or why not."""

    command: str
    command_id: str
    namespaces: dict[int, str]
    before: dict[int, str]
    state: str
    at_ms: int
    why: str = ""


def promote(
    settings: Settings, name: str, within_s: float, phases: Phases, clock: Clock, *, force: Sequence[str] = ()
) -> None:
    """Let a complete replay be served; `force` names the reasons against it that are passed over.

    Raises:
        BadInput: such a reason is not known, or the name is not a replay's.
        NotFound: there is no replay of that name.
        Refused: it is not complete, no worker runs, or it cannot be carried out (says why), or not in time.
        KafkaAway, RedisAway.
    """
    if name == LIVE:
        raise BadInput(
            f"{LIVE!r} is no replay but the namespace that a shop begins with: what was served before the last "
            "promotion comes back by `daogou replay rollback`",
            path="name",
            code="not_a_replay",
        )
    asyncio.run(_promote(settings, name, within_s, phases, clock, passed_over(force)))


def rollback(
    settings: Settings, within_s: float, phases: Phases, clock: Clock, *, force: Sequence[str] = ()
) -> list[str]:
    """Let be served what was before; the names of it.

    Raises:
        NotFound: nothing was served before.
        Refused, KafkaAway, RedisAway: as `promote`.
    """
    return asyncio.run(_rollback(settings, within_s, phases, clock, passed_over(force)))


async def _promote(
    settings: Settings, name: str, within_s: float, phases: Phases, clock: Clock, passing: tuple[str, ...]
) -> None:
    redis, where = await connect(settings.redis, _REDIS_TIMEOUT_MS), address(settings.redis)
    try:
        replay = await Records(redis, where).known(name)
        if replay.state != DONE:
            raise Refused(
                f"the replay {name!r} is not complete: run it to its end first (the same command goes on)",
                code="not_complete",
            )
        if NAMESPACE_LACKS not in passing:
            refuse_in_part(replay)
        asking = Asking(settings, redis, phases, clock)
        await asking.ask(PROMOTE, dict.fromkeys(range(settings.partition_count), name), within_s, passing)
    finally:
        await redis.aclose()


async def _rollback(
    settings: Settings, within_s: float, phases: Phases, clock: Clock, passing: tuple[str, ...]
) -> list[str]:
    redis, where = await connect(settings.redis, _REDIS_TIMEOUT_MS), address(settings.redis)
    try:
        before = await served_before(redis, range(settings.partition_count), where)
        wanted = {partition: name for partition, name in before.items() if name}
        if not wanted:
            raise NotFound("nothing was served before what is live now", path="name", code="nothing_before")
        await Asking(settings, redis, phases, clock).ask(ROLLBACK, wanted, within_s, passing)
        return sorted(set(wanted.values()))
    finally:
        await redis.aclose()


class Asking:
    """Asks the workers to serve other namespaces, and waits until they do."""

    def __init__(self, settings: Settings, redis: Redis, phases: Phases, clock: Clock) -> None:
        self._settings = settings
        self._redis = redis
        self._phases = phases
        self._clock = clock
        self._where = address(settings.redis)
        self._wishes = Wishes(redis, self._where)
        self._pauses = Pauses(redis, self._where)

    async def ask(
        self, command: str, wanted: Mapping[int, str], within_s: float, passing: tuple[str, ...] = ()
    ) -> None:
        """Ask for these namespaces, by partition; `passing` are reasons against them that are passed over.

        Raises:
            Refused, KafkaAway, RedisAway: as `promote`.
        """
        await self._refuse_without_worker()
        now = await served(self._redis, list(wanted), self._where)
        if all(now[partition] == name for partition, name in wanted.items()):
            self._phases.say("it is served already")
            return
        if NAMESPACE_LACKS not in passing:
            settings = self._settings
            log = await asyncio.to_thread(log_id, settings.brokers, EVENTS, settings.embedded_log)
            await refuse_lacking(settings, self._redis, wanted, log)
        digest = blake2b(repr((command, sorted(wanted.items()), sorted(now.items()))).encode(), digest_size=8)
        asked = Asked(
            command=command,
            command_id=f"{command}:{digest.hexdigest()}",
            namespaces=dict(wanted),
            before=now,
            state="asked",
            at_ms=self._clock.now_ms(),
        )
        wishes = {p: Wish(name, asked.command_id, passing=passing) for p, name in wanted.items() if now[p] != name}
        producer = Producer(self._settings.brokers, embedded=self._settings.embedded_kafka)
        await producer.start()
        try:
            await self._note(producer, asked)
            try:
                await self._carried_out(wishes, within_s)
            except Refused as error:
                await self._note(producer, msgspec.structs.replace(asked, state="not done", why=error.message))
                raise
            except asyncio.CancelledError:
                self._phases.say("given up: partitions that are not served from it yet will not be; ask again for them")
                await self._note(producer, msgspec.structs.replace(asked, state="not done", why="interrupted"))
                raise
            await self._note(producer, msgspec.structs.replace(asked, state="done"))
        finally:
            await asyncio.to_thread(producer.close)

    async def _carried_out(self, wishes: Mapping[int, Wish], within_s: float) -> None:
        await self._put(wishes)
        done = 0
        try:
            pause = await self._pauses.now()
            if pause is not None:
                self._phases.say(
                    f"the workers are paused {pause.told}: nothing is promoted before `daogou streams resume`, which "
                    f"this command waits for, {within_s:.0f} s at most"
                )
            with self._phases.phase("promoted", len(wishes), "partitions") as advance:
                async with asyncio.timeout(within_s):
                    while done < len(wishes):
                        await asyncio.sleep(_LOOK_S)
                        now = await served(self._redis, list(wishes), self._where)
                        before, done = done, sum(now[p] == wish.namespace for p, wish in wishes.items())
                        advance(done - before)
                        await self._refuse_with_reason(wishes)
        except TimeoutError:
            pause = await self._pauses.now()
            paused = "" if pause is None else f" (the workers are paused {pause.told}: daogou streams resume)"
            raise Refused(
                f"{done} of {len(wishes)} partitions are served from it after {within_s:.0f} s{paused}; the others are "
                "given up: ask again to complete it, or roll back",
                code="not_in_time",
            ) from None
        finally:
            await self._wishes.withdraw(wishes)

    async def _put(self, wishes: Mapping[int, Wish]) -> None:
        """Put the wishes while nobody drops the namespaces; who begins to drop one afterwards sees its wish."""
        names = sorted({wish.namespace for wish in wishes.values()})
        holds = [Hold(self._redis, held_as(name), uuid4().hex, alone=True, where=self._where) for name in names]
        try:
            for hold in holds:
                await hold.take()
            await self._wishes.put(wishes)
        finally:
            for hold in holds:
                await hold.release()

    async def _refuse_with_reason(self, wishes: Mapping[int, Wish]) -> None:
        for partition, wish in (await self._wishes.of(list(wishes))).items():
            if wish.refused and wish.command_id == wishes[partition].command_id:
                await self._wishes.withdraw({partition: wish})
                raise Refused(f"partition {partition}: {wish.refused}", code="not_promoted")

    async def _refuse_without_worker(self) -> None:
        pipe = self._redis.pipeline(transaction=False)
        pipe.zrange(owner(LIVE), 0, -1)
        with told_as_away(self._where):
            [holders] = await pipe.execute()
        if not any(holder.startswith(b"shared:") for holder in holders):
            raise Refused(
                "no worker runs, and only the worker that owns a partition can change what it serves: start `daogou "
                "worker` (or `daogou up`), then ask again",
                code="no_worker",
            )

    async def _note(self, producer: Producer, asked: Asked) -> None:
        partition = partition_of(asked.command_id, self._settings.partition_count)
        await producer.send(Outgoing(COMMANDS, partition, asked.command_id, msgspec.json.encode(asked)))
