"""Lists follow the release and the rows, without being asked for one by one."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from redis.asyncio import Redis

from infra.errors import ArtifactBroken
from infra.keys import ShardKeys
from infra.metrics import Metrics
from infra.settings import Settings
from serving import shelf
from streams.derived import Scoring
from streams.pipeline import Pipeline, build_pipeline
from streams.rescoring import Releases, Rescoring
from tests.streams.models import Popular
from tests.streams.shop import LOG, PARTITIONS, Log, event, partition_of_event

SHOPPERS = [f"s{number}" for number in range(70)]


@dataclass
class Shop:
    """A pipeline with seventy shoppers, and the pointer to the released model."""

    pipeline: Pipeline
    redis: Redis
    live: Path | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> Rescoring:
        releases = Releases(lambda: self.live, load)
        rescoring = Rescoring(self.pipeline, self.redis, releases, Metrics())
        self.tasks = [asyncio.create_task(rescoring.follow_releases(0.01)), asyncio.create_task(rescoring.run())]
        return rescoring

    async def until(self, version: str) -> None:
        """Wait until every shelf is of that model."""
        while {await self.version_of(one) for one in SHOPPERS} != {version}:
            done, _ = await asyncio.wait(self.tasks, timeout=0.01)
            for task in done:
                task.result()

    async def version_of(self, shopper: str) -> str | None:
        home = partition_of_event(event(shopper, "page_view"))
        raw = await self.redis.get(ShardKeys(home).shelf("default", f"u-{shopper}"))
        return None if raw is None else shelf.decode(raw).model_version

    def stop(self) -> None:
        for task in self.tasks:
            task.cancel()


def load(artifact: Path) -> Scoring:
    if artifact.name == "broken":
        raise ArtifactBroken("altered")
    return Popular(artifact.name)


async def shop_of(settings: Settings, redis: Redis) -> Shop:
    pipeline, log = build_pipeline(settings, redis), Log()
    await pipeline.claim(range(PARTITIONS), LOG)
    log.append(*(event(one, "view_item", "tea") for one in SHOPPERS))
    await pipeline.apply(log.batches())
    return Shop(pipeline, redis)


async def test_a_release_makes_all_lists_anew(settings: Settings, redis: Redis) -> None:
    shop = await shop_of(settings, redis)
    shop.start()
    shop.live = Path("v1")
    await shop.until("v1")
    shop.live = Path("v2")
    await shop.until("v2")
    shop.stop()


async def test_a_broken_artifact_leaves_the_one_in_service(settings: Settings, redis: Redis) -> None:
    shop = await shop_of(settings, redis)
    shop.start()
    shop.live = Path("v1")
    await shop.until("v1")
    shop.live = Path("broken")
    await asyncio.wait(shop.tasks, timeout=0.05)
    assert shop.pipeline.derived.scorer is not None
    assert shop.pipeline.derived.scorer.version == "v1"
    shop.live = Path("v2")
    await shop.until("v2")
    shop.stop()


async def test_a_start_finds_the_lists_that_are_older_than_their_rows(settings: Settings, redis: Redis) -> None:
    shop = await shop_of(settings, redis)
    shop.live = Path("v1")
    shop.start()
    await shop.until("v1")
    shop.stop()
    home = partition_of_event(event("s7", "page_view"))
    key = ShardKeys(home).shelf("default", "u-s7")
    old = shelf.decode(await redis.get(key))
    await redis.set(key, shelf.encode(shelf.Shelf("v1", LOG, 0, old.scored_at - 1, [])))
    shop.start().sweep()
    while shelf.decode(await redis.get(key)) != old:
        await asyncio.wait(shop.tasks, timeout=0.01)
    shop.stop()


async def test_loaded_history_is_scored_behind_the_batches(settings: Settings, redis: Redis) -> None:
    shop = await shop_of(settings, redis)
    shop.pipeline.derived.scorer = Popular("v1")
    rescoring, log = shop.start(), Log("another")
    log.append(*(event(one, "purchase", "cup", minute=5, load_id="load-1") for one in SHOPPERS))
    await shop.pipeline.claim(range(PARTITIONS), "another")
    counts = await shop.pipeline.apply(log.batches())
    assert (counts.scored, len(counts.unscored)) == (0, len(SHOPPERS))
    rescoring.add(counts.unscored)
    await shop.until("v1")
    shop.stop()
