"""Lists about items: what goes with one, what is bought with it, what is met more than before, what was looked at."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from features.events import MAX_ID
from features.shoppers import State
from infra.errors import BadInput, NotFound
from serving.catalogue import Catalogue, Property
from serving.statistics_reader import ItemKnowledge

MAX_COUNT: Final = 100

Count = Annotated[int, Meta(ge=1, le=MAX_COUNT)]
Properties = Annotated[tuple[Property, ...], Meta(max_length=20)]
StateOf = Callable[[str], Awaitable[State | None]]
_Scored = Iterable[tuple[str, float]]


class ItemOfList(msgspec.Struct, frozen=True):
    """An item that may be shown; positions begin at 1."""

    item_id: str
    position: int
    score: float
    properties: msgspec.Raw


class ItemList(msgspec.Struct, frozen=True):
    """Items, best first. `item_id` is the item that they go with, null where there is none."""

    item_id: str | None
    items: list[ItemOfList]
    model_version: str


class ItemListQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many, and which properties of each (names with commas between)."""

    count: Count = 20
    include_properties: Properties = ()


class TrendingQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """In which category, how many, and which properties of each."""

    category: Annotated[str, Meta(min_length=1, max_length=MAX_ID)] | None = None
    count: Count = 20
    include_properties: Properties = ()


class RecentQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose id it is, how many, and which properties of each."""

    kind: Literal["user", "anonymous"] = "user"
    count: Count = 20
    include_properties: Properties = ()


class ItemLists:
    """Makes them from the catalogue and what is known of its items."""

    def __init__(self, catalogue: Catalogue, knowledge: ItemKnowledge, state_of: StateOf) -> None:
        """`state_of` reads a shopper, by its id as in keys."""
        self._catalogue = catalogue
        self._knowledge = knowledge
        self._state_of = state_of

    def similar(self, item_id: str, query: ItemListQuery) -> ItemList:
        """Items that go with one.

        Raises:
            NotFound: neither the catalogue nor the model knows it.
        """
        return self._beside(item_id, query, self._knowledge.similar)

    def bought_together(self, item_id: str, query: ItemListQuery) -> ItemList:
        """Items that are bought with one.

        Raises:
            NotFound: neither the catalogue nor the statistics know it.
        """
        return self._beside(item_id, query, self._knowledge.bought_with)

    def trending(self, query: TrendingQuery) -> ItemList:
        """Items that are met more than before."""
        category = query.category
        if category is None:
            return self._list(None, self._knowledge.trending(), query.count, query.include_properties)
        best = self._knowledge.trending_in(category, self._catalogue.in_category(category))
        return self._list(None, best, query.count, query.include_properties)

    async def recently_viewed(self, shopper_id: str, query: RecentQuery) -> ItemList:
        """What a shopper looked at last, newest first.

        Raises:
            BadInput: no id.
            RedisAway.
        """
        if not 1 <= len(shopper_id) <= MAX_ID or not shopper_id.isprintable():
            raise BadInput(
                f"A shopper's id has 1 to {MAX_ID} printable characters.", path="shopper_id", code="wrong_form"
            )
        state = await self._state_of(f"{'u' if query.kind == 'user' else 'a'}-{shopper_id}")
        met = [] if state is None else [one for one in reversed(state.interactions) if one.kind != "purchase"]
        newest = dict.fromkeys(one.item_id for one in met)
        return self._list(None, ((one, 1.0) for one in newest), query.count, query.include_properties)

    def _beside(
        self, item_id: str, query: ItemListQuery, known: Callable[[str, int], Sequence[tuple[str, float]]]
    ) -> ItemList:
        # Some of them may not be shown: twice as many and some more are asked for.
        found = known(item_id, 2 * query.count + 50)
        if not found and self._catalogue.item(item_id) is None:
            raise NotFound("There is no such item here; /v1/recommendations names some.", path="item_id")
        others = (one for one in found if one[0] != item_id)
        return self._list(item_id, others, query.count, query.include_properties)

    def _list(self, item_id: str | None, found: _Scored, count: int, names: Sequence[str]) -> ItemList:
        shown = islice((one for one in found if self._catalogue.may_be_shown(one[0])), count)
        items = [
            ItemOfList(one, position, round(score, 6), self._catalogue.properties(one, names))
            for position, (one, score) in enumerate(shown, 1)
        ]
        return ItemList(item_id, items, self._knowledge.version)


def check_item_id(item_id: str) -> str:
    """An item's id from a path.

    Raises:
        BadInput: out of bounds.
    """
    if not 1 <= len(item_id) <= MAX_ID or not item_id.isprintable():
        raise BadInput(f"An item id has 1 to {MAX_ID} printable characters.", path="item_id", code="wrong_form")
    return item_id
