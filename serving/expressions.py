"""Filters and boosters: a shop's CEL expressions over items and shoppers, checked at the door, kept compiled."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from features.catalog import Item
from features.shoppers import State
from infra.errors import BadInput
from serving.cel import Compiled, compiled
from serving.cel_steps import Scope
from serving.cel_values import MissingError, WrongError
from serving.sources import Facts

MOST_BOOST: Final = 1000.0
_KEPT: Final = 256
_KNOWN: Final = 16  # expressions whose values are remembered
_ITEMS_KNOWN: Final = 30_000  # items of each
_T = TypeVar("_T")
# What one expression may take for one list, in steps of `serving.cel`: some 40 ms, in which no other page is answered.
_MOST_STEPS: Final = 300_000
# What an expression may read, each with an example of its type.
ITEM_FIELDS: Final[dict[str, Any]] = {
    "id": "i",
    "name": "name",
    "category": "tea",
    "categories": ["food", "tea"],
    "brand": "brand",
    "attributes": {"color": "red"},
    "price": 9.5,
    "currency": "EUR",
    "available": True,
    "quantity": 3,
}
SHOPPER_FIELDS: Final[dict[str, Any]] = {
    "known": True,
    "cart": ["i"],
    "viewed": ["i"],
    "bought": ["i"],
    "wished": ["i"],
    "categories": ["tea"],
    "orders": 2,
    "locale": "en",
    "last_search": "tea",
}
_FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {"item": ITEM_FIELDS, "shopper": SHOPPER_FIELDS}
_EXAMPLE: Final = Scope(ITEM_FIELDS, SHOPPER_FIELDS)

Filter = Callable[[str], bool]
Booster = Callable[[str], float]
FactsOf = Callable[[str], Mapping[str, Any]]


def filter_of(text: str, items: FactsOf, shopper: Mapping[str, Any], path: str = "filter") -> Filter:
    """A test of items for one list: an item for which the expression has no value does not pass, and none does after
    so many as a list may look at.

    Raises:
        BadInput: the expression is wrong; says where.
    """
    compute, cost = _checked(text, path, "a filter", (bool,))

    def passes(facts: Mapping[str, Any]) -> bool:
        try:
            return compute(Scope(facts, shopper)) is True
        except WrongError:
            return False

    return _remembering(text, items, passes, otherwise=False, most=_MOST_STEPS // cost)


def filters_of(texts: Sequence[str | None], items: FactsOf, shopper: Mapping[str, Any]) -> Filter | None:
    """A test that passes what all of these filters pass; None where there are none.

    Raises:
        BadInput: an expression is wrong; says where.
    """
    filters = [filter_of(text, items, shopper) for text in texts if text is not None]
    if len(filters) <= 1:
        return filters[0] if filters else None
    return lambda item_id: all(passes(item_id) for passes in filters)


def booster_of(text: str, items: FactsOf, shopper: Mapping[str, Any], path: str = "booster") -> Booster:
    """A factor of items for one list, 0 to 1000; 1 where the expression has no value for an item, and after so many as
    a list may look at.

    Raises:
        BadInput: the expression is wrong; says where.
    """
    compute, cost = _checked(text, path, "a booster", (int, float))

    def factor(facts: Mapping[str, Any]) -> float:
        try:
            value = compute(Scope(facts, shopper))
        except WrongError:
            return 1.0
        if type(value) not in (int, float) or math.isnan(value):
            return 1.0
        return min(max(float(value), 0.0), MOST_BOOST)

    return _remembering(text, items, factor, otherwise=1.0, most=_MOST_STEPS // cost)


def _remembering(
    text: str, items: FactsOf, value_of: Callable[[Mapping[str, Any]], _T], *, otherwise: _T, most: int
) -> Callable[[str], _T]:
    """The value for an item, worked out for so many of a list as `most`. One that does not look at the shopper is the
    same at every page until the item changes: then what is read of it is another object.
    """
    known: dict[str, tuple[Mapping[str, Any], Any]] | None = None if "shopper" in text else _known_of(text)
    left = most

    def value(item_id: str) -> _T:
        nonlocal left
        found = None if known is None else known.get(item_id)
        if left <= 0 and found is None:
            return otherwise
        facts = items(item_id)
        if found is not None and found[0] is facts:
            remembered: _T = found[1]
            return remembered
        left -= 1
        worked_out = value_of(facts)
        if known is not None:
            if len(known) >= _ITEMS_KNOWN:
                known.clear()
            known[item_id] = facts, worked_out
        return worked_out

    return value


@lru_cache(maxsize=_KNOWN)
def _known_of(_text: str) -> dict[str, tuple[Mapping[str, Any], Any]]:
    """What is remembered of an expression. A text is a filter or a booster and never both."""
    return {}


def check(filter_text: str | None, booster_text: str | None) -> None:
    """Both as they would be for any shopper.

    Raises:
        BadInput: names which, and where it is wrong.
    """
    if filter_text is not None:
        _checked(filter_text, "filter", "a filter", (bool,))
    if booster_text is not None:
        _checked(booster_text, "booster", "a booster", (int, float))


@lru_cache(maxsize=_KEPT)
def _checked(text: str, path: str, what: str, kinds: tuple[type, ...]) -> Compiled:
    """Compiled, and tried on an example: what is wrong with it for every item is said at once."""
    found = compiled(text, _FIELDS, path)
    try:
        value = found.compute(_EXAMPLE)
    except MissingError:
        return found  # an attribute that some items have
    except WrongError as error:
        raise BadInput(
            f"The expression has no value, whatever the item: {error}.", path=path, code="expression_wrong_type"
        ) from None
    if type(value) not in kinds:
        wanted = "true or false" if bool in kinds else "a number"
        raise BadInput(
            f"{what.capitalize()} gives {wanted}, this one does not.", path=path, code="expression_wrong_type"
        )
    return found


def item_facts(item: Item) -> dict[str, Any]:
    """What expressions read of an item; what is not known of it is left out."""
    found: dict[str, Any] = {"id": item.item_id, "available": item.may_be_shown}
    if item.content is not None:
        of = item.content
        found |= {"name": of.name, "categories": list(of.categories), "attributes": dict(of.attributes)}
        found |= {name: value for name, value in (("category", of.category), ("brand", of.brand)) if value is not None}
    if item.price is not None:
        found |= {"price": float(item.price.price), "currency": item.price.currency}
    if item.stock is not None and item.stock.quantity is not None:
        found["quantity"] = item.stock.quantity
    return found


def shopper_facts(state: State, facts: Facts) -> dict[str, Any]:
    """What expressions read of a shopper: no more than the list itself may use."""
    found: dict[str, Any] = {
        "known": bool(facts.interactions or facts.cart or facts.bought),
        "cart": sorted(facts.cart),
        "viewed": list(dict.fromkeys(one.item_id for one in reversed(facts.interactions))),
        "bought": sorted(facts.bought),
        "wished": sorted(facts.wished),
        "categories": sorted(facts.categories),
        "orders": state.orders if facts.bought else 0,
    }
    personal = bool(facts.interactions)
    if state.locale is not None:
        found["locale"] = state.locale
    if personal and state.last_search is not None:
        found["last_search"] = state.last_search
    return found
