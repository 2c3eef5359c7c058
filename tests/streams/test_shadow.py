"""A candidate beside the model in service: what is counted follows by reasoning, and nothing of it reaches a list."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from features.events import EventName
from features.shoppers import State
from infra.errors import ArtifactBroken, RedisAway
from infra.metrics import Metrics
from infra.settings import Settings
from models.candidates import Candidate, Candidates
from models.shadow import Order
from serving import shelf
from streams.derived import Scoring
from streams.pipeline import Pipeline, build_pipeline
from streams.shadow import Shadow, takes_part
from streams.shadow_counts import Counts, ShadowCounts
from streams.shadowing import ShadowFollower, Trials
from tests.streams.models import Popular
from tests.streams.shop import LOG, PARTITIONS, Log, event, partition_of_event

AT = datetime(2026, 11, 24, tzinfo=UTC)
ORDER = Order("candidate", 1.0, AT)


@dataclass
class Fixed:
    """The same list for everybody; `gate` holds it up, `trouble` is raised instead."""

    version: str
    items: Sequence[str]
    gate: threading.Event | None = None
    trouble: Exception | None = None
    asked: list[State] = field(default_factory=list)

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[Candidates]:
        self.asked += states
        if self.gate is not None:
            self.gate.wait(30)
        if self.trouble is not None:
            raise self.trouble
        of = Candidates.of(Candidate(item, 1.0, 0.0, "popular") for item in self.items[:k])
        return [of] * len(states)


@dataclass
class Shop:
    """A pipeline with a model in service, and a log."""

    pipeline: Pipeline
    redis: Redis
    log: Log = field(default_factory=Log)
    measured: Metrics = field(default_factory=Metrics)

    async def happens(
        self, shopper: str, name: EventName, *items: str, minute: float, load_id: str | None = None
    ) -> None:
        one = event(shopper, name, *items, minute=minute, load_id=load_id)
        self.log.append(one)
        partition = partition_of_event(one)
        [batch] = [b for b in self.log.batches(len(self.log.records[partition]) - 1) if b.partition == partition]
        await self.pipeline.apply([batch])

    def try_(self, scorer: Scoring, share: float = 1.0, **more: int) -> Shadow:
        self.pipeline.shadow = Shadow(scorer, share, processor_s=lambda: 0.0, **more)
        return self.pipeline.shadow

    async def listed(self, shopper: str) -> list[str]:
        partition = partition_of_event(event(shopper, "page_view"))
        raw = await self.redis.get(self.pipeline.store.keys(partition).shelf("default", f"u-{shopper}"))
        assert raw is not None
        return [one.item_id for one in shelf.decode(raw).candidates]


@pytest.fixture
async def shop(settings: Settings, redis: Redis) -> Shop:
    pipeline = build_pipeline(settings, redis)
    await pipeline.claim(range(PARTITIONS), LOG)
    pipeline.derived.scorer = Popular("in service")
    return Shop(pipeline, redis)


@pytest.fixture(autouse=True)
def ended(shop: Shop) -> Iterator[None]:
    """No thread is left."""
    yield
    if shop.pipeline.shadow is not None:
        shop.pipeline.shadow.end()


async def test_overlap_and_next_items_follow_by_reasoning(shop: Shop) -> None:
    """The model in service lists what was met; the candidate lists tea and pot, always."""
    tried = shop.try_(Fixed("candidate", ["tea", "pot"]))
    await shop.happens("ann", "view_item", "tea", minute=0)  # lists: tea | tea, pot
    await shop.happens("ann", "add_to_cart", "pot", minute=1)  # the candidate had it; lists: tea, pot | tea, pot
    await shop.happens("ann", "purchase", "tea", minute=2)  # both had it
    await shop.happens("ann", "view_item", "hat", minute=3)  # neither; lists: tea, pot, hat | tea, pot
    await shop.happens("ann", "view_item", "hat", minute=4)  # the one in service had it
    tried.settle()
    assert tried.taken() == {
        "in service": Counts(
            lists=5, shared=1 + 2 + 2 + 2 + 2, places=2 + 2 + 2 + 3 + 3, judged=4, both=1, live_alone=1, shadow_alone=1
        )
    }
    assert tried.taken() == {}, "taken once"


async def test_what_is_no_turn_to_an_item_judges_nothing(shop: Shop) -> None:
    tried = shop.try_(Fixed("candidate", ["tea"]))
    await shop.happens("ann", "view_item", "tea", minute=0)
    await shop.happens("ann", "page_view", minute=1)
    await shop.happens("bob", "view_item", "tea", minute=2)
    tried.settle()
    assert tried.taken()["in service"].judged == 0


async def test_loaded_history_is_not_traffic(shop: Shop) -> None:
    candidate = Fixed("candidate", ["tea"])
    tried = shop.try_(candidate)
    await shop.happens("ann", "view_item", "tea", minute=0, load_id="past")
    tried.settle()
    assert not candidate.asked


async def test_a_candidate_that_fails_is_counted_and_the_list_is_served(shop: Shop) -> None:
    tried = shop.try_(Fixed("candidate", [], trouble=ValueError("weights of nothing")))
    await shop.happens("ann", "view_item", "tea", minute=0)
    await shop.happens("ann", "view_item", "pot", minute=1)
    tried.settle()
    assert tried.taken()["in service"] == Counts(failed=2)
    assert sorted(await shop.listed("ann")) == ["pot", "tea"]


async def test_a_candidate_that_hangs_delays_nothing_and_what_does_not_fit_is_counted(shop: Shop) -> None:
    gate = threading.Event()
    tried = shop.try_(Fixed("candidate", ["tea"], gate=gate), room=2)
    for minute in range(6):
        await shop.happens("ann", "view_item", "tea", minute=minute)  # each returns while the candidate hangs
    assert await shop.listed("ann") == ["tea"]
    gate.set()
    tried.settle()
    counts = tried.taken()["in service"]
    assert counts.lists + counts.passed_over == 6
    assert counts.passed_over >= 3, "one is being made, two wait"


async def test_only_so_many_shoppers_are_remembered(shop: Shop) -> None:
    tried = shop.try_(Fixed("candidate", ["tea"]), remembered=1)
    await shop.happens("ann", "view_item", "tea", minute=0)
    await shop.happens("bob", "view_item", "tea", minute=1)
    await shop.happens("ann", "view_item", "tea", minute=2)  # forgotten
    await shop.happens("ann", "view_item", "tea", minute=3)
    tried.settle()
    assert tried.taken()["in service"].judged == 1


def test_the_share_is_stable_and_grows() -> None:
    shoppers = [f"default|u-{n}" for n in range(4000)]
    small, large = ({one for one in shoppers if takes_part(one, share)} for share in (0.1, 0.3))
    assert small < large
    assert 300 < len(small) < 500
    assert all(takes_part(one, 1.0) for one in shoppers)


async def test_who_has_no_part_is_not_scored(shop: Shop) -> None:
    candidate = Fixed("candidate", ["tea"])
    tried = shop.try_(candidate, share=0.5)
    outside, inside = (
        next(f"s{n}" for n in range(99) if takes_part(f"default|u-s{n}", 0.5) is part) for part in (False, True)
    )
    await shop.happens(outside, "view_item", "tea", minute=0)
    await shop.happens(inside, "view_item", "tea", minute=0)
    tried.settle()
    assert len(candidate.asked) == 1


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(1, 50))
def test_the_lead_lies_around_the_difference_of_the_hits(both: int, live: int, shadow: int, none: int) -> None:
    counts = Counts(judged=both + live + shadow + none, both=both, live_alone=live, shadow_alone=shadow)
    low, high = counts.lead
    assert low <= counts.shadow_hits - counts.live_hits + 1e-9
    assert counts.shadow_hits - counts.live_hits <= high + 1e-9


class Keeping(ShadowCounts):
    """Redis, which may be away for a while."""

    away = False

    async def add(self, order: str, counts: dict[str, Counts]) -> None:  # type: ignore[override]
        if self.away:
            raise RedisAway("away")
        await super().add(order, counts)


@dataclass
class Following:
    """A follower, the order that it follows, and what it loads."""

    shop: Shop
    kept: Keeping
    order: Order | None = None
    load: Callable[[str], Scoring] = lambda version: Fixed(version, ["tea"])

    def __post_init__(self) -> None:
        trials = Trials(lambda: self.order, lambda version: self.load(version))
        self.follower = ShadowFollower(self.shop.pipeline, trials, self.kept, self.shop.measured)

    async def settled(self) -> None:
        assert self.shop.pipeline.shadow is not None
        self.shop.pipeline.shadow.settle()
        await self.follower.tell()


@pytest.fixture
def following(shop: Shop, redis: Redis) -> Following:
    return Following(shop, Keeping(redis, "Redis"))


async def test_an_order_is_followed_and_its_figures_are_kept(shop: Shop, following: Following) -> None:
    await following.follower.look()
    assert shop.pipeline.shadow is None
    following.order = ORDER
    await following.follower.look()
    await shop.happens("ann", "view_item", "tea", minute=0)
    await shop.happens("ann", "view_item", "tea", minute=1)
    await following.settled()
    await shop.happens("ann", "view_item", "tea", minute=2)
    await following.settled()
    found = (await following.kept.read(ORDER.name))["in service"]
    assert (found.lists, found.judged, found.both, found.overlap) == (3, 2, 2, 1.0)
    assert found.live_lists == 3
    following.order = None
    await following.follower.look()
    assert shop.pipeline.shadow is None
    told = {
        (one.name, *one.labels.values()): one.value
        for family in text_string_to_metric_families(shop.measured.text().decode())
        for one in family.samples
    }
    assert told["daogou_shadow_lists_total", "made"] == 3
    assert told["daogou_shadow_next_items_total", "both"] == 2
    assert told["daogou_shadow_next_items_total", "none"] == 0


async def test_figures_wait_while_redis_is_away_and_are_counted_once(shop: Shop, following: Following) -> None:
    following.order = ORDER
    await following.follower.look()
    following.kept.away = True
    await shop.happens("ann", "view_item", "tea", minute=0)
    await following.settled()
    await shop.happens("ann", "view_item", "tea", minute=1)
    await following.settled()
    following.kept.away = False
    await following.follower.tell()
    await following.follower.tell()
    assert (await following.kept.read(ORDER.name))["in service"].lists == 2


async def test_a_candidate_that_cannot_be_loaded_is_not_tried_again_until_ordered_again(
    shop: Shop, following: Following
) -> None:
    asked = []

    def broken(version: str) -> Scoring:
        asked.append(version)
        raise ArtifactBroken("altered")

    following.load, following.order = broken, ORDER
    await following.follower.look()
    await following.follower.look()
    assert asked == ["candidate"]
    await shop.happens("ann", "view_item", "tea", minute=0)
    assert await shop.listed("ann") == ["tea"]


async def test_a_candidate_that_is_released_is_tried_no_more(shop: Shop, following: Following) -> None:
    following.order = ORDER
    await following.follower.look()
    assert shop.pipeline.shadow is not None
    shop.pipeline.derived.scorer = Popular("candidate")
    await following.follower.look()
    assert shop.pipeline.shadow is None
    await following.follower.look()
    assert shop.pipeline.shadow is None
