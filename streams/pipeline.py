"""The story of one micro-batch: decode, one read, pure folds, features, one scoring call, one Lua call a
partition.

The worker and the direct load run it alike; it knows neither Kafka nor Faust. Everything that it writes
follows from the records and the rows before them, so the same batch again, after a crash or a lost answer,
writes the same bytes.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from redis.asyncio import Redis

from features import shoppers
from features.online import OnlineWriter
from infra.keys import LIVE, feast_project
from infra.redis import address
from infra.settings import Settings
from streams.batch import Applied, PartitionBatch, Rules, Share, fold_visit, gather
from streams.commit import Claimed, PartitionStore, PartitionWrite, RowRef
from streams.derived import Derived

_HOUR_MS: Final = 3_600_000


class Pipeline:
    """Applies batches to the partitions that it has claimed. `lock` is held by whatever writes them."""

    def __init__(self, store: PartitionStore, derived: Derived, rules: Rules) -> None:
        self.store = store
        self.derived = derived
        self.rules = rules
        self.lock = asyncio.Lock()
        self.owned: dict[int, Claimed] = {}
        self.log = ""

    async def claim(self, partitions: Iterable[int], log: str, *, forget_logs: str = "") -> Mapping[int, Claimed]:
        """Become the owner of exactly these partitions; the last offset of `log` applied in each (-1: none).

        Raises:
            Refused: another namespace is served.
            RedisAway.
        """
        async with self.lock:
            self.owned = {}
            self.owned = await self.store.claim(partitions, log, forget_logs=forget_logs)
            self.log = log
            return dict(self.owned)

    async def let_go(self) -> None:
        """Own nothing any more, once what is being written is written."""
        async with self.lock:
            self.owned = {}

    async def apply(self, batches: Sequence[PartitionBatch]) -> Applied:
        """Apply one batch of each partition: in each, all of it or nothing. What is not owned any more is
        left out.

        Raises:
            OwnershipLost: this process may not write any more, and must end.
            RedisAway: the same call again continues, whatever had been written.
        """
        async with self.lock:
            counts = Applied()
            shares = [
                gather(batch, self.owned[batch.partition].fence, self.rules.partitions, counts)
                for batch in batches
                if self._may_apply(batch)
            ]
            await self._fold(shares, counts)
            await self.derived.write_features(
                [
                    (visit.key, visit.row.state, share.batch.log, visit.offset)
                    for share in shares
                    for visit in share.changed
                ]
            )
            shelves = await self._score(shares, counts)
            writes = [self._write(share, shelves) for share in shares]
            moved = [write for write in writes if write.fence > write.expected]
            counts.outbox = await self.store.commit(moved)
            for write in moved:
                self.owned[write.partition] = Claimed(write.epoch, write.fence)
            return counts

    async def check(self) -> None:
        """Compare the fences of all owned partitions, busy or idle, with what this process left there.

        Raises:
            WentBack, Fenced: this process must end.
            RedisAway.
        """
        async with self.lock:
            held = self.owned.items()
            await self.store.commit([PartitionWrite(p, self.log, it.epoch, it.fence, it.fence) for p, it in held])

    async def rescore(self, refs: Sequence[RowRef]) -> int:
        """Make the shelves of these shoppers anew from their rows; how many were made.

        Raises:
            OwnershipLost, RedisAway: as `apply`.
        """
        async with self.lock:
            if self.derived.scorer is None:
                return 0
            mine = [ref for ref in refs if ref.partition in self.owned]
            states, known = [], []
            for ref, raw in zip(mine, await self.store.rows(mine), strict=True):
                state = None if raw is None else _readable(raw)
                if state is not None:
                    states.append(state)
                    known.append(ref)
            if not known:
                return 0
            offsets = [self.owned[ref.partition].fence for ref in known]
            shelves = await self.derived.shelves(states, self.log, offsets)
            await self.store.commit(self._shelf_writes(known, shelves))
            return len(known)

    def _may_apply(self, batch: PartitionBatch) -> bool:
        owned = self.owned.get(batch.partition)
        return owned is not None and batch.log == self.log and batch.epoch in (None, owned.epoch)

    async def _fold(self, shares: Sequence[Share], counts: Applied) -> None:
        visits = [(share, visit) for share in shares for visit in share.visits]
        rows = await self.store.rows([visit.ref for _, visit in visits])
        for (share, visit), raw in zip(visits, rows, strict=True):
            fold_visit(share, visit, raw, self.rules, counts)

    async def _score(self, shares: Sequence[Share], counts: Applied) -> dict[RowRef, bytes]:
        """The shelves of shoppers who are on the site now.

        Those of loaded history can wait, and are named.
        """
        if self.derived.scorer is None:
            return {}
        changed = [visit for share in shares for visit in share.changed]
        now = [visit for visit in changed if visit.live]
        counts.unscored = [visit.ref for visit in changed if not visit.live]
        counts.scored = len(now)
        if not now:
            return {}
        offsets = [visit.offset for visit in now]
        shelves = await self.derived.shelves([visit.row.state for visit in now], self.log, offsets)
        return dict(zip((visit.ref for visit in now), shelves, strict=True))

    def _write(self, share: Share, shelves: Mapping[RowRef, bytes]) -> PartitionWrite:
        owned, partition = self.owned[share.batch.partition], share.batch.partition
        keys = self.store.keys(partition)
        values = {}
        for visit in share.changed:
            values[keys.row(visit.ref.tenant, visit.ref.shopper_id)] = shoppers.encode(visit.row)
            shelf = shelves.get(visit.ref)
            if shelf is not None:
                values[keys.shelf(visit.ref.tenant, visit.ref.shopper_id)] = shelf
        return PartitionWrite(
            partition=partition,
            log=self.log,
            epoch=owned.epoch,
            expected=owned.fence,
            fence=share.fence,
            values=values,
            timers=share.timers,
            outbox=share.letters,
        )

    def _shelf_writes(self, refs: Sequence[RowRef], shelves: Sequence[bytes]) -> list[PartitionWrite]:
        """Writes that leave the fences where they are."""
        values: dict[int, dict[str, bytes]] = {}
        for ref, shelf in zip(refs, shelves, strict=True):
            key = self.store.keys(ref.partition).shelf(ref.tenant, ref.shopper_id)
            values.setdefault(ref.partition, {})[key] = shelf
        return [
            PartitionWrite(p, self.log, self.owned[p].epoch, self.owned[p].fence, self.owned[p].fence, shelves_of_p)
            for p, shelves_of_p in values.items()
        ]


def build_pipeline(settings: Settings, redis: Redis, *, namespace: str = LIVE) -> Pipeline:
    """The pipeline of a namespace, without a model: set `derived.scorer` when one is released."""
    where = address(settings.redis)
    online = OnlineWriter(redis, feast_project(namespace))
    rules = Rules(
        partitions=settings.partition_count,
        lateness_ms=settings.lateness_h * _HOUR_MS,
        cart_abandoned_ms=settings.cart_abandoned_s * 1000,
    )
    store = PartitionStore(redis, namespace, where=where)
    return Pipeline(store, Derived(online, settings.shelf_size, where=where), rules)


def _readable(raw: bytes) -> shoppers.State | None:
    try:
        return shoppers.decode_state(raw)
    except Exception:  # the events of such a shopper go to the dead letters; there is no list to make
        return None
