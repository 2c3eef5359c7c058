"""Why an item is in the list: true of the shopper's live state at this moment, or not said."""

from collections.abc import Callable, Iterable
from typing import Any, Final, Literal

import msgspec

from serving.ranking import Choice, Facts, Shop

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
    """Finds the reason of each item of one list."""

    def __init__(
        self, facts: Facts, context: Iterable[str], shop: Shop, name: Callable[[str], str], language: Language
    ) -> None:
        self._facts = facts
        self._context = frozenset(context)
        self._shop = shop
        self._name = name
        self._language = language
        self._viewed = {one.item_id for one in facts.interactions if one.kind in VIEWS}

    def reasons(self, choice: Choice) -> list[Reason]:
        """The strongest reason that is true."""
        facts, because = self._facts, choice.because
        if choice.item_id in facts.bought:
            return [self._said("buy_again")]
        if because is not None and choice.source == "context" and because in self._context:
            return [self._said("similar_to_context", item_id=because)]
        code = None if because is None else self._met(because)
        if because is not None and code is not None:
            return [self._said(code, item_id=because)]
        return [self._of_source(choice)]

    def _met(self, item_id: str) -> Code | None:
        """How the shopper met the item that spoke for another."""
        if item_id in self._facts.cart:
            return "because_in_cart"
        if item_id in self._viewed:
            return "because_viewed"
        if item_id in self._facts.bought:
            return "because_bought"
        return "because_wished" if item_id in self._facts.wished else None

    def _of_source(self, choice: Choice) -> Reason:
        category = self._shop.view.category(choice.item_id)
        popular = self._shop.knowledge.popularity(choice.item_id) > 0
        if choice.source == "category" and category is not None and popular:
            return self._said("popular_in_category", category=category)
        if choice.source not in ("popular", "catalogue"):
            if category in self._facts.categories and category is not None:
                return self._said("because_category", category=category)
            if self._facts.interactions:
                return self._said("for_you")
        return self._said("popular" if popular else "from_range")

    def _said(self, code: Code, **evidence: Any) -> Reason:
        name = ""
        if "item_id" in evidence:
            name = self._name(evidence["item_id"])
        elif "category" in evidence:
            name = evidence["category"]
        return Reason(code, TEXTS[code][self._language].format(name=name), evidence)


def language_of(*wanted: str | None) -> Language:
    """The first of the given locales or Accept-Language values that we speak, else English."""
    for one in wanted:
        for part in (one or "").lower().split(","):
            tag = part.strip()[:2]
            if tag in ("en", "zh"):
                return "zh" if tag == "zh" else "en"
    return "en"
