"""The inputs of a list: candidates source by source, without those that may not be shown now, and what their order
depends on. Nothing here reads or waits: state, catalogue and rules come in as arguments.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

import msgspec
import numpy as np

from models.candidates import Candidate
from serving.expressions import Booster, Filter
from serving.ranking import (
    POOL,
    Choice,
    Dropped,
    Inputs,
    Listed,
    Pin,
    Placed,
    WhyNot,
    blended,
    decide,
    packed_likeness,
    pool_size,
)
from serving.scenarios import Scenario, SourceName
from serving.sources import Facts, Shop, Sources

_LOOK_MOST: Final = 20_000  # candidates of one source that are looked at for one list
_TOLD_MOST: Final = 40  # dropped candidates of one source that are told by name
_SAME_CATEGORY: Final = 0.5  # likeness of two items of which no vectors are known


class Wish(msgspec.Struct, frozen=True):
    """What is asked for. `filled_up`: whether other sources may fill a list that the blend leaves too short; one that
    it leaves empty they may always fill.
    """

    scenario: Scenario
    count: int
    repeats: bool = False  # bought items may come again
    context: Sequence[str] = ()
    excluded: AbstractSet[str] = frozenset()
    pins: Sequence[Pin] = ()
    filled_up: bool = True
    given: Sequence[str] = ()  # where it is these that are to be ranked
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What else decides: the shop's expressions, bound to this shopper, and when each item was last shown (ms)."""

    filter: Filter | None = None
    booster: Booster | None = None
    shown_at: Mapping[str, int] = field(default_factory=dict)
    now_ms: int = 0


NO_RULES: Final = Rules()


def rank(wish: Wish, facts: Facts, shelf: Iterable[Candidate], shop: Shop, rules: Rules = NO_RULES) -> list[Placed]:
    """The list: `wish.count` items, fewer only when no more may be shown. No item twice, and none of the cart, bought
    (unless repeats are allowed), disliked, excluded, given as context, filtered, hidden or out of stock.
    """
    return decide(gather(wish, facts, shelf, shop, rules))


def gather(wish: Wish, facts: Facts, shelf: Iterable[Candidate], shop: Shop, rules: Rules = NO_RULES) -> Inputs:
    """Everything that the list follows from."""
    return _Gathering(wish, facts, shelf, shop, rules).inputs()


class _Gathering:
    def __init__(self, wish: Wish, facts: Facts, shelf: Iterable[Candidate], shop: Shop, rules: Rules) -> None:
        self._wish = wish
        self._facts = facts
        self._shop = shop
        self._rules = rules
        self._sources = Sources(wish.context, facts, shelf, shop, repeats=wish.repeats, given=wish.given)
        self._context = frozenset(wish.context)
        self._ranked = rules.booster is not None or (bool(rules.shown_at) and wish.scenario.rotation_rate > 0)
        self._found: dict[str, None] = {}
        self._barred = {*wish.excluded, *wish.context, *facts.in_cart, *facts.disliked}
        self._owned: Container[str] = () if wish.repeats else facts.owned

    def inputs(self) -> Inputs:
        """The inputs; sources beyond the blend are asked only where it leaves the list too short."""
        wish, scenario = self._wish, self._wish.scenario
        pins, refused = self._pins()
        pool = pool_size(scenario, wish.count)
        most = max(pool, 3 * wish.count, POOL) if self._ranked else pool
        lists = [self._listed(turn.source, turn.items, most) for turn in scenario.blend]
        used = {turn.source for turn in scenario.blend}
        for source in scenario.fallback:
            if len(self._found) >= wish.count or (self._found and not wish.filled_up):
                break
            if source not in used:
                used.add(source)
                lists.append(self._listed(source, 0, most))
        explored = self._explored()
        inputs = Inputs(
            scenario=scenario,
            count=wish.count,
            seed=wish.seed,
            lists=lists,
            pins=pins,
            refused_pins=refused,
            explored=explored,
        )
        spreads = scenario.diversity > 0 or scenario.category_cap is not None
        return self._told_apart(inputs, pool) if spreads else inputs

    def _pins(self) -> tuple[list[Pin], list[Dropped]]:
        """Those that may be shown, and why the others may not."""
        pins: list[Pin] = []
        refused: list[Dropped] = []
        for pin in self._wish.pins:
            if pin.position > self._wish.count:
                continue  # it asks for a slot of a longer list
            if self._may_be_here(pin.item_id):
                pins.append(pin)
            else:
                refused.append(Dropped(pin.item_id, 0.0, self._why_not(pin.item_id)))
        return pins, refused

    def _told_apart(self, inputs: Inputs, pool: int) -> Inputs:
        """With what spreads the list: of those alone that it is chosen from. Sources bring hundreds, and there are as
        many likenesses as pairs.
        """
        ids = [one.choice.item_id for one in blended(inputs, pool)]
        of_category = inputs.scenario.category_cap is not None
        alike_ids = ids if inputs.scenario.diversity > 0 else []
        return msgspec.structs.replace(
            inputs,
            categories=self._categories(ids) if of_category else {},
            alike_ids=alike_ids,
            alike=self._alike(alike_ids),
        )

    def _listed(self, source: SourceName, turn: int, most: int) -> Listed:
        """A source's candidates, up to so many that no source before it brought."""
        choices: list[Choice] = []
        dropped: list[Dropped] = []
        more = 0
        found = self._found
        enough = len(found) + most
        # `_may_be_here`, written out: a page asks it of dozens of items.
        barred, owned, passes = self._barred, self._owned, self._rules.filter
        may_be_shown = self._shop.view.may_be_shown
        for choice in islice(self._sources.of(source), _LOOK_MOST):
            item_id = choice.item_id
            if (
                item_id not in barred
                and may_be_shown(item_id)
                and item_id not in owned
                and (passes is None or passes(item_id))
            ):
                choices.append(choice)
                found[item_id] = None
                if len(found) == enough:
                    break
            elif len(dropped) < _TOLD_MOST:
                dropped.append(Dropped(item_id, choice.score, self._why_not(item_id)))
            else:
                more += 1
        factors = [self._factor(one.item_id) for one in choices] if self._ranked else None
        return Listed(source, turn, choices, factors, dropped, more)

    def _may_be_here(self, item_id: str) -> bool:
        """Whether this item may be in this list."""
        return (
            item_id not in self._barred
            and self._shop.view.may_be_shown(item_id)
            and item_id not in self._owned
            and (self._rules.filter is None or self._rules.filter(item_id))
        )

    def _why_not(self, item_id: str) -> WhyNot:
        """Why an item may not be in this list."""
        if not self._shop.view.may_be_shown(item_id):
            return self._shop.view.why_not(item_id)
        if item_id in self._facts.in_cart:
            return "in_cart"
        if item_id in self._facts.disliked:
            return "disliked"
        if item_id in self._owned:
            return "owned"
        if item_id in self._context:
            return "context"
        return "excluded" if item_id in self._wish.excluded else "filtered"

    def _factor(self, item_id: str) -> float:
        rules, scenario = self._rules, self._wish.scenario
        factor = rules.booster(item_id) if rules.booster is not None else 1.0
        shown_at = rules.shown_at.get(item_id)
        if shown_at is not None and scenario.rotation_rate > 0:
            ago = max(rules.now_ms - shown_at, 0) / (1000 * scenario.rotation_time_s)
            factor *= 1.0 - scenario.rotation_rate * max(1.0 - ago, 0.0)
        return factor

    def _explored(self) -> list[Choice]:
        exploration = self._wish.scenario.exploration
        if exploration is None or exploration.share == 0:
            return []
        found = islice(self._sources.of(exploration.source), _LOOK_MOST)
        may = (one for one in found if self._may_be_here(one.item_id))
        return list({one.item_id: one for one in islice(may, exploration.pool)}.values())

    def _categories(self, item_ids: Iterable[str]) -> dict[str, str]:
        of = ((item_id, self._shop.view.category(item_id)) for item_id in item_ids)
        return {item_id: category for item_id, category in of if category is not None}

    def _alike(self, item_ids: Sequence[str]) -> bytes:
        if not item_ids:
            return b""
        likeness = self._shop.knowledge.likeness(item_ids)
        if likeness is None:
            of = self._categories(item_ids)
            named = np.array([of.get(item_id, f"\0{n}") for n, item_id in enumerate(item_ids)])
            likeness = _SAME_CATEGORY * (named[:, None] == named[None, :])
        return packed_likeness(likeness)
