"""Where candidates come from. A source makes its candidates when they are asked for and not before."""

from collections.abc import Collection, Container, Iterable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Final, Protocol

import msgspec
import numpy.typing as npt

from features.shoppers import Interaction
from models.candidates import Candidate
from serving.ranking import Choice, WhyNot, in_turns
from serving.scenarios import SourceName

_NEIGHBOURS_OF: Final = 10
_NEIGHBOURS_EACH: Final = 50
_STEP_BACK: Final = 0.8  # an interaction counts this much less than the next newer one
_CATEGORIES: Final = 5
_NEWEST: Final = 500


class View(Protocol):
    """The catalogue, as far as lists look at it."""

    def may_be_shown(self, item_id: str) -> bool:
        """Named, not hidden, in stock."""
        ...

    def why_not(self, item_id: str) -> WhyNot:
        """Why an item may not be shown."""
        ...

    def category(self, item_id: str) -> str | None:
        """The most specific category."""
        ...

    def in_category(self, category: str) -> Collection[str]:
        """Its items."""
        ...

    def all_items(self) -> Iterable[str]:
        """Every item that is known, those that came last at the end."""
        ...

    def newest_first(self) -> Iterable[str]:
        """The same, those that came last first."""
        ...


class Knowledge(Protocol):
    """What the released model and the stream's statistics know of items, whoever looks."""

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that go with it, best first; none for an item that is not known."""
        ...

    def bought_with(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that are bought with it, best first."""
        ...

    def popular(self) -> Iterable[tuple[str, float]]:
        """All items of some popularity, best first."""
        ...

    def popularity(self, item_id: str) -> float:
        """Above 0 for items that are bought or looked at of late."""
        ...

    def unmet(self, item_ids: Iterable[str], /) -> Iterable[str]:
        """Those of no popularity, in their order."""
        ...

    def trending(self) -> Iterable[tuple[str, float]]:
        """Items that are met more than before, best first."""
        ...

    def popular_in(self, category: str, item_ids: Collection[str]) -> Iterable[tuple[str, float]]:
        """The best of a category, whose items are given; some may be hidden by now."""
        ...

    def trending_in(self, category: str, item_ids: Collection[str]) -> Iterable[tuple[str, float]]:
        """The same, those that are met more than before."""
        ...

    def likeness(self, item_ids: Sequence[str]) -> npt.NDArray[Any] | None:
        """[items, items]: 0 for nothing in common, 1 for the same; None where no vectors are known."""
        ...


class Facts(msgspec.Struct, frozen=True):
    """The shopper's live state, as far as this list may use it; a non-personal one has nothing.

    `in_cart`, `disliked` and `owned` (bought) keep items out. The rest is what items are chosen and explained by; for a
    list of the present session alone it holds that session's part.
    """

    in_cart: AbstractSet[str] = frozenset()
    disliked: AbstractSet[str] = frozenset()
    owned: Container[str] = frozenset()
    interactions: Sequence[Interaction] = ()  # oldest first
    cart: AbstractSet[str] = frozenset()
    bought: AbstractSet[str] = frozenset()
    wished: AbstractSet[str] = frozenset()
    categories: AbstractSet[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Shop:
    """Everything about items: the catalogue and what is known of them."""

    view: View
    knowledge: Knowledge


class Sources:
    """The candidates of one list. `context` are the items of the request, `given` those to be ranked; with `repeats`
    bought items may come again.
    """

    def __init__(
        self,
        context: Sequence[str],
        facts: Facts,
        shelf: Iterable[Candidate],
        shop: Shop,
        *,
        repeats: bool,
        given: Sequence[str] = (),
    ) -> None:
        self._context = context
        self._facts = facts
        self._shelf = shelf
        self._view = shop.view
        self._knowledge = shop.knowledge
        self._repeats = repeats
        self._given = given

    def of(self, name: SourceName) -> Iterator[Choice]:
        """Its candidates, best first."""
        if name == "shelf":
            return self._from_shelf()
        if name == "context":
            return self._going_with([(item_id, 1.0) for item_id in self._context], "context")
        if name == "cart":
            return self._going_with([(item_id, 1.0) for item_id in sorted(self._facts.cart)], "item_to_item")
        if name == "neighbours":
            return self._going_with(self._latest(), "item_to_item")
        if name == "bought_together":
            return self._bought_together()
        if name == "category":
            return self._in_categories(self._knowledge.popular_in, "category")
        if name == "trending":
            return self._trending()
        if name == "new_arrivals":
            return self._new_arrivals()
        if name == "recently_viewed":
            return self._recently_viewed()
        if name == "given":
            return self._as_given()
        if name == "popular":
            return (Choice(i, score, "popular") for i, score in self._knowledge.popular())
        return self._whole_range()

    def _from_shelf(self) -> Iterator[Choice]:
        if not self._repeats:
            return (Choice(c.item_id, c.score, c.source, c.because) for c in self._shelf)
        best_first = sorted(self._shelf, key=lambda c: -c.repeat_score)
        return (Choice(c.item_id, c.repeat_score, c.source, c.because) for c in best_first)

    def _going_with(self, weighted: Sequence[tuple[str, float]], source: str) -> Iterator[Choice]:
        return _added_up(weighted, self._knowledge.similar, source)

    def _bought_together(self) -> Iterator[Choice]:
        at_hand = [*self._context, *sorted(self._facts.cart)]
        return _added_up([(one, 1.0) for one in at_hand], self._knowledge.bought_with, "bought_together")

    def _latest(self) -> list[tuple[str, float]]:
        return [(item_id, _STEP_BACK**i) for i, item_id in enumerate(islice(self._met_last(), _NEIGHBOURS_OF))]

    def _met_last(self) -> dict[str, None]:
        return dict.fromkeys(interaction.item_id for interaction in reversed(self._facts.interactions))

    def _recently_viewed(self) -> Iterator[Choice]:
        return (Choice(item_id, 1.0 / (1 + n), "recently_viewed") for n, item_id in enumerate(self._met_last()))

    def _in_categories(self, best: "_BestIn", source: str) -> Iterator[Choice]:
        return in_turns([(self._best_in(category, best, source), 1) for category in self._categories_at_hand()])

    def _best_in(self, category: str, best: "_BestIn", source: str) -> Iterator[Choice]:
        for item_id, score in best(category, self._view.in_category(category)):
            yield Choice(item_id, score, source)

    def _trending(self) -> Iterator[Choice]:
        """In the categories of the request's items; without such, everywhere."""
        if self._context:
            yield from self._in_categories(self._knowledge.trending_in, "trending")
        for item_id, score in self._knowledge.trending():
            yield Choice(item_id, score, "trending")

    def _new_arrivals(self) -> Iterator[Choice]:
        """What hardly anybody has met: those that came last first."""
        for item_id in self._knowledge.unmet(islice(self._view.newest_first(), _NEWEST)):
            yield Choice(item_id, 0.0, "new_arrivals")

    def _as_given(self) -> Iterator[Choice]:
        """The more popular ones first, then in the order that they were given in."""
        worth = ((self._knowledge.popularity(item_id), item_id) for item_id in self._given)
        return (Choice(item_id, score, "popular") for score, item_id in sorted(worth, key=lambda one: -one[0]))

    def _whole_range(self) -> Iterator[Choice]:
        """What lies beside the items at hand first: before a model is released, it is all that can be said."""
        beside = [(_from_range(self._view.in_category(one)), 1) for one in self._categories_at_hand()]
        return chain(in_turns(beside), _from_range(self._view.all_items()))

    def _categories_at_hand(self) -> Iterator[str]:
        at_hand = chain(self._context, islice(self._met_last(), _NEIGHBOURS_OF))
        return islice(dict.fromkeys(filter(None, map(self._view.category, at_hand))), _CATEGORIES)


class _BestIn(Protocol):
    def __call__(self, category: str, item_ids: Collection[str], /) -> Iterable[tuple[str, float]]: ...


class _GoesWith(Protocol):
    def __call__(self, item_id: str, k: int, /) -> Sequence[tuple[str, float]]: ...


def _added_up(weighted: Sequence[tuple[str, float]], goes_with: _GoesWith, source: str) -> Iterator[Choice]:
    """Items that go with the given ones: weights times similarity, added up; `because` spoke loudest."""
    sums: dict[str, float] = {}
    loudest: dict[str, tuple[float, str]] = {}
    for origin, weight in weighted:
        for item_id, similarity in goes_with(origin, _NEIGHBOURS_EACH):
            spoke = weight * similarity
            sums[item_id] = sums.get(item_id, 0.0) + spoke
            if spoke > loudest.get(item_id, (0.0, ""))[0]:
                loudest[item_id] = (spoke, origin)
    for item_id in sorted(sums, key=lambda i: (-sums[i], i)):
        yield Choice(item_id, sums[item_id], source, loudest.get(item_id, (0.0, None))[1])


def _from_range(item_ids: Iterable[str]) -> Iterator[Choice]:
    return (Choice(item_id, 0.0, "catalogue") for item_id in item_ids)
