"""Filters and boosters: a shop's CEL expressions over items and shoppers, checked at the door, kept compiled."""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from features.catalog import Item
from features.shoppers import State
from infra.errors import BadInput
from serving.cel import Compiled, MissingError, Scope, WrongError, compiled
from serving.sources import Facts

MOST_BOOST: Final = 1000.0
_KEPT: Final = 256
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
    left = _MOST_STEPS // cost

    def passes(item_id: str) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            return False
        try:
            return compute(Scope(items(item_id), shopper)) is True
        except WrongError:
            return False

    return passes


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
    left = _MOST_STEPS // cost

    def factor(item_id: str) -> float:
        nonlocal left
        left -= 1
        if left < 0:
            return 1.0
        try:
            value = compute(Scope(items(item_id), shopper))
        except WrongError:
            return 1.0
        if type(value) not in (int, float) or math.isnan(value):
            return 1.0
        return min(max(float(value), 0.0), MOST_BOOST)

    return factor


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
