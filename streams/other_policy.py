"""Another scenario over the inputs of a list that was made: how probable it is that it had shown the same.

Pure. The order is made by the same functions as at the page view, and the list that was shown is followed slot by slot.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from serving.decisions import Decision
from serving.ranking import Choice, Inputs, Listed, Ranked, blended, pool_size, slot_propensity, spread
from serving.scenarios import Exploration, Scenario

_SAME: Final = 1e-6
# What acted on the candidates before they were recorded.
_AS_RECORDED: Final = ("filter", "booster", "rotation_rate", "rotation_time_s")
_OF_REQUEST: Final = ("booster", "rotation_rate", "rotation_time_s", "diversity")  # in the place of the scenario's


class Slot(msgspec.Struct, frozen=True, gc=False):
    """One slot that is not pinned. `logged` and `other`: how probable the item was, given those above it. `covered`:
    how much of what the other would show here could have been shown by the one that made the list.
    """

    position: int
    logged: float
    other: float
    covered: float = 1.0


class NotJudged(Exception):
    """The record does not hold what the other policy would need; `args[0]` says what."""


def slots_of(decision: Decision, scenario: Scenario) -> list[Slot]:
    """The slots of a list, as this scenario sees them. What the request itself had wished holds for both.

    Raises:
        NotJudged: the record lacks something that the scenario needs, or is not made again by this version.
    """
    inputs = decision.inputs
    other = _inputs(inputs, _with_wishes(decision, scenario), filled_up=not decision.request.strict_filtering)
    pinned = {pin.position for pin in inputs.pins}
    shown = [(one.item_id, one.position, one.propensity) for one in decision.shown if one.position not in pinned]
    mine, others = _Course(inputs), _Course(other)
    slots = []
    for item_id, position, recorded in shown:
        logged, likely = mine.of(item_id), others.of(item_id)
        if abs(logged - recorded) > _SAME:
            raise NotJudged("the record is not made again by this version of the program")
        slots.append(Slot(position, logged, likely, others.within(mine)))
        mine.take(item_id)
        others.take(item_id)
    return slots


class _Course:
    """What a policy would show next, after what is above."""

    def __init__(self, inputs: Inputs) -> None:
        scenario, slots = inputs.scenario, inputs.count - len(inputs.pins)
        ranked = spread(inputs, blended(inputs, pool_size(scenario, inputs.count)), slots)
        pinned = {pin.item_id for pin in inputs.pins}
        explored = [] if scenario.exploration is None else inputs.explored
        self._share = 0.0 if scenario.exploration is None else scenario.exploration.share
        self._waiting: dict[str, Ranked] = {one.choice.item_id: one for one in ranked}
        self._pool: dict[str, Choice] = {one.item_id: one for one in explored if one.item_id not in pinned}

    def of(self, item_id: str) -> float:
        """How probable the item is in the next slot."""
        return slot_propensity(item_id, self._first(), self._pool, self._share)

    def within(self, other: "_Course") -> float:
        """How much of what may come next can come by the other, too."""
        first = self._first()
        may = {*self._pool, *(() if first is None else (first.choice.item_id,))}
        both = sum(self.of(item_id) for item_id in may if other.of(item_id) > 0)
        if first is None and other._first() is None:  # the list may end here, for both
            both += 1.0 - self._share if self._pool else 1.0
        return both

    def take(self, item_id: str) -> None:
        """It was shown."""
        self._waiting.pop(item_id, None)
        self._pool.pop(item_id, None)

    def _first(self) -> Ranked | None:
        return next(iter(self._waiting.values()), None)


def _with_wishes(decision: Decision, scenario: Scenario) -> Scenario:
    wishes = {name: given for name in _OF_REQUEST if (given := getattr(decision.request, name)) is not None}
    return msgspec.structs.replace(scenario, **wishes) if wishes else scenario


def _inputs(inputs: Inputs, scenario: Scenario, *, filled_up: bool) -> Inputs:
    recorded = inputs.scenario
    for name in _AS_RECORDED:
        if getattr(scenario, name) != getattr(recorded, name):
            raise NotJudged(f"{name} is another one than when the list was made")
    if scenario.repeats != recorded.repeats:
        raise NotJudged("repeats is another one than when the list was made")
    if scenario.diversity > 0 and recorded.diversity == 0:
        raise NotJudged("diversity needs likenesses of items, which are recorded only where there is some already")
    if scenario.category_cap is not None and recorded.category_cap is None:
        raise NotJudged("category_cap needs categories, which are recorded only where there is a cap already")
    if pool_size(scenario, inputs.count) > pool_size(recorded, inputs.count):
        raise NotJudged("it chooses from more candidates than were recorded")
    lists = list(_blend(inputs, scenario))
    return msgspec.structs.replace(
        inputs,
        scenario=scenario,
        lists=_filled(inputs, scenario, lists) if filled_up else lists,
        explored=_explored(inputs, scenario.exploration),
    )


def _blend(inputs: Inputs, scenario: Scenario) -> Iterator[Listed]:
    """The recorded sources in the order and turns of the other blend."""
    of = {one.source: one for one in inputs.lists}
    cut = _cut(inputs)
    for turn in scenario.blend:
        one = of.get(turn.source)
        if one is None:
            raise NotJudged(f"the source {turn.source!r} was not asked when the list was made")
        if turn.source in cut:
            raise NotJudged(
                f"the source {turn.source!r} only filled up when the list was made, and is recorded in part"
            )
        yield msgspec.structs.replace(one, turn=turn.items)


def _filled(inputs: Inputs, scenario: Scenario, lists: list[Listed]) -> list[Listed]:
    """With the sources that fill up, as far as they are needed."""
    of = {one.source: one for one in inputs.lists}
    used = {one.source for one in lists}
    for source in scenario.fallback:
        if len({choice.item_id for one in lists for choice in one.choices}) >= inputs.count + len(inputs.pins):
            break
        if source in used:
            continue
        if source not in of:
            raise NotJudged(f"the source {source!r} would have to fill up and was not asked when the list was made")
        lists = [*lists, msgspec.structs.replace(of[source], turn=0)]
    return lists


def _cut(inputs: Inputs) -> set[str]:
    """Sources that only filled up, and were asked no further than for what was missing."""
    known, found = set[str](), set[str]()
    for one in inputs.lists:
        new = {choice.item_id for choice in one.choices} - known
        known |= new
        if one.turn == 0 and len(new) >= inputs.count + len(inputs.pins):
            found.add(one.source)
    return found


def _explored(inputs: Inputs, exploration: Exploration | None) -> list[Choice]:
    was = inputs.scenario.exploration
    if exploration is None or exploration.share == 0:
        return []
    if was is None or was.share == 0 or exploration.source != was.source or exploration.pool > was.pool:
        raise NotJudged("exploration draws from other items than when the list was made")
    return inputs.explored[: exploration.pool]
