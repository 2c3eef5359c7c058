"""The story of one micro-batch: decode, one read, pure folds and features, one scoring call, one Lua call a
partition.

The worker and the direct load run it alike; it knows neither Kafka nor Faust. Everything that it writes
follows from the records and the rows before them, so the same batch again, after a crash or a lost answer,
writes the same bytes.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from redis.asyncio import Redis

from features.online import OnlineWriter, PackedRow
from infra.clock import HOUR_MS
from infra.keys import LIVE, feast_project
from infra.redis import address
from infra.settings import Settings
from infra.topics import EVENTS
from streams.applied import Applied, Stages
from streams.bad_stop import BadStop
from streams.batch import PartitionBatch, Rules, Share, Visit, fold_visit, gather
from streams.commit import PartitionStore
from streams.derived import Derived
from streams.hearing import Hearing
from streams.partition import Claimed, PartitionWrite, RowRef
from streams.shadow import Shadow
from streams.shelving import made_anew, shelves_of
from streams.statistics import ItemStatistics, Known


@dataclass(slots=True)
class _Prepared:
    """What is to be written of these batches; kept until Redis has said that it is written."""

    batches: Sequence[PartitionBatch]
    writes: Sequence[PartitionWrite]
    counts: Applied
    written: bool = False

    def is_of(self, batches: Sequence[PartitionBatch]) -> bool:
        return len(batches) == len(self.batches) and all(a is b for a, b in zip(batches, self.batches, strict=True))


class Pipeline:
    """Applies batches to the partitions that it has claimed. `lock` is held by whatever writes them."""

    def __init__(self, store: PartitionStore, derived: Derived, rules: Rules) -> None:
        self.store = store
        self.derived = derived
        self.rules = rules
        self.lock = asyncio.Lock()
        self.owned: dict[int, Claimed] = {}
        self.log = ""
        self.bad_stop: BadStop | None = None
        self.shadow: Shadow | None = None
        self.statistics = ItemStatistics(store)
        self._hearing = Hearing(store)
        self._unanswered: _Prepared | None = None

    async def claim(self, partitions: Iterable[int], log: str, *, forget_logs: str = "") -> Mapping[int, Claimed]:
        """Become the owner of exactly these partitions; the last offset of `log` applied in each (-1: none).

        Raises:
            Refused: the namespace that is served changed just now.
            RedisAway.
        """
        async with self.lock:
            self.owned, self._unanswered = {}, None
            self.statistics.forget()
            self.owned = await self.store.claim(partitions, log, forget_logs=forget_logs)
            self.log = log
            return dict(self.owned)

    async def let_go(self) -> None:
        """Own nothing any more, once what is being written is written."""
        async with self.lock:
            self.owned, self._unanswered = {}, None
            self.statistics.forget()

    async def apply(self, batches: Sequence[PartitionBatch]) -> Applied:
        """Apply one batch of each partition: in each, all of it or nothing. What is not owned any more is
        left out.

        Raises:
            OwnershipLost: this process may not write any more, and must end.
            Refused: with these too many records would be bad, where `bad_stop` is set; nothing of them is written.
            RedisAway: the same call again continues, whatever had been written.
        """
        async with self.lock:
            if self._unanswered is None or not self._unanswered.is_of(batches):
                self._unanswered = await self._prepare(batches)
            counts = self._unanswered.counts
            stage = Stages(asyncio.get_running_loop().time, counts.seconds)
            await self._write_unanswered()
            stage.ended("commit")
            self._unanswered = None
            if self.bad_stop is not None:
                self.bad_stop.note(EVENTS, counts.taken, counts.reasons)
            return counts

    async def _prepare(self, batches: Sequence[PartitionBatch]) -> _Prepared:
        """Everything but the commit. When its answer is lost, the very same is sent again, not made anew from rows
        that may know of it already.
        """
        counts = Applied()
        stage = Stages(asyncio.get_running_loop().time, counts.seconds)
        shares = [
            gather(batch, self.owned[batch.partition].fence, self.rules.partitions, counts)
            for batch in batches
            if self._may_apply(batch)
        ]
        stage.ended("decode")
        visits = [(share, visit) for share in shares for visit in share.visits]
        items = {share.batch.partition: share.items for share in shares if share.items}
        mine = {share.batch.partition: self.owned[share.batch.partition] for share in shares}
        asked = self.store.questions(mine, self.log)
        rows, known, held = await self.statistics.read([visit.ref for _, visit in visits], items, asked)
        # Features go out before the commit, and would stay: none may be made of rows of a Redis that went back.
        self.store.compare(mine, self.log, held)
        await self._hearing.hear([share for share in shares if share.news], counts)
        stage.ended("read")
        for (share, visit), raw in zip(visits, rows, strict=True):
            if fold_visit(share, visit, raw, self.rules, counts):
                self._derive(share, visit, counts)
        stage.ended("fold")
        partials = await self._count(shares, known)
        stage.ended("count")
        if self.bad_stop is not None:
            await self.bad_stop.judge(EVENTS, self.log, counts.taken, counts.reasons)
        await self._write_features(shares)
        stage.ended("features")
        shelves = await shelves_of(shares, self.derived, self.log, counts, self.shadow)
        stage.ended("score")
        writes = [self._write(share, shelves, partials.get(share.batch.partition, {})) for share in shares]
        return _Prepared(batches, [write for write in writes if write.fence > write.expected], counts)

    async def _write_unanswered(self) -> None:
        """Commit what no answer came for yet: whoever compares fences does this first."""
        prepared = self._unanswered
        if prepared is None or prepared.written:
            return
        prepared.counts.outbox = await self.store.commit(prepared.writes)
        prepared.written = True
        for write in prepared.writes:
            self.owned[write.partition] = Claimed(write.epoch, write.fence)
            self.statistics.written(write)

    async def _count(self, shares: Sequence[Share], known: Mapping[int, Known]) -> dict[int, dict[str, bytes | None]]:
        """The statistics of items after these, by partition."""
        changed = {}
        for share in shares:
            if share.counted:
                before = known[share.batch.partition]
                await self.statistics.complete(share.batch.partition, before)
                changed[share.batch.partition] = self.statistics.applied(before, share.counted)
        return changed

    def _derive(self, share: Share, visit: Visit, counts: Applied) -> None:
        """Make the values while the row lies unpacked in the processor's caches, and let go of it: a batch of unpacked
        rows has hundreds of thousands of objects, which are slow to come back to. Scoring needs them all the same.
        """
        visit.online = self.derived.packed(visit.key, visit.row.state, share.batch.log, visit.offset)
        if visit.online is None:
            counts.failed["features"] = counts.failed.get("features", 0) + 1
        if self.derived.scorer is None:
            visit.unpacked = None

    async def _write_features(self, shares: Sequence[Share]) -> None:
        rows: dict[str, list[PackedRow]] = {}
        for share in shares:
            made = [visit.online for visit in share.changed if visit.online is not None]
            if made:
                rows.setdefault(self.store.namespace(share.batch.partition), []).extend(made)
        for namespace, changed in rows.items():
            await self.derived.write_features(changed, namespace)

    async def settle(self) -> None:
        """For whoever holds the lock: what no answer came for is written, so that `owned` says how far Redis is.

        Raises:
            OwnershipLost, RedisAway: as `apply`.
        """
        await self._write_unanswered()

    def serve(self, partition: int, namespace: str) -> None:
        """For whoever holds the lock: the partition is served from another namespace now, at the same fence."""
        self.store.serve(partition, namespace)
        self.statistics.forget()

    async def check(self) -> None:
        """Compare the fences of all owned partitions, busy or idle, with what this process left there.

        Raises:
            WentBack, Fenced: this process must end.
            RedisAway.
        """
        async with self.lock:
            await self._write_unanswered()
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
            await self._write_unanswered()
            writes, many = await made_anew(self.store, self.derived, self.owned, self.log, refs)
            await self.store.commit(writes)
            return many

    def _may_apply(self, batch: PartitionBatch) -> bool:
        owned = self.owned.get(batch.partition)
        return owned is not None and batch.log == self.log and batch.epoch in (None, owned.epoch)

    def _write(
        self, share: Share, shelves: Mapping[RowRef, bytes], partials: Mapping[str, bytes | None]
    ) -> PartitionWrite:
        owned, partition = self.owned[share.batch.partition], share.batch.partition
        keys = self.store.keys(partition)
        values = {}
        for visit in share.changed:
            values[keys.row(visit.ref.tenant, visit.ref.shopper_id)] = visit.packed
            shelf = shelves.get(visit.ref)
            if shelf is not None:
                values[keys.shelf(visit.ref.tenant, visit.ref.shopper_id)] = shelf
            link = visit.link
            if link is not None:
                values[keys.link(visit.ref.tenant, visit.ref.shopper_id)] = link
        return PartitionWrite(
            partition=partition,
            log=self.log,
            epoch=owned.epoch,
            expected=owned.fence,
            fence=share.fence,
            values=values,
            timers=share.timers,
            outbox=share.letters,
            partials=partials,
            watchers=share.watchers,
            heard=share.heard,
        )


def build_pipeline(settings: Settings, redis: Redis, store: PartitionStore | None = None) -> Pipeline:
    """The pipeline of what is live, or over another store, without a model: set `derived.scorer` when one is
    released.
    """
    where = address(settings.redis)
    online = OnlineWriter(redis, feast_project(LIVE))
    rules = Rules(
        partitions=settings.partition_count,
        lateness_ms=settings.lateness_h * HOUR_MS,
        cart_abandoned_ms=settings.cart_abandoned_s * 1000,
    )
    return Pipeline(
        store or PartitionStore(redis, where=where), Derived(online, settings.shelf_size, where=where), rules
    )
