"""Why a list is as it is, and why an item is not in it: from the record, by the same ranking that made it."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from features.events import Id
from serving.decisions import Decision, Shown, Used, Versions, made_again
from serving.ranking import Choice, Dropped, Inputs, Listed, Placed, Ranked, blended, pool_size, raised, spread
from serving.recommendation_types import Experiment, Fallback, Freshness, RecommendationRequest

# Why an item of no slot has none: it was dropped by a rule (`rule` says which), nobody brought it, others came before
# it, too much above it was like it or of its category, or its slot was explored.
Stage = Literal["dropped", "no_candidate", "outranked", "too_alike", "category_cap", "explored_away"]

_TOLD: Final[dict[str, str]] = {
    "dropped": "A rule keeps it out: {rule}.",
    "no_candidate": "No source brought it among those candidates that were looked at.",
    "outranked": "It was number {rank} in the order of the blend, and {slots} slots were free.",
    "too_alike": "It was number {rank} in the order of the blend; what stands above is too much like it.",
    "category_cap": "It was number {rank} in the order of the blend; its category has as many items as it may.",
    "explored_away": "It was number {rank} in the order of the blend; its slot was given to an item to explore.",
}


class ExplanationQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The item to explain, in the list or not."""

    item_id: Id | None = None


class OfSource(msgspec.Struct, frozen=True):
    """What one source said of an item: its place there, its score, and what the score was multiplied with."""

    source: str
    said_by: str
    place: int
    score: float
    factor: float
    in_blend: bool
    because: str | None


class ItemExplained(msgspec.Struct, frozen=True):
    """One item: in the list or not, and why. `rank` is its place in the order of the blend, from 1."""

    item_id: str
    position: int | None
    propensity: float | None
    rank: int | None
    sources: list[OfSource]
    stage: Stage | None
    rule: str | None
    text: str


class ShownItem(msgspec.Struct, frozen=True):
    """An item of the list."""

    item_id: str
    position: int
    propensity: float
    reasons: list[tuple[str, dict[str, str]]]


class Explanation(msgspec.Struct, frozen=True):
    """A list, explained. `made_again`: the record, ranked again, gives the very list that was shown."""

    recommendation_id: str
    shopper_id: str | None
    made_at: datetime
    request: RecommendationRequest
    versions: Versions
    experiments: list[Experiment]
    fallback: Fallback
    freshness: Freshness
    used: Used
    items: list[ShownItem]
    made_again: bool
    dropped: dict[str, int]
    item: ItemExplained | None = None


def explain(decision: Decision, item_id: str | None) -> Explanation:
    """The explanation of a list and, where one is asked for, of an item."""
    again = made_again(decision)
    return Explanation(
        recommendation_id=decision.recommendation_id,
        shopper_id=decision.shopper_id,
        made_at=datetime.fromtimestamp(decision.at / 1000, UTC),
        request=decision.request,
        versions=decision.versions,
        experiments=decision.experiments,
        fallback=decision.fallback,
        freshness=decision.freshness,
        used=decision.used,
        items=[ShownItem(one.item_id, one.position, one.propensity, one.reasons) for one in decision.shown],
        made_again=_same(again, decision.shown),
        dropped=_dropped(decision.inputs),
        item=None if item_id is None else _item(decision.inputs, again, item_id),
    )


def _same(again: Sequence[Placed], shown: Sequence[Shown]) -> bool:
    made = [(one.choice.item_id, one.position, one.propensity) for one in again]
    return made == [(one.item_id, one.position, one.propensity) for one in shown]


def _dropped(inputs: Inputs) -> dict[str, int]:
    """How many candidates each rule kept out; `more`: those that are not told one by one, of each source anew."""
    found: Counter[str] = Counter({one.item_id: one.why for one in _told(inputs)}.values())
    more = sum(listed.dropped_more for listed in inputs.lists)
    return {**found, **({"more": more} if more else {})}


def _told(inputs: Inputs) -> Iterator[Dropped]:
    """What was dropped and is told by name: candidates, then pins."""
    for listed in inputs.lists:
        yield from listed.dropped
    yield from inputs.refused_pins


def _item(inputs: Inputs, again: Sequence[Placed], item_id: str) -> ItemExplained:
    ranked = blended(inputs, max(pool_size(inputs.scenario, inputs.count), _all_of(inputs)))
    rank = next((n for n, one in enumerate(ranked, 1) if one.choice.item_id == item_id), None)
    sources = list(_sources(inputs.lists, item_id))
    placed = next((one for one in again if one.choice.item_id == item_id), None)
    if placed is not None:
        text = _of_shown(placed)
        return ItemExplained(item_id, placed.position, placed.propensity, rank, sources, None, None, text)
    rule = next((one.why for one in _told(inputs) if one.item_id == item_id), None)
    stage = _stage(inputs, ranked, again, rank, item_id, dropped=rule is not None)
    slots = inputs.count - len(inputs.pins)
    text = _TOLD[stage].format(rule=rule, rank=rank, slots=slots)
    return ItemExplained(item_id, None, None, rank, sources, stage, rule, text)


def _of_shown(placed: Placed) -> str:
    if placed.pinned:
        return f"It was pinned to slot {placed.position}."
    if placed.explored:
        return f"Slot {placed.position} was given to an item to explore, by chance ({placed.propensity:.3f})."
    return f"It is number {placed.position} of the list."


def _stage(
    inputs: Inputs,
    ranked: Sequence[Ranked],
    again: Sequence[Placed],
    rank: int | None,
    item_id: str,
    *,
    dropped: bool,
) -> Stage:
    if rank is None:
        return "dropped" if dropped else "no_candidate"
    slots = inputs.count - len(inputs.pins)
    pool = ranked[: pool_size(inputs.scenario, inputs.count)]
    order = [one.choice.item_id for one in spread(inputs, pool, slots)]
    if item_id in order[:slots] and any(one.explored for one in again):
        return "explored_away"
    if rank > slots:
        return "outranked"
    cap, category = inputs.scenario.category_cap, inputs.categories.get(item_id)
    of_category = sum(inputs.categories.get(one) == category for one in order[:slots])
    return "category_cap" if cap is not None and category is not None and of_category >= cap else "too_alike"


def _all_of(inputs: Inputs) -> int:
    return sum(len(one.choices) for one in inputs.lists)


def _sources(lists: Sequence[Listed], item_id: str) -> Iterator[OfSource]:
    for listed in lists:
        for place, choice in enumerate(listed.choices):
            if choice.item_id == item_id:
                factor = 1.0 if listed.factors is None else listed.factors[place]
                yield _of_source(listed, place, choice, factor)


def _of_source(listed: Listed, place: int, choice: Choice, factor: float) -> OfSource:
    return OfSource(
        source=listed.source,
        said_by=choice.source,
        place=place + 1,
        score=raised(choice.score, factor),
        factor=factor,
        in_blend=listed.turn > 0,
        because=choice.because,
    )
