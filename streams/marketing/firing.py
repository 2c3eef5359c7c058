"""The loop that fires timers: one that is due becomes a message, or a reason why there is none, exactly
once.
"""

import asyncio
from collections import Counter
from typing import Final

import msgspec

from features.catalog_store import CatalogStore
from features.messages import Trigger
from features.shoppers import State, decode_state
from infra import metrics
from infra.clock import Clock
from infra.errors import DaogouError
from infra.kafka import Outgoing
from infra.keys import record_key
from infra.logs import logger
from infra.metrics import Metrics
from infra.redis import told_as_away
from infra.topics import TRIGGERS
from streams.commit import RowRef
from streams.draining import Drainer
from streams.marketing.decision import cart_abandoned
from streams.marketing.timers import CART_ABANDONED, split_member
from streams.outbox import pack
from streams.patience import patiently
from streams.pipeline import Pipeline

_log = logger(__name__)

# Timers of one partition that one turn looks at: the micro-batches wait meanwhile.
PER_TURN: Final = 50
_TURN_S: Final = 0.25

_encoder = msgspec.json.Encoder()


class Firing:
    """Fires the timers of the partitions that the pipeline owns."""

    def __init__(self, pipeline: Pipeline, catalogue: CatalogStore, drainer: Drainer, clock: Clock) -> None:
        self._pipeline = pipeline
        self._catalogue = catalogue
        self._drainer = drainer
        self._clock = clock

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
        """Decide what is due now, some of each partition; how many by reason, `ok` for those that say
        something.

        Raises:
            OwnershipLost, RedisAway.
        """
        decided: Counter[str] = Counter()
        async with self._pipeline.lock:
            now_ms = self._clock.now_ms()
            due = await self._pipeline.store.due(list(self._pipeline.owned), now_ms, PER_TURN)
            refs = [RowRef(partition, *_whose(name)) for partition, name, _ in due]
            rows = await self._pipeline.store.rows(refs)
            for (partition, name, due_ms), ref, raw in zip(due, refs, rows, strict=True):
                decision = await self._decide(ref, raw, due_ms, now_ms)
                effects = [pack(_record(partition, decision))] if isinstance(decision, Trigger) else []
                epoch = self._pipeline.owned[partition].epoch
                if await self._pipeline.store.fire(partition, epoch, {name: due_ms}, effects):
                    decided["ok" if effects else str(decision)] += 1
        if due:
            await self._drainer.look()
        return decided

    async def _decide(self, ref: RowRef, raw: bytes | None, due_ms: int, now_ms: int) -> Trigger | str:
        try:
            state = State() if raw is None else decode_state(raw)
            with told_as_away(self._pipeline.store.where):
                partitions = self._pipeline.rules.partitions
                items = await self._catalogue.get(ref.tenant, list(state.cart), partitions)
            return cart_abandoned(ref.tenant, ref.shopper_id, state, items, due_ms, now_ms)
        except DaogouError:
            raise
        except Exception:  # one timer that cannot be decided must not stop those behind it
            _log.exception("a message could not be made", partition=ref.partition)
            return "failed"


def _whose(member: str) -> tuple[str, str]:
    tenant, _, shopper_id = split_member(member)
    return tenant, shopper_id


def _record(partition: int, trigger: Trigger) -> Outgoing:
    key = record_key(trigger.tenant, trigger.shopper_id)
    return Outgoing(TRIGGERS, partition, key, _encoder.encode(trigger))
