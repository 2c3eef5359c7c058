"""A shop that runs while namespaces change: a log, a live pipeline that follows it, a part that promotes."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from redis.asyncio import Redis

from features.online import OnlineWriter
from infra.clock import ManualClock
from infra.kafka import Follower, Outgoing
from infra.keys import LIVE, ShardKeys, feast_project
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import EVENTS
from streams.applied import Applied
from streams.batch import PartitionBatch
from streams.dead_letters import LogRecord
from streams.derived import Derived
from streams.interruption import step_done
from streams.pipeline import Pipeline, build_pipeline
from streams.replay.promotion import Followed, Promotion
from streams.replay.running import replay_pipeline
from streams.replay.wishes import Wish, Wishes
from tests.bulk import BulkProducer
from tests.streams.replay.past import made
from tests.streams.shop import LOG, PARTITIONS


class RunningShop:
    """Live follows the log in small batches of random size; `promotion` is the worker's part."""

    def __init__(
        self, settings: Settings, redis: Redis, bootstrap: str, seed: int = 1, derived: type[Derived] = Derived
    ) -> None:
        """`derived` is what the code makes of a row: another version of it has other features."""
        self._settings = settings
        self._redis = redis
        self._derived = derived(OnlineWriter(redis, feast_project(LIVE)), settings.shelf_size)
        self._bootstrap = bootstrap
        self._rng = random.Random(seed)
        self._producer = BulkProducer(bootstrap, embedded=True)
        self.pipeline = build_pipeline(settings, redis)
        self.pipeline.derived = self._derived
        self.clock = ManualClock(0)
        self.counts = Applied()
        self.ends = dict.fromkeys(range(PARTITIONS), -1)
        self.swaps = 0
        self.made = 0
        self._following: asyncio.Task[None]
        self.measured = Metrics()
        self.wishes = Wishes(redis, "Redis")
        self.promotion = Promotion(
            self.pipeline,
            redis,
            Followed(bootstrap, LOG, embedded=True),
            self.replaying,
            self._swapped,
            self.measured,
            self.clock,
        )

    def replaying(self, name: str) -> Pipeline:
        """The pipeline of a namespace, of the same code."""
        pipeline = replay_pipeline(self._settings, self._redis, name)
        pipeline.derived = self._derived
        return pipeline

    def produce(self, seed: int, count: int) -> None:
        """Put made events on the log."""
        records = [
            Outgoing(EVENTS, partition, (one.key or b"").decode(), one.value)
            for partition, of_it in made(seed, count, start=self.made).records.items()
            for one in of_it
        ]
        self.made += count
        self._rng.shuffle(records)
        for (_, partition), last in self._producer.send_all(records).items():
            self.ends[partition] = max(last, self.ends[partition])

    def produce_large(self, partition: int) -> None:
        """Put a record of 900 kB on the log that holds no event."""
        large = Outgoing(EVENTS, partition, "x", b"x" * 900_000)
        self.ends[partition] = self._producer.send_all([large])[EVENTS, partition]

    async def replay(self, name: str, through: int | None = None) -> None:
        """Fold the log into a namespace, up to an offset of each partition, and let nothing else of it run."""
        pipeline = self.replaying(name)
        await pipeline.store.open(range(PARTITIONS))  # type: ignore[attr-defined]
        fences = await pipeline.claim(range(PARTITIONS), LOG)
        ends = {p: end if through is None else min(through, end) for p, end in self.ends.items()}
        for partition, records in (await self._read({p: it.fence + 1 for p, it in fences.items()}, ends)).items():
            await pipeline.apply([PartitionBatch(partition, LOG, records)])

    async def wish(self, name: str, partitions: Sequence[int] = range(PARTITIONS)) -> None:
        """Ask for a namespace."""
        await self.wishes.put({partition: Wish(name, f"ask-{name}") for partition in partitions})

    async def promoted(self, partitions: int = PARTITIONS) -> None:
        """Carry wishes out until so many partitions have changed."""
        until = self.swaps + partitions
        while self.swaps < until:
            await self.promotion.turn()

    async def caught_up(self) -> None:
        """Wait until live has applied the log to its end."""
        while any(self.pipeline.owned[p].fence < end for p, end in self.ends.items()):
            if self._following.done():
                self._following.result()
            await asyncio.sleep(0.001)

    async def served(self) -> set[str]:
        """The namespaces that are served."""
        found = [await self._redis.get(ShardKeys(partition).live) for partition in range(PARTITIONS)]
        return {"live" if raw is None else raw.decode() for raw in found}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Live follows the log."""
        fences = await self.pipeline.claim(range(PARTITIONS), LOG)
        task = self._following = asyncio.create_task(self._follow({p: it.fence + 1 for p, it in fences.items()}))
        try:
            yield
            await self.caught_up()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    async def _follow(self, positions: dict[int, int]) -> None:
        follower = Follower(self._bootstrap, EVENTS, positions, embedded=True)
        try:
            while True:
                await step_done()
                records = await asyncio.to_thread(follower.read, self._rng.randrange(1, 40), 0.01)
                shares: dict[int, list[LogRecord]] = {}
                for record in records:
                    shares.setdefault(record.partition, []).append(record)
                self.counts.add(
                    await self.pipeline.apply([PartitionBatch(p, LOG, of_it) for p, of_it in shares.items()])
                )
        finally:
            await asyncio.to_thread(follower.close)

    async def _read(self, positions: dict[int, int], ends: dict[int, int]) -> dict[int, list[LogRecord]]:
        shares: dict[int, list[LogRecord]] = {}
        missing = sum(max(0, ends[p] - at + 1) for p, at in positions.items())
        follower = Follower(self._bootstrap, EVENTS, positions, embedded=True)
        while missing:
            for record in await asyncio.to_thread(follower.read, 1000, 0.05):
                if record.offset <= ends[record.partition]:
                    shares.setdefault(record.partition, []).append(record)
                    missing -= 1
        await asyncio.to_thread(follower.close)
        return shares

    def _swapped(self) -> None:
        self.swaps += 1
