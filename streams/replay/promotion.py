"""The worker's part of a promotion: a namespace follows the log until it is where live is, then it is served.

It runs beside the micro-batches of live. Only the very end, a few records and one Lua call, is done under their lock.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from infra import metrics
from infra.brokers import Bootstrap
from infra.clock import Clock
from infra.errors import KafkaAway, OwnershipLost, Refused
from infra.kafka import Follower, Record
from infra.kafka_admin import start_offsets
from infra.logs import logger
from infra.metrics import Metrics
from infra.topics import EVENTS
from streams.batch import PartitionBatch
from streams.interruption import step_done
from streams.marketing.timers import CART_ABANDONED
from streams.partition import Claimed
from streams.patience import patiently
from streams.pipeline import Pipeline
from streams.replay.code import code_of_rows, refuse_other
from streams.replay.lacking import lacks, refusal
from streams.replay.live import all_fences, served_before
from streams.replay.records import Records
from streams.replay.store import ReplayStore
from streams.replay.swapping import Swap, lapse, swap
from streams.replay.wishes import NAMESPACE_LACKS, OTHER_CODE, Wish, Wishes
from streams.standstill import Standstill

_log = logger(__name__)

_LOOK_S: Final = 0.5
_READ: Final = 2000
_READ_S: Final = 0.2
# So many records may be left for the lock; and so long may they take there.
_NEAR: Final = 200
_LOCKED_S: Final = 1.0
_AGAIN_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Followed:
    """The log that live follows."""

    bootstrap: Bootstrap
    log: str
    embedded: bool


class Promotion:
    """Carries out the wishes for the partitions that the pipeline owns.

    `replaying` makes the pipeline of a namespace; `swapped` hears of each partition that another is served from;
    `beside` holds them in a pause: a promotion that has begun begins anew after it.
    """

    def __init__(
        self,
        live: Pipeline,
        redis: Redis,
        followed: Followed,
        replaying: Callable[[str], Pipeline],
        swapped: Callable[[], None],
        measured: Metrics,
        clock: Clock,
        beside: Standstill | None = None,
    ) -> None:
        self._live = live
        self._redis = redis
        self._followed = followed
        self._replaying = replaying
        self._swapped = swapped
        self._metrics = measured
        self._clock = clock
        self._beside = beside or Standstill()
        self._wishes = Wishes(redis, live.store.where)
        self._code = code_of_rows()  # now: the files may be others before the process ends

    async def run(self) -> None:
        """Look for wishes until cancelled.

        Raises:
            Unavailable: Redis stayed away.
        """
        while True:
            await patiently("looking for promotions", self.turn)
            await step_done()
            await asyncio.sleep(_LOOK_S)

    async def turn(self) -> int:
        """Carry out what is wished for now, as far as it goes; how many partitions changed.

        Raises:
            RedisAway.
        """
        done = 0
        async with self._beside.passage():
            for partition, wish in (await self._wishes.of(list(self._live.owned))).items():
                if not wish.refused and not self._beside.held:
                    done += await self._carry_out(partition, wish)
        return done

    async def _carry_out(self, partition: int, wish: Wish) -> bool:
        try:
            if self._live.store.namespace(partition) == wish.namespace:
                await self._wishes.withdraw({partition: wish})
                return False
            return await _Chase(self, partition, wish).run()
        except Refused as error:
            _log.error("a promotion cannot be carried out", partition=partition, why=error.message)
            await self._wishes.refuse(partition, wish, error.message)
        except KafkaAway as error:
            _log.warning("a promotion waits for Kafka", partition=partition, why=error.message)
        except OwnershipLost as error:
            # The namespace, or the partition itself, is another's by now. The watch over what is live says which.
            _log.warning("a promotion begins anew", partition=partition, why=error.message)
        return False


class _Chase:
    """One partition of one namespace behind live."""

    def __init__(self, part_of: Promotion, partition: int, wish: Wish) -> None:
        self._of = part_of
        self._partition = partition
        self._wish = wish
        self._pipeline = part_of._replaying(wish.namespace)
        self._read: deque[Record] = deque()
        self._lapsed = 0

    async def run(self) -> bool:
        store = self._pipeline.store
        assert isinstance(store, ReplayStore), "only a namespace that is not live is promoted"
        await store.open([self._partition])
        claimed = await self._pipeline.claim([self._partition], self._of._followed.log)
        if OTHER_CODE not in self._wish.passing:
            await self._refuse_other_code()
        if NAMESPACE_LACKS not in self._wish.passing:
            await self._refuse_lacking()
        position = claimed[self._partition].fence + 1
        follower = await asyncio.to_thread(self._follow, position)
        try:
            while not self._of._beside.held and (live := self._live()) is not None and await self._wanted():
                await step_done()
                if self._fence > live.fence:
                    return False  # live has to come up first: meanwhile other partitions have their turn
                if live.fence - self._fence > _NEAR:
                    await self._follow_to(follower, live.fence, _READ_S)
                elif await self._swap(follower):
                    return True
                else:
                    await asyncio.sleep(_AGAIN_S)  # live went on meanwhile, or the brokers are away
            return False
        finally:
            await asyncio.to_thread(follower.close)

    async def _refuse_other_code(self) -> None:
        """What was served before is let be: upgraded workers had gone on with it, too."""
        of, where = self._of, self._of._live.store.where
        before = await served_before(of._redis, [self._partition], where)
        replay = await Records(of._redis, where).get(self._wish.namespace)
        if replay is not None and before[self._partition] != self._wish.namespace:
            refuse_other(self._wish.namespace, replay.code, of._code)

    async def _refuse_lacking(self) -> None:
        of, wanted = self._of, self._wish.namespace
        live, theirs = [
            (await all_fences(of._redis, {self._partition: name}, of._live.store.where))[self._partition]
            for name in (of._live.store.namespace(self._partition), wanted)
        ]
        lacking = lacks(live, theirs, of._followed.log)
        if lacking:
            raise refusal(wanted, lacking)

    def _follow(self, position: int) -> Follower:
        of = self._of._followed
        start = start_offsets(of.bootstrap, EVENTS)[self._partition]
        if position < start:
            raise Refused(
                f"{EVENTS} partition {self._partition}: the namespace {self._wish.namespace!r} has applied nothing "
                f"after offset {position - 1}, and the log begins at {start} now; replay from the archive into another "
                "name and promote that",
                code="range_gone",
            )
        return Follower(of.bootstrap, EVENTS, {self._partition: position}, embedded=of.embedded)

    async def _swap(self, follower: Follower) -> bool:
        """Under the lock of the micro-batches: the last records, then the swap. Whether it came to it."""
        of, loop = self._of, asyncio.get_running_loop()
        store, where = of._live.store, of._live.store.where
        old, new = store.namespace(self._partition), self._wish.namespace
        self._lapsed += await lapse(of._redis, where, self._partition, old, new, of._clock.now_ms())
        async with of._live.lock:
            await of._live.settle()
            live, until = self._live(), loop.time() + _LOCKED_S
            if live is None:
                return False
            while self._fence < live.fence and loop.time() < until:
                await self._follow_to(follower, live.fence, until - loop.time())
            if self._fence != live.fence:
                return False
            change = Swap(self._partition, live.epoch, old, self._wish, of._followed.log, live.fence)
            gone = await patiently("promoting", swap, of._redis, where, change, of._clock.now_ms())
            of._live.serve(self._partition, new)
        self._lapsed += gone
        if self._lapsed:
            of._metrics.count(metrics.TRIGGERS_DECIDED, self._lapsed, kind=CART_ABANDONED, reason="replay")
        _log.info(
            "another namespace is served",
            partition=self._partition,
            namespace=new,
            before=old,
            at=live.fence,
            timers_dropped=self._lapsed,
        )
        of._swapped()
        return True

    async def _follow_to(self, follower: Follower, fence: int, within_s: float) -> None:
        """Apply what is there up to live's fence; what lies beyond waits."""
        if not self._read:
            self._read.extend(await asyncio.to_thread(follower.read, _READ, within_s))
        records = []
        while self._read and self._read[0].offset <= fence:
            records.append(self._read.popleft())
        if records:
            await self._pipeline.apply([PartitionBatch(self._partition, self._of._followed.log, records)])

    async def _wanted(self) -> bool:
        return (await self._of._wishes.of([self._partition])).get(self._partition) == self._wish

    def _live(self) -> Claimed | None:
        return self._of._live.owned.get(self._partition)

    @property
    def _fence(self) -> int:
        return self._pipeline.owned[self._partition].fence
