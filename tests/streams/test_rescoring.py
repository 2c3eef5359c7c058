"""Lists follow the release and the rows, without being asked for one by one."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis

from features.shoppers import State
from infra.errors import ArtifactBroken
from infra.keys import ShardKeys
from infra.metrics import Metrics
from infra.settings import Settings
from models.candidates import Candidates
from serving import shelf
from streams.derived import Scoring
from streams.in_service import ReleaseFollower, Releases
from streams.partition import RowRef
from streams.pipeline import Pipeline, build_pipeline
from streams.rescoring import AT_ONCE, Rescoring
from tests.streams.models import Popular
from tests.streams.shop import LOG, PARTITIONS, Log, event, partition_of_event

LIMIT_S = 30.0  # what has not happened by then never will
SHOPPERS = [f"s{number}" for number in range(70)]


@dataclass
class Shop:
    """A pipeline with seventy shoppers, and the pointer to the released model."""

    pipeline: Pipeline
    redis: Redis
    live: Path | None = None
    tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def start(self) -> Rescoring:
        rescoring = Rescoring(self.pipeline, Metrics())
        releases = Releases(lambda: self.live, load)
        follower = ReleaseFollower(self.pipeline.derived, releases, rescoring.sweep, Metrics())
        self.tasks = [asyncio.create_task(follower.run(0.01)), asyncio.create_task(rescoring.run())]
        return rescoring

    async def until(self, version: str) -> None:
        """Wait until every shelf is of that model."""
        async with asyncio.timeout(LIMIT_S):
            while {await self.version_of(one) for one in SHOPPERS} != {version}:
                await self.news()

    async def news(self) -> None:
        """A moment in which lists may be made."""
        done, _ = await asyncio.wait(self.tasks, timeout=0.01)
        for task in done:
            task.result()

    async def listed(self, shopper: str) -> list[str]:
        """The items on a shelf."""
        raw = await self.redis.get(self._key(shopper))
        return [] if raw is None else [one.item_id for one in shelf.decode(raw).candidates]

    async def version_of(self, shopper: str) -> str | None:
        raw = await self.redis.get(self._key(shopper))
        return None if raw is None else shelf.decode(raw).model_version

    def _key(self, shopper: str) -> str:
        home = partition_of_event(event(shopper, "page_view"))
        return ShardKeys(home).shelf("default", f"u-{shopper}")

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
    log.append(*(event(one, "view_item", "tea", minute=place / 60) for place, one in enumerate(SHOPPERS)))
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
    await redis.set(key, shelf.encode(shelf.Shelf("v1", LOG, 0, old.scored_at, Candidates.of([]), b"another")))
    shop.start().sweep()
    async with asyncio.timeout(LIMIT_S):
        while shelf.decode(await redis.get(key)) != old:
            await shop.news()
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


async def test_history_older_than_the_newest_event_is_found_by_the_next_start(settings: Settings, redis: Redis) -> None:
    shop = await shop_of(settings, redis)
    shop.live = Path("v1")
    shop.start()
    await shop.until("v1")
    shop.stop()
    log = Log("another")
    log.append(*(event(one, "purchase", "cup", minute=-5, load_id="load-1") for one in SHOPPERS))
    await shop.pipeline.claim(range(PARTITIONS), "another")
    await shop.pipeline.apply(log.batches())  # and the worker dies before it makes the lists anew
    shop.start().sweep()
    async with asyncio.timeout(LIMIT_S):
        while {tuple(await shop.listed(one)) for one in SHOPPERS} != {("cup", "tea")}:
            await shop.news()
    shop.stop()


async def test_a_shopper_who_changed_three_times_is_scored_once(settings: Settings, redis: Redis) -> None:
    shop = await shop_of(settings, redis)
    shop.pipeline.derived.scorer = counting = Counting()
    rescoring = Rescoring(shop.pipeline, Metrics())
    refs = [ref_of(one) for one in SHOPPERS]
    for _ in range(3):
        rescoring.add(refs)
    await made(rescoring, shop)
    assert sorted(counting.scored.values()) == [1] * len(SHOPPERS)
    rescoring.add(refs)  # their lists are as new as their rows by now
    await made(rescoring, shop)
    assert sorted(counting.scored.values()) == [1] * len(SHOPPERS)


async def test_more_than_the_queue_holds_becomes_a_sweep(settings: Settings, redis: Redis) -> None:
    shop = await shop_of(settings, redis)
    shop.pipeline.derived.scorer = counting = Counting()
    rescoring = Rescoring(shop.pipeline, Metrics(), most_waiting=10)
    rescoring.add([ref_of(one) for one in SHOPPERS])
    await made(rescoring, shop)
    assert sorted(counting.scored.values()) == [1] * len(SHOPPERS)


async def test_a_sweep_does_not_wait_for_a_queue_that_never_ends(settings: Settings, redis: Redis) -> None:
    shop = await shop_of(settings, redis)
    shop.pipeline.derived.scorer = Popular("v1")
    rescoring = Rescoring(shop.pipeline, Metrics())
    busy = [ref_of(one) for one in SHOPPERS[: 2 * AT_ONCE]]
    rescoring.add(busy)
    rescoring.sweep()
    running = asyncio.create_task(rescoring.run())
    async with asyncio.timeout(LIMIT_S):
        while await shop.version_of(SHOPPERS[-1]) is None:
            rescoring.add(busy)  # there is always more than is taken at once
            await asyncio.wait({running}, timeout=0.001)
    running.cancel()


@dataclass
class Shaky:
    """A place of models: says and loads what it is told to."""

    live: Path | Exception | None = None
    loads: list[Exception] = field(default_factory=list)
    tried: int = 0

    def released(self) -> Path | None:
        if isinstance(self.live, Exception):
            raise self.live
        return self.live

    def load(self, artifact: Path) -> Scoring:
        self.tried += 1
        if self.loads:
            raise self.loads.pop(0)
        return Popular(artifact.name)


@dataclass
class Followed:
    """A follower of releases that is asked to look by hand."""

    shaky: Shaky
    pipeline: Pipeline
    measured: Metrics = field(default_factory=Metrics)
    changes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        releases = Releases(self.shaky.released, self.shaky.load)
        self._follower = ReleaseFollower(self.pipeline.derived, releases, self._changed, self.measured)

    async def look(self, times: int = 1) -> None:
        for _ in range(times):
            await self._follower.look()

    @property
    def waits(self) -> bool:
        return b"daogou_model_waits 1.0" in self.measured.text()

    def _changed(self) -> None:
        assert self.pipeline.derived.scorer is not None
        self.changes.append(self.pipeline.derived.scorer.version)


@pytest.fixture
def followed(settings: Settings, redis: Redis) -> Followed:
    return Followed(Shaky(), build_pipeline(settings, redis))


async def test_a_model_that_failed_to_load_is_tried_again(followed: Followed) -> None:
    followed.shaky.live, followed.shaky.loads = Path("v1"), [OSError("no memory"), OSError("no memory")]
    await followed.look()
    assert (followed.changes, followed.waits) == ([], True)
    await followed.look(3)  # the second fails too, and the look after it is left out
    assert (followed.changes, followed.waits, followed.shaky.tried) == (["v1"], False, 3)


async def test_a_broken_artifact_is_tried_once_and_said_to_wait(followed: Followed) -> None:
    followed.shaky.live = Path("v1")
    await followed.look()
    followed.shaky.live, followed.shaky.loads = Path("v2"), [ArtifactBroken("altered")]
    await followed.look(5)
    assert (followed.changes, followed.waits, followed.shaky.tried) == (["v1"], True, 2)
    followed.shaky.live = Path("v1")
    await followed.look()
    assert (followed.changes, followed.waits) == (["v1"], False)
    followed.shaky.live = Path("v2")
    await followed.look()
    assert followed.changes == ["v1", "v2"]
    text = followed.measured.text()
    assert b'daogou_model_released{version="v1"} 0.0' in text
    assert b'daogou_model_released{version="v2"} 1.0' in text


async def test_a_pointer_that_cannot_be_read_keeps_the_model(followed: Followed) -> None:
    followed.shaky.live = Path("v1")
    await followed.look()
    followed.shaky.live = ArtifactBroken("the pointer is damaged")
    await followed.look()
    assert followed.pipeline.derived.scorer is not None
    assert followed.waits
    followed.shaky.live = Path("v2")
    await followed.look()
    assert (followed.changes, followed.waits) == (["v1", "v2"], False)


class Counting(Popular):
    """Counts how often each shopper was scored: no two of them have the same newest event time."""

    def __init__(self) -> None:
        super().__init__("v1")
        self.scored: dict[int, int] = {}

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[Candidates]:
        for state in states:
            self.scored[state.newest] = self.scored.get(state.newest, 0) + 1
        return super().score(states, k, at_ms)


def ref_of(shopper: str) -> RowRef:
    return RowRef(partition_of_event(event(shopper, "page_view")), "default", f"u-{shopper}")


async def made(rescoring: Rescoring, shop: Shop) -> None:
    """Until every shelf is there, and what waits is looked at."""
    running = asyncio.create_task(rescoring.run())
    async with asyncio.timeout(LIMIT_S):
        while None in {await shop.version_of(one) for one in SHOPPERS} or not rescoring.idle:
            await asyncio.wait({running}, timeout=0.01)
            assert not running.done()
    running.cancel()
