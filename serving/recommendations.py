"""A page view: the shopper's facts in one round trip, the pure ranking, the answer."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from features.shoppers import State
from infra.clock import Clock
from infra.errors import RedisAway
from infra.keys import partition_of, record_key
from models.candidates import Candidate
from serving import tokens
from serving.catalogue import Catalogue
from serving.facts import NOBODY, facts_of
from serving.model import NO_MODEL, ModelInService
from serving.ranking import Facts, Placed, Shop, Wish, rank
from serving.reasons import Explainer, Language, language_of
from serving.recommendation_types import (
    Fallback,
    Freshness,
    RecommendationRequest,
    Recommendations,
    RecommendedItem,
    Why,
)
from serving.scenarios import SCENARIOS
from serving.shopper_reader import Known, ShopperReader, ShopperRef
from serving.statistics_reader import ItemKnowledge
from serving.waiting import Waiting

_EMPTY: Final = State()


@dataclass(frozen=True, slots=True)
class Place:
    """Whose lists these are: tenant, number of partitions, scenarios in which bought items may come again."""

    tenant: str
    partitions: int
    repeat_scenarios: frozenset[str]


@dataclass(frozen=True, slots=True)
class Stock:
    """What the lists are made from."""

    reader: ShopperReader
    catalogue: Catalogue
    model: ModelInService
    knowledge: ItemKnowledge


class _Seen(msgspec.Struct):
    """What was found of the shopper for one list."""

    state: State
    candidates: Iterable[Candidate]
    model_version: str
    freshness: Freshness
    why: Why | None


class Recommender:
    """Answers requests for lists. `waiting` knows how far the logs are applied, `new_id` is random."""

    def __init__(
        self, place: Place, stock: Stock, waiting: Waiting, *, clock: Clock, new_id: Callable[[], str]
    ) -> None:
        self._place = place
        self._stock = stock
        self._waiting = waiting
        self._clock = clock
        self._new_id = new_id

    async def recommend(
        self, asked: RecommendationRequest, accept_language: str | None, *, follow_links: bool = True
    ) -> Recommendations:
        """The list. `follow_links`: an anonymous id that was linked stands for its user.

        Raises:
            BadInput: the token is none of ours.
        """
        began = time.perf_counter()
        wanted = tokens.decode(asked.min_token) if asked.min_token else {}
        ref = self._ref(asked)
        seen = await self._look(asked, ref, wanted, follow=follow_links)
        now_ms = self._clock.now_ms()
        facts = NOBODY if ref is None else facts_of(seen.state, asked.personalization, asked.session_id, now_ms)
        if asked.personalization == "session" and not facts.interactions:
            seen.why = seen.why or "no_session"
        # A list is of one model: beside a shelf of the one before, or of one not known here yet, no other speaks.
        shop = Shop(self._stock.catalogue, self._stock.knowledge.of(seen.model_version))
        placed = [] if asked.validate_only else self._ranked(asked, facts, seen, shop)
        items = self._items(asked, placed, facts, shop, language_of(accept_language, seen.state.locale))
        return Recommendations(
            recommendation_id=self._name(ref, now_ms),
            items=items,
            model_version=seen.model_version,
            policy_version=SCENARIOS[asked.scenario].policy_version,
            experiments=[],
            fallback=_fallback(asked, placed, seen),
            freshness=seen.freshness,
            missing_ids=[i for i in asked.item_ids if self._stock.catalogue.item(i) is None],
            recorded=False,
            next_token=None,
            took_ms=round((time.perf_counter() - began) * 1000, 2),
        )

    async def state_of(self, shopper_id: str) -> State | None:
        """What is known of a shopper.

        Raises:
            RedisAway.
        """
        return (await self._stock.reader.read(self._of(shopper_id))).state

    def _of(self, shopper_id: str) -> ShopperRef:
        tenant = self._place.tenant
        return ShopperRef(tenant, shopper_id, partition_of(record_key(tenant, shopper_id), self._place.partitions))

    def _ref(self, asked: RecommendationRequest) -> ShopperRef | None:
        """Where the shopper's keys are; None when nothing about a person is to be read."""
        if asked.personalization == "none":
            return None
        if asked.user_id is not None:
            return self._of(f"u-{asked.user_id}")
        if asked.anonymous_id is not None:
            return self._of(f"a-{asked.anonymous_id}")
        return None

    async def _look(
        self, asked: RecommendationRequest, ref: ShopperRef | None, wanted: tokens.Positions, *, follow: bool
    ) -> _Seen:
        reached = await self._waiting.reached(wanted, ref, asked.max_wait_ms)
        if ref is None:
            why: Why | None = None if asked.personalization == "none" else "no_shopper"
            return self._unseen(why, Freshness(None, 0, stale=not reached))
        try:
            known = await self._stock.reader.read(ref)
            if known.link is not None and follow:
                ref = self._of(f"u-{known.link.user_id}")
                known = await self._stock.reader.read(ref)
        except RedisAway:
            return self._unseen("state_unavailable", Freshness(None, 0, stale=True))
        return self._seen(asked, ref, known, reached)

    def _seen(self, asked: RecommendationRequest, ref: ShopperRef, known: Known, reached: bool) -> _Seen:
        state, shelf = known.state, known.shelf
        lag_ms = self._waiting.lag_ms(ref.partition, known.fence, self._clock.now_ms())
        if state is None:
            return self._unseen("unknown_shopper", Freshness(None, lag_ms, stale=not reached))
        fresh = Freshness(
            applied_through=datetime.fromtimestamp(state.newest / 1000, UTC),
            lag_ms=lag_ms,
            stale=not reached or known.outdated,
        )
        # A shelf is made from everything that is known: it is no part of a list of this session alone.
        if asked.personalization == "session":
            return _Seen(state, (), self._stock.model.version, fresh, None)
        if shelf is None:
            missing: Why = "no_model" if self._stock.model.version == NO_MODEL else "no_shelf"
            return _Seen(state, (), self._stock.model.version, fresh, missing)
        return _Seen(state, shelf, shelf.model_version, fresh, None)

    def _unseen(self, why: Why | None, fresh: Freshness) -> _Seen:
        return _Seen(_EMPTY, (), self._stock.model.version, fresh, why)

    def _ranked(self, asked: RecommendationRequest, facts: Facts, seen: _Seen, shop: Shop) -> list[Placed]:
        wish = Wish(
            scenario=SCENARIOS[asked.scenario],
            count=asked.count,
            repeats=asked.scenario in self._place.repeat_scenarios,
            context=asked.item_ids,
            excluded=frozenset(asked.exclude_item_ids),
        )
        return rank(wish, facts, seen.candidates, shop)

    def _items(
        self, asked: RecommendationRequest, placed: Sequence[Placed], facts: Facts, shop: Shop, language: Language
    ) -> list[RecommendedItem]:
        catalogue, names = self._stock.catalogue, asked.include_properties
        explainer = Explainer(facts, asked.item_ids, shop, catalogue.name, language, catalogue.told_apart)
        explain = asked.explain != "none"
        return [
            RecommendedItem(
                item_id=one.choice.item_id,
                position=position,
                score=round(one.choice.score, 6),
                source=one.choice.source,
                reasons=explainer.reasons(one.choice) if explain else [],
                properties=catalogue.properties(one.choice.item_id, names),
            )
            for position, one in enumerate(placed, 1)
        ]

    def _name(self, ref: ShopperRef | None, now_ms: int) -> str:
        """An id from which partition and time can be read: where its record will lie on the log."""
        fresh = self._new_id()
        partition = ref.partition if ref else partition_of(fresh, self._place.partitions)
        return f"r-{partition:x}-{now_ms:x}-{fresh}"


def _fallback(asked: RecommendationRequest, placed: Sequence[Placed], seen: _Seen) -> Fallback:
    if seen.why is not None:
        return Fallback(used=True, why=seen.why)
    if asked.personalization != "full" or all(one.planned for one in placed):
        return Fallback(used=False)
    return Fallback(used=True, why="too_few_candidates")
