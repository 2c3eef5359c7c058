"""The words of messages, from templates, in Chinese and English.

What comes from the shop (names) is data: control and direction characters are taken out, white space is one
blank, and the length is bounded. The result is plain text; whoever puts it into HTML escapes it there.
"""

import unicodedata
from collections.abc import Sequence
from typing import Final

from features.messages import Copy, TriggerItem

MAX_NAME: Final = 80
MAX_NAMED: Final = 3


def plain(text: str, most: int = MAX_NAME) -> str:
    """Shop text, fit for one line of a message."""
    kept = "".join(c if unicodedata.category(c)[0] != "C" else " " for c in unicodedata.normalize("NFC", text))
    words = " ".join(kept.split())
    return words if len(words) <= most else words[: most - 1].rstrip() + "…"


def cart_abandoned(items: Sequence[TriggerItem], locale: str | None) -> Copy:
    """The copy of a cart that was left alone: `items` are those that can still be bought, at least one."""
    if (locale or "").lower().replace("_", "-").split("-")[0] == "zh":
        return _chinese(items)
    return _english(items)


def _priced(item: TriggerItem, left: str, right: str) -> str:
    name = plain(item.name)
    if item.price is None or item.currency is None:
        return name
    return f"{name}{left}{item.price} {item.currency}{right}"


def _english(items: Sequence[TriggerItem]) -> Copy:
    first, more = plain(items[0].name), len(items) - 1
    named = ", ".join(_priced(item, " (", ")") for item in items[:MAX_NAMED])
    rest = len(items) - MAX_NAMED
    if rest > 0:
        named += f" and {rest} more"
    return Copy(
        subject=f"Still thinking about {first}?",
        title=first if not more else f"{first} and {more} more in your cart",
        body=f"Your cart still holds {named}. You can go on whenever you like.",
        locale="en",
    )


def _chinese(items: Sequence[TriggerItem]) -> Copy:
    first = plain(items[0].name)
    named = "、".join(_priced(item, "（", "）") for item in items[:MAX_NAMED])
    if len(items) > MAX_NAMED:
        named += f"等 {len(items)} 件商品"
    return Copy(
        subject=f"还在考虑「{first}」吗？",
        title=first if len(items) == 1 else f"购物车里有「{first}」等 {len(items)} 件商品",
        body=f"您的购物车里还有{named}，随时可以继续选购。",
        locale="zh",
    )
