"""What the item tower is told of each item, beside its id: category, brand, price bin, text."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Final

import numpy as np

from features.catalog import Item
from models.interactions import Floats, Ints

PRICE_BINS: Final = 16
_LOG_PRICES: Final = np.linspace(0.1, 6.0, PRICE_BINS - 1)


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """Rows are items. `text` is whitened; categories and brands count from 0, 0 is none, the others are named."""

    category: Ints
    brand: Ints
    price: Ints
    text: Floats
    categories: int
    brands: int
    category_names: tuple[str, ...] = ()
    brand_names: tuple[str, ...] = ()


def features_of(items: Sequence[Item], text: Floats) -> ItemFeatures:
    """The features of items, whose text vectors are given: [items, 64]."""
    categories, brands = names_of(items)
    return described(items, text, categories, brands)


def described(
    items: Sequence[Item], text: Floats, categories: tuple[str, ...], brands: tuple[str, ...]
) -> ItemFeatures:
    """As `features_of`, with the names given: a category or brand that is not among them is none, as is a price that
    is no number.
    """
    return ItemFeatures(
        _numbered([_category(item) for item in items], categories),
        _numbered([_maker(item) for item in items], brands),
        np.digitize(np.log1p([_price(item) or 0.0 for item in items]), _LOG_PRICES),
        text,
        len(categories) + 1,
        len(brands) + 1,
        categories,
        brands,
    )


def names_of(items: Sequence[Item]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The categories and the brands of items, sorted."""
    return _sorted(map(_category, items)), _sorted(map(_maker, items))


def odd_prices(items: Sequence[Item]) -> list[str]:
    """The items whose price is no number, or below 0."""
    return [item.item_id for item in items if item.price is not None and _price(item) is None]


def text_of(item: Item) -> str:
    """What the text encoder reads of an item."""
    content = item.content
    if content is None:
        return ""
    # The size of a package tells little and makes each text distinct.
    parts = [content.name.split(",")[0], *content.categories[-2:], content.description[:300]]
    return ". ".join(dict.fromkeys(part for part in parts if part))


def _price(item: Item) -> float | None:
    price = float(item.price.price) if item.price else None
    return price if price is not None and isfinite(price) and price >= 0 else None


def _category(item: Item) -> str | None:
    return item.content.category if item.content else None


def _maker(item: Item) -> str | None:
    content = item.content
    if content is None:
        return None
    return content.attributes.get("manufacturer_id") or content.brand


def _sorted(given: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(sorted({name for name in given if name is not None}))


def _numbered(given: Sequence[str | None], names: Sequence[str]) -> Ints:
    numbers: Mapping[str | None, int] = {name: at for at, name in enumerate(names, 1)}
    return np.array([numbers.get(name, 0) for name in given], dtype=np.int64)
