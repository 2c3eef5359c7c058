"""From candidates to a list: pure. What may not be shown is dropped, sources fill up in their order, each
item says why.

Nothing here reads or waits: candidates, the shopper's facts, the catalogue view and the wish come in as
arguments.
"""

from collections.abc import Container, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from heapq import nlargest
from itertools import chain, islice
from typing import Final, Protocol

import msgspec

from features.shoppers import Interaction
from models.candidates import Candidate
from serving.scenarios import CHAIN, Scenario, SourceName

_NEIGHBOURS_OF: Final = 10
_NEIGHBOURS_EACH: Final = 50
_STEP_BACK: Final = 0.8  # an interaction counts this much less than the next newer one
_CATEGORIES: Final = 5
_PER_CATEGORY: Final = 200


class Choice(msgspec.Struct, frozen=True, gc=False):
    """A candidate of one source; `because` is the item that it goes with."""

    item_id: str
    score: float
    source: str
    because: str | None = None


class Placed(msgspec.Struct, frozen=True, gc=False):
    """An item of the list; `planned` is False when the scenario's own sources were used up."""

    choice: Choice
    planned: bool


class View(Protocol):
    """The catalogue, as far as ranking looks at it."""

    def may_be_shown(self, item_id: str) -> bool:
        """Named, not hidden, in stock."""
        ...

    def category(self, item_id: str) -> str | None:
        """The most specific category."""
        ...

    def in_category(self, category: str) -> Iterable[str]:
        """Its items."""
        ...

    def all_items(self) -> Iterable[str]:
        """Every item that is known."""
        ...


class Knowledge(Protocol):
    """What the released model knows of items, whoever looks."""

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that go with it, best first; none for an item that is not known."""
        ...

    def popular(self) -> Iterable[tuple[str, float]]:
        """All items of some popularity, best first."""
        ...

    def popularity(self, item_id: str) -> float:
        """Above 0 for items that are bought or looked at of late."""
        ...


class Facts(msgspec.Struct, frozen=True):
    """The shopper's live state, as far as this list may use it; a non-personal one has nothing.

    `barred` (cart, dislikes) and `owned` (bought) keep items out. The rest is what items are chosen and
    explained by; for a list of the present session alone it holds that session's part.
    """

    barred: AbstractSet[str] = frozenset()
    owned: Container[str] = frozenset()
    interactions: Sequence[Interaction] = ()  # oldest first
    cart: AbstractSet[str] = frozenset()
    bought: AbstractSet[str] = frozenset()
    wished: AbstractSet[str] = frozenset()
    categories: AbstractSet[str] = frozenset()


class Wish(msgspec.Struct, frozen=True):
    """What is asked for."""

    scenario: Scenario
    count: int
    repeats: bool = False  # bought items may come again
    context: Sequence[str] = ()
    excluded: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shop:
    """Everything about items: the catalogue and the model's knowledge."""

    view: View
    knowledge: Knowledge


def rank(wish: Wish, facts: Facts, shelf: Iterable[Candidate], shop: Shop) -> list[Placed]:
    """The list: `wish.count` items, fewer only when no more may be shown. No item twice, and none of the
    cart, bought (unless repeats are allowed), disliked, excluded, given as context, hidden or out of stock.
    """
    sources = _Sources(wish, facts, shelf, shop)
    taken = set(chain(wish.excluded, wish.context, facts.barred))
    owned: Container[str] = () if wish.repeats else facts.owned
    placed: list[Placed] = []
    may_be_shown = shop.view.may_be_shown
    for choice, planned in sources.in_order():
        item_id = choice.item_id
        if item_id in taken or not may_be_shown(item_id) or item_id in owned:
            continue
        taken.add(item_id)
        placed.append(Placed(choice, planned))
        if len(placed) == wish.count:
            break
    return placed


class _Sources:
    """The candidates of each source, made when they are asked for and not before."""

    def __init__(self, wish: Wish, facts: Facts, shelf: Iterable[Candidate], shop: Shop) -> None:
        self._wish = wish
        self._facts = facts
        self._shelf = shelf
        self._view = shop.view
        self._knowledge = shop.knowledge

    def in_order(self) -> Iterator[tuple[Choice, bool]]:
        """The scenario's blend, then whatever fills a list."""
        blend = self._wish.scenario.blend
        for choice in _in_turns([(self._of(name), turns) for name, turns in blend]):
            yield choice, True
        used = {name for name, _ in blend}
        for name in CHAIN:
            if name not in used:
                for choice in self._of(name):
                    yield choice, False

    def _of(self, name: SourceName) -> Iterator[Choice]:
        if name == "shelf":
            return self._from_shelf()
        if name == "context":
            return self._going_with([(item_id, 1.0) for item_id in self._wish.context], "context")
        if name == "cart":
            return self._going_with([(item_id, 1.0) for item_id in sorted(self._facts.cart)], "item_to_item")
        if name == "neighbours":
            return self._going_with(self._latest(), "item_to_item")
        if name == "category":
            return self._in_categories()
        if name == "popular":
            return (Choice(i, score, "popular") for i, score in self._knowledge.popular())
        return self._whole_range()

    def _from_shelf(self) -> Iterator[Choice]:
        if not self._wish.repeats:
            return (Choice(c.item_id, c.score, c.source, c.because) for c in self._shelf)
        best_first = sorted(self._shelf, key=lambda c: -c.repeat_score)
        return (Choice(c.item_id, c.repeat_score, c.source, c.because) for c in best_first)

    def _going_with(self, weighted: Sequence[tuple[str, float]], source: str) -> Iterator[Choice]:
        """Items that go with the given ones: weights times similarity, added up; `because` spoke loudest."""
        sums: dict[str, float] = {}
        loudest: dict[str, tuple[float, str]] = {}
        for origin, weight in weighted:
            for item_id, similarity in self._knowledge.similar(origin, _NEIGHBOURS_EACH):
                spoke = weight * similarity
                sums[item_id] = sums.get(item_id, 0.0) + spoke
                if spoke > loudest.get(item_id, (0.0, ""))[0]:
                    loudest[item_id] = (spoke, origin)
        for item_id in sorted(sums, key=lambda i: (-sums[i], i)):
            yield Choice(item_id, sums[item_id], source, loudest.get(item_id, (0.0, None))[1])

    def _latest(self) -> list[tuple[str, float]]:
        latest = dict.fromkeys(interaction.item_id for interaction in reversed(self._facts.interactions))
        return [(item_id, _STEP_BACK**i) for i, item_id in enumerate(islice(latest, _NEIGHBOURS_OF))]

    def _in_categories(self) -> Iterator[Choice]:
        return _in_turns([(self._popular_in(category), 1) for category in self._categories_at_hand()])

    def _popular_in(self, category: str) -> Iterator[Choice]:
        known = ((self._knowledge.popularity(i), i) for i in self._view.in_category(category))
        for score, item_id in nlargest(_PER_CATEGORY, (one for one in known if one[0] > 0)):
            yield Choice(item_id, score, "category")

    def _whole_range(self) -> Iterator[Choice]:
        """What lies beside the items at hand first: before a model is released, it is all that can be said."""
        beside = [(_from_range(self._view.in_category(one)), 1) for one in self._categories_at_hand()]
        return chain(_in_turns(beside), _from_range(self._view.all_items()))

    def _categories_at_hand(self) -> Iterator[str]:
        at_hand = chain(self._wish.context, (item_id for item_id, _ in self._latest()))
        return islice(dict.fromkeys(filter(None, map(self._view.category, at_hand))), _CATEGORIES)


def _from_range(item_ids: Iterable[str]) -> Iterator[Choice]:
    return (Choice(item_id, 0.0, "catalogue") for item_id in item_ids)


def _in_turns(sources: Sequence[tuple[Iterator[Choice], int]]) -> Iterator[Choice]:
    """So many of each in turns; a source that is used up leaves its turn to the others."""
    left = list(sources)
    while len(left) > 1:
        still = []
        for source, turns in left:
            brought = list(islice(source, turns))
            yield from brought
            if len(brought) == turns:
                still.append((source, turns))
        left = still
    for source, _ in left:
        yield from source
