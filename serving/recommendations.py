"""A page view: the shopper's facts in one round trip, the pure ranking, the answer, its record."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from features.shoppers import State
from infra.clock import Clock
from infra.errors import BadInput
from infra.keys import partition_of
from serving import decisions, expressions
from serving.catalogue import Catalogue
from serving.facts import NOBODY, facts_of
from serving.gathering import NO_RULES, Rules, Wish, gather
from serving.looking import Looking, Place, Seen
from serving.model import ModelInService
from serving.paging import Continued, token_of
from serving.policies import Policies, Policy
from serving.ranking import Inputs, Pin, Placed, decide
from serving.reasons import Explainer, language_of
from serving.recommendation_types import (
    Fallback,
    RankRequest,
    RecommendationRequest,
    Recommendations,
    RecommendedItem,
)
from serving.recording import Made, Recorder
from serving.scenarios import Scenario, SourceName, Turn
from serving.shopper_reader import ShopperReader
from serving.shown import ShownLately
from serving.sources import Facts, Shop
from serving.statistics_reader import ItemKnowledge

# What a ranking of given items takes over from its request.
_OF_RANK: Final = (
    "user_id",
    "anonymous_id",
    "session_id",
    "scenario",
    "include_properties",
    "personalization",
    "explain",
    "min_token",
    "max_wait_ms",
)
_RANK_VERSION: Final = "rank-1"
_RANK_BLEND: Final = (Turn("shelf"),)
_RANK_REST: Final[tuple[SourceName, ...]] = ("neighbours", "given")


@dataclass(frozen=True, slots=True)
class Stock:
    """What the lists are made from."""

    reader: ShopperReader
    catalogue: Catalogue
    model: ModelInService
    knowledge: ItemKnowledge


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A request as it is carried out: `shown` are items of pages before, `given` those that are to be ranked."""

    asked: RecommendationRequest
    policy: Policy
    pins: Sequence[Pin] = ()
    shown: Sequence[str] = ()
    given: Sequence[str] = ()


class Recommender:
    """Answers requests for lists; `new_id` is random."""

    def __init__(
        self,
        place: Place,
        stock: Stock,
        looking: Looking,
        policies: Policies,
        shown: ShownLately,
        recorder: Recorder,
        *,
        clock: Clock,
        new_id: Callable[[], str],
    ) -> None:
        self._place = place
        self._stock = stock
        self._looking = looking
        self._policies = policies
        self._shown = shown
        self._recorder = recorder
        self._clock = clock
        self._new_id = new_id

    async def recommend(
        self,
        asked: RecommendationRequest,
        accept_language: str | None,
        *,
        follow_links: bool = True,
        before: Continued | None = None,
    ) -> Recommendations:
        """The list. `follow_links`: an anonymous id that was linked stands for its user; `before`: what of this list
        was shown already.

        Raises:
            BadInput: the token is none of ours, an expression is wrong, or two pins want one slot.
        """
        began = time.perf_counter()
        policy = self._policies.of(asked)
        wanted = _Wanted(asked, policy, _pins(asked), shown=() if before is None else before.shown)
        scenario = policy.scenario
        expressions.check(asked.filter, scenario.booster)
        seen = await self._looking.look(asked, follow_links=follow_links, rotates=scenario.rotation_rate > 0)
        made = self._made(wanted, seen, accept_language)
        recorded = not asked.validate_only and self._recorder.record(made)
        if seen.ref is not None and scenario.rotation_rate > 0 and made.items:
            shown = (item.item_id for item, _ in made.items)
            self._shown.note(seen.ref, seen.shown, shown, made.at, scenario.rotation_time_s)
        return _answer(made, self._missing(asked, made.inputs), recorded, _next(made, before), began)

    async def rank(
        self, asked: RankRequest, accept_language: str | None, *, follow_links: bool = True
    ) -> Recommendations:
        """The given items, those first that suit the shopper best; in the cart or bought are no reasons against them.

        Raises:
            BadInput: the token is none of ours.
        """
        began = time.perf_counter()
        request = RecommendationRequest(
            **{name: getattr(asked, name) for name in _OF_RANK},
            count=len(asked.item_ids),
        )
        order = Scenario(name=asked.scenario, blend=_RANK_BLEND, fallback=_RANK_REST)
        policy = Policy(order, repeats=True, experiments=[], version=_RANK_VERSION)
        seen = await self._looking.look(request, follow_links=follow_links)
        wanted = _Wanted(request, policy, given=asked.item_ids)
        made = self._made(wanted, seen, accept_language)
        shown = {item.item_id for item, _ in made.items}
        missing = [item_id for item_id in dict.fromkeys(asked.item_ids) if item_id not in shown]
        return _answer(made, missing, self._recorder.record(made), None, began)

    def _made(self, wanted: _Wanted, seen: Seen, accept_language: str | None) -> Made:
        """The list from what was seen, without waiting for anything."""
        asked, now_ms = wanted.asked, self._clock.now_ms()
        facts = NOBODY if seen.ref is None else facts_of(seen.state, asked.personalization, asked.session_id, now_ms)
        if asked.personalization == "session" and not facts.interactions:
            seen.why = seen.why or "no_session"
        if wanted.policy.holdout:
            facts, seen.candidates = _not_personal(facts), ()
        # A list is of one model: beside a shelf of the one before, or of one not known here yet, no other speaks.
        shop = Shop(self._stock.catalogue, self._stock.knowledge.of(seen.model_version))
        fresh = self._new_id()
        seed = int(fresh, 16)
        try:
            inputs = self._inputs(wanted, seen, facts, shop, seed, now_ms)
        except msgspec.DecodeError:  # a shelf's parts are decoded as they are reached
            self._looking.without_shelf(seen)
            inputs = self._inputs(wanted, seen, facts, shop, seed, now_ms)
        placed = [] if asked.validate_only else decide(inputs)
        items = self._items(asked, placed, facts, shop, seen.state.locale, accept_language)
        return Made(
            recommendation_id=self._name(seen, now_ms, fresh),
            at=now_ms,
            asked=asked,
            policy=wanted.policy,
            seen=seen,
            facts=facts,
            inputs=inputs,
            items=[(item, one.propensity) for item, one in zip(items, placed, strict=True)],
            fallback=_fallback(wanted, placed, seen),
        )

    def _inputs(self, wanted: _Wanted, seen: Seen, facts: Facts, shop: Shop, seed: int, now_ms: int) -> Inputs:
        asked, policy = wanted.asked, wanted.policy
        wish = Wish(
            scenario=policy.scenario,
            count=asked.count,
            repeats=policy.repeats,
            context=asked.item_ids,
            excluded=frozenset((*asked.exclude_item_ids, *wanted.shown)),
            pins=wanted.pins,
            filled_up=not asked.strict_filtering,
            given=wanted.given,
            seed=seed & 0xFFFF_FFFF_FFFF_FFFF,
        )
        if not wanted.given:
            return gather(wish, facts, seen.candidates, shop, self._rules(wanted, seen, facts, now_ms))
        open_to_all = msgspec.structs.replace(facts, in_cart=frozenset(), disliked=frozenset(), owned=())
        return gather(wish, open_to_all, seen.candidates, shop, Rules(filter=frozenset(wanted.given).__contains__))

    async def state_of(self, shopper_id: str) -> State | None:
        """What is known of a shopper.

        Raises:
            RedisAway.
        """
        return await self._looking.state_of(shopper_id)

    def _rules(self, wanted: _Wanted, seen: Seen, facts: Facts, now_ms: int) -> Rules:
        scenario, filters = wanted.policy.scenario, (wanted.policy.scenario.filter, wanted.asked.filter)
        if filters == (None, None) and scenario.booster is None:
            return Rules(shown_at=seen.shown.at, now_ms=now_ms) if seen.shown.at else NO_RULES
        shopper, items = expressions.shopper_facts(seen.state, facts), self._stock.catalogue.facts
        return Rules(
            filter=expressions.filters_of(filters, items, shopper),
            booster=None if scenario.booster is None else expressions.booster_of(scenario.booster, items, shopper),
            shown_at=seen.shown.at,
            now_ms=now_ms,
        )

    def _items(
        self,
        asked: RecommendationRequest,
        placed: Sequence[Placed],
        facts: Facts,
        shop: Shop,
        locale: str | None,
        accept_language: str | None,
    ) -> list[RecommendedItem]:
        catalogue, names = self._stock.catalogue, asked.include_properties
        language = language_of(accept_language, locale)
        explainer = Explainer(facts, asked.item_ids, shop, catalogue.name, language, catalogue.told_apart)
        explain, every = asked.explain != "none", asked.explain == "full"
        return [
            RecommendedItem(
                item_id=one.choice.item_id,
                position=one.position,
                score=round(one.score, 6),
                source=one.choice.source,
                reasons=explainer.reasons(one.choice, every=every) if explain else [],
                properties=catalogue.properties(one.choice.item_id, names),
                pinned=one.pinned,
            )
            for one in placed
        ]

    def _missing(self, asked: RecommendationRequest, inputs: Inputs) -> list[str]:
        """Items of the request that are not known, and pins that are not shown."""
        unknown = (i for i in asked.item_ids if self._stock.catalogue.item(i) is None)
        pinned = {pin.item_id for pin in inputs.pins}
        return list(dict.fromkeys((*unknown, *(pin.item_id for pin in asked.pins if pin.item_id not in pinned))))

    def _name(self, seen: Seen, now_ms: int, fresh: str) -> str:
        """An id from which partition and time can be read: where its record will lie on the log."""
        partition = seen.ref.partition if seen.ref else partition_of(fresh, self._place.partitions)
        return decisions.name_of(partition, now_ms, fresh)


def _answer(made: Made, missing: list[str], recorded: bool, next_token: str | None, began: float) -> Recommendations:
    return Recommendations(
        recommendation_id=made.recommendation_id,
        items=[item for item, _ in made.items],
        model_version=made.seen.model_version,
        policy_version=made.policy.version,
        experiments=made.policy.experiments,
        fallback=made.fallback,
        freshness=made.seen.freshness,
        missing_ids=missing,
        recorded=recorded,
        next_token=next_token,
        took_ms=round((time.perf_counter() - began) * 1000, 2),
    )


def _next(made: Made, before: Continued | None) -> str | None:
    """The token of the next page; None where this one was not filled, so that nothing is left."""
    if len(made.items) < made.asked.count:
        return None
    shown = [item.item_id for item, _ in made.items]
    if before is not None:
        shown = [*before.shown, *shown]
    asked = msgspec.structs.replace(made.asked, min_token=None, pins=())
    return token_of(Continued(made.at if before is None else before.at, asked, shown))


def _pins(asked: RecommendationRequest) -> list[Pin]:
    wanted = asked.pins
    beyond = next((n for n, pin in enumerate(wanted) if pin.position > asked.count), None)
    if beyond is not None:
        raise BadInput(
            f"The list has {asked.count} slots; give the pin one of them.",
            path=f"pins[{beyond}].position",
            code="out_of_range",
        )
    if len({pin.position for pin in wanted}) < len(wanted) or len({pin.item_id for pin in wanted}) < len(wanted):
        raise BadInput("Two pins want one slot, or one item two; give each its own.", path="pins", code="pins_collide")
    return [Pin(pin.item_id, pin.position) for pin in wanted]


def _not_personal(facts: Facts) -> Facts:
    """What keeps items out, and nothing that they would be chosen by."""
    return Facts(in_cart=facts.in_cart, disliked=facts.disliked, owned=facts.owned)


def _fallback(wanted: _Wanted, placed: Sequence[Placed], seen: Seen) -> Fallback:
    if seen.why is not None:
        return Fallback(used=True, why=seen.why)
    if wanted.asked.personalization != "full" or wanted.policy.holdout or all(one.planned for one in placed):
        return Fallback(used=False)
    return Fallback(used=True, why="too_few_candidates")
