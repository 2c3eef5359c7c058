"""Why an item is in the list: true of the shopper's live state at this moment, or not said."""

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import Final, Literal

import msgspec

from serving.ranking import Choice
from serving.sources import Facts, Shop

Code = Literal[
    "buy_again",
    "because_in_cart",
    "because_viewed",
    "because_bought",
    "because_wished",
    "similar_to_context",
    "because_category",
    "popular_in_category",
    "popular",
    "for_you",
    "from_range",
]
Language = Literal["en", "zh"]

VIEWS: Final = frozenset(("view_item", "select_item"))
_BY_DEEDS: Final = frozenset(("tower", "item_to_item", "repeat", "recently_viewed"))  # of the shopper
_SAID_KEPT: Final = 16_384

TEXTS: Final[dict[Code, dict[Language, str]]] = {
    "buy_again": {"en": "You bought this before", "zh": "您以前买过"},
    "because_in_cart": {"en": "Goes with “{name}” in your cart", "zh": "与购物车中的“{name}”搭配"},
    "because_viewed": {"en": "Because you looked at “{name}”", "zh": "因为您看过“{name}”"},
    "because_bought": {"en": "Because you bought “{name}”", "zh": "因为您买过“{name}”"},
    "because_wished": {"en": "Goes with “{name}” on your wish list", "zh": "与您收藏的“{name}”相配"},
    "similar_to_context": {"en": "Goes with “{name}”", "zh": "与“{name}”相配"},
    "because_category": {"en": "Fits your interest in {name}", "zh": "符合您对{name}的兴趣"},
    "popular_in_category": {"en": "Popular in {name}", "zh": "{name}热门"},
    "popular": {"en": "Popular right now", "zh": "近期热门"},
    "for_you": {"en": "Chosen from what you did lately", "zh": "根据您近期的浏览为您挑选"},
    "from_range": {"en": "From our range", "zh": "来自我们的商品"},
}


class Reason(msgspec.Struct, frozen=True):
    """One reason; `evidence` names the item or category that it rests on."""

    code: Code
    text: str
    evidence: dict[str, str] = {}


class Explainer:
    """Finds the reasons of each item of one list."""

    def __init__(
        self,
        facts: Facts,
        context: Iterable[str],
        shop: Shop,
        name: Callable[[str], str],
        language: Language,
        told_apart: Callable[[str, str], str] = lambda item_id, _: item_id,
    ) -> None:
        """`told_apart` says what the first of two items of one name has that the second has not."""
        self._facts = facts
        self._context = frozenset(context)
        self._shop = shop
        self._name = name
        self._language = language
        self._told_apart = told_apart
        self._viewed = {one.item_id for one in facts.interactions if one.kind in VIEWS}

    def reasons(self, choice: Choice, *, every: bool = False) -> list[Reason]:
        """The strongest reason that is true, or `every` one, strongest first."""
        found = self._true_of(choice)
        return list(found) if every else [next(found)]

    def _true_of(self, choice: Choice) -> Iterator[Reason]:
        """One at least."""
        if choice.item_id in self._facts.bought:
            yield _plain("buy_again", self._language)
        because = choice.because
        if because is not None:
            for code in self._spoke_as(choice, because):
                yield _about_item(code, self._language, because, self._name_beside(because, choice.item_id))
        # What is in the list for being popular says that first.
        if choice.source in ("category", "popular"):
            yield from self._of_all(choice)
            yield from self._of_shopper(choice)
        else:
            yield from self._of_shopper(choice)
            yield from self._of_all(choice)

    def _spoke_as(self, choice: Choice, because: str) -> Iterator[Code]:
        """How the shopper met the item that spoke for another."""
        if choice.source in ("context", "bought_together") and because in self._context:
            yield "similar_to_context"
        if because in self._facts.cart:
            yield "because_in_cart"
        if because in self._viewed:
            yield "because_viewed"
        if because in self._facts.bought:
            yield "because_bought"
        if because in self._facts.wished:
            yield "because_wished"

    def _name_beside(self, because: str, item_id: str) -> str:
        """The name of what speaks for an item; where both have one name, with what it differs in."""
        name = self._name(because)
        if name != self._name(item_id):
            return name
        return f"{name} ({self._told_apart(because, item_id)})"

    def _of_shopper(self, choice: Choice) -> Iterator[Reason]:
        category = self._shop.view.category(choice.item_id)
        if category is not None and category in self._facts.categories:
            yield _about_category("because_category", self._language, category)
        if choice.source in _BY_DEEDS and self._facts.interactions:
            yield _plain("for_you", self._language)

    def _of_all(self, choice: Choice) -> Iterator[Reason]:
        if self._shop.knowledge.popularity(choice.item_id) <= 0:
            yield _plain("from_range", self._language)
            return
        category = self._shop.view.category(choice.item_id) if choice.source == "category" else None
        if category is not None:
            yield _about_category("popular_in_category", self._language, category)
        yield _plain("popular", self._language)


# The same few reasons are given again and again: each is put into words once.


@lru_cache(maxsize=_SAID_KEPT)
def _about_item(code: Code, language: Language, item_id: str, name: str) -> Reason:
    return Reason(code, TEXTS[code][language].format(name=name), {"item_id": item_id})


@lru_cache(maxsize=_SAID_KEPT)
def _about_category(code: Code, language: Language, category: str) -> Reason:
    return Reason(code, TEXTS[code][language].format(name=category), {"category": category})


@lru_cache(maxsize=_SAID_KEPT)
def _plain(code: Code, language: Language) -> Reason:
    return Reason(code, TEXTS[code][language])


def language_of(*wanted: str | None) -> Language:
    """The first of the given locales or Accept-Language values that we speak, else English."""
    for one in wanted:
        for part in (one or "").lower().split(","):
            tag = part.strip()[:2]
            if tag in ("en", "zh"):
                return "zh" if tag == "zh" else "en"
    return "en"
