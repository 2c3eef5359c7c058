"""The loop that fires timers: one that is due becomes a message, or a reason why there is none, exactly
once.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from features.catalog import Item
from features.catalog_store import CatalogStore
from features.messages import Trigger
from features.shoppers import State, decode_state
from infra import metrics
from infra.clock import Clock
from infra.errors import DaogouError, KafkaAway
from infra.kafka import Outgoing
from infra.keys import record_key
from infra.logs import logger, said
from infra.metrics import Metrics
from infra.redis import told_as_away
from infra.topics import TRIGGERS
from streams.draining import Drainer
from streams.marketing.backlog import Backlog, LogEnds
from streams.marketing.decision import cart_abandoned
from streams.marketing.sent import Sent
from streams.marketing.stocked import Stocked
from streams.marketing.timers import CART_ABANDONED, split_member
from streams.marketing.told import told
from streams.outbox import pack
from streams.partition import Due, PartitionFire, RowRef
from streams.patience import patiently
from streams.pipeline import Pipeline

_log = logger(__name__)

# Timers that one turn decides, of all partitions together: the micro-batches wait meanwhile.
PER_TURN: Final = 50
_TURN_S: Final = 0.25

_encoder = msgspec.json.Encoder()


class Firing:
    """Fires the timers of the partitions that the pipeline owns, once they are applied to the log's end."""

    def __init__(
        self,
        pipeline: Pipeline,
        catalogue: CatalogStore,
        drainer: Drainer,
        clock: Clock,
        log_ends: LogEnds,
        paused: Callable[[], bool] = lambda: False,
        stock: tuple[Stocked, LogEnds] | None = None,
        sent: Sent | None = None,
    ) -> None:
        """While `paused`, no timer fires, nor while `stock` (how far the catalogue is, and where its log ends) says
        that items may be missing, nor before `sent` knows what left already.
        """
        self._pipeline = pipeline
        self._catalogue = catalogue
        self._drainer = drainer
        self._clock = clock
        self._backlog = Backlog(log_ends)
        self._paused = paused
        self._stock = stock
        self._sent = sent
        self._answer_lost = False

    async def run(self, measured: Metrics) -> None:
        """Look every quarter of a second until cancelled; at once again while there is more.

        Raises:
            OwnershipLost: the process must end.
            Unavailable: Redis stayed away.
        """
        while True:
            decided = await patiently("firing timers", self.turn)
            for reason, number in decided.items():
                measured.count(metrics.TRIGGERS_DECIDED, number, kind=CART_ABANDONED, reason=reason)
            if decided:
                _log.info("messages decided", kind=CART_ABANDONED, decided=dict(decided))
            await asyncio.sleep(0 if decided.total() >= PER_TURN else _TURN_S)

    async def turn(self) -> Counter[str]:
        """Decide some of what is due now; how many by reason, `ok` for those that say something.

        Raises:
            OwnershipLost, RedisAway.
        """
        if self._paused():
            return Counter()
        if self._answer_lost:  # timers may have gone and left effects that the drainer has not heard of
            await self._drainer.look()
            self._answer_lost = False
        owned, now_ms = dict(self._pipeline.owned), self._clock.now_ms()
        due = await self._pipeline.store.due(list(owned), now_ms, PER_TURN)
        if not due:
            return Counter()
        try:
            await self._backlog.look(due, owned, now_ms)
            if self._stock is not None:
                await self._stock[0].look(self._stock[1], now_ms)
            if self._sent is not None:
                await self._sent.look({timer.partition: owned[timer.partition] for timer in due})
        except KafkaAway as error:
            _log.warning("messages wait: nobody says where the log ends, or what left", why=error.message)
            return Counter()
        async with self._pipeline.lock:
            if self._paused():
                return Counter()
            await self._pipeline.settle()  # a fence that Redis holds and nobody here knows of would look like another's
            ready = self._backlog.ready(due, self._pipeline.owned)[:PER_TURN]
            return await self._fire(ready, now_ms) if ready else Counter()

    async def _fire(self, timers: Sequence[Due], now_ms: int) -> Counter[str]:
        decisions = await self._decisions(timers, now_ms)
        if self._stock is not None and (behind := await self._stock[0].behind()):  # asked after the items were read
            _log.warning("messages wait for the catalogue", partitions=behind)
            return Counter()
        fires: dict[int, list[tuple[Due, bytes | None]]] = {}
        reasons: dict[int, list[str]] = {}
        for timer, decision in zip(timers, decisions, strict=True):
            said = isinstance(decision, Trigger)
            effect = pack(_record(timer.partition, decision)) if isinstance(decision, Trigger) else None
            fires.setdefault(timer.partition, []).append((timer, effect))
            reasons.setdefault(timer.partition, []).append("ok" if said else str(decision))
        owned = self._pipeline.owned
        self._answer_lost = True
        log, store = self._pipeline.log, self._pipeline.store
        fired = await store.fire(
            [PartitionFire(p, log, owned[p].epoch, owned[p].fence, its) for p, its in fires.items()]
        )
        self._answer_lost = False
        self._drainer.note({partition: it.outbox for partition, it in zip(fires, fired, strict=True)})
        decided: Counter[str] = Counter()
        for partition, it in zip(fires, fired, strict=True):
            decided.update(reason for reason, taken in zip(reasons[partition], it.taken, strict=True) if taken)
        return decided

    async def _decisions(self, timers: Sequence[Due], now_ms: int) -> list[Trigger | str]:
        """What becomes of each, by three reads: the rows, all items that lie in their carts, who was told before."""
        refs = [RowRef(timer.partition, *_whose(timer.member)) for timer in timers]
        rows = await self._pipeline.store.rows(refs)
        states = [_state(ref, raw) for ref, raw in zip(refs, rows, strict=True)]
        carts = [(ref.tenant, state.cart) for ref, state in zip(refs, states, strict=True) if state is not None]
        try:
            items = await self._items(carts)
        except DaogouError:
            raise
        except Exception as error:  # an item that cannot be read: only the messages that name it are lost
            _log.error("items could not be read; one cart at a time", why=said(error))
            items = None
        before = await told(self._pipeline.store, self._pipeline.rules.partitions, timers, rows)
        return [
            await self._decide(ref, state, (timer.due_ms, now_ms, told_ms), items)
            for ref, state, timer, told_ms in zip(refs, states, timers, before, strict=True)
        ]

    async def _decide(
        self,
        ref: RowRef,
        state: State | None,
        times: tuple[int, int, int | None],
        items: Mapping[str, Mapping[str, Item]] | None,
    ) -> Trigger | str:
        if state is None:
            return "failed"
        try:
            known = items if items is not None else await self._items([(ref.tenant, state.cart)])
            return cart_abandoned(ref.tenant, ref.shopper_id, state, known.get(ref.tenant, {}), *times)
        except DaogouError:
            raise
        except Exception as error:  # one timer that cannot be decided must not stop those behind it
            _log.error("a message could not be made", partition=ref.partition, why=said(error))
            return "failed"

    async def _items(self, carts: Sequence[tuple[str, Mapping[str, object]]]) -> dict[str, dict[str, Item]]:
        """Those of the items in these carts that there are, by tenant: one read each."""
        wanted: dict[str, dict[str, None]] = {}
        for tenant, cart in carts:
            wanted.setdefault(tenant, {}).update(dict.fromkeys(cart))
        partitions = self._pipeline.rules.partitions
        with told_as_away(self._pipeline.store.where):
            return {tenant: await self._catalogue.get(tenant, list(ids), partitions) for tenant, ids in wanted.items()}


def _state(ref: RowRef, raw: bytes | None) -> State | None:
    try:
        return State() if raw is None else decode_state(raw)
    except Exception as error:  # one row that cannot be read must not stop the timers behind it
        _log.error("a message could not be made", partition=ref.partition, why=said(error))
        return None


def _whose(member: str) -> tuple[str, str]:
    tenant, _, shopper_id = split_member(member)
    return tenant, shopper_id


def _record(partition: int, trigger: Trigger) -> Outgoing:
    key = record_key(trigger.tenant, trigger.shopper_id)
    return Outgoing(TRIGGERS, partition, key, _encoder.encode(trigger))
