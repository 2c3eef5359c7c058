"""What the item tower is told of each item, beside its id: category, brand, price bin, text."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from features.catalog import Item
from models.interactions import Floats, Ints

PRICE_BINS: Final = 16
_LOG_PRICES: Final = np.linspace(0.1, 6.0, PRICE_BINS - 1)


@dataclass(frozen=True, slots=True)
class ItemFeatures:
    """Rows are items. `text` is whitened; categories and brands count from 0, 0 is none."""

    category: Ints
    brand: Ints
    price: Ints
    text: Floats
    categories: int
    brands: int


def features_of(items: Sequence[Item], text: Floats) -> ItemFeatures:
    """The features of items, whose text vectors are given: [items, 64]."""
    contents = [item.content for item in items]
    category, categories = _numbered([content.category if content else None for content in contents])
    brand, brands = _numbered([_maker(item) for item in items])
    prices = np.array([float(item.price.price) if item.price else 0.0 for item in items])
    return ItemFeatures(category, brand, np.digitize(np.log1p(prices), _LOG_PRICES), text, categories, brands)


def text_of(item: Item) -> str:
    """What the text encoder reads of an item."""
    content = item.content
    if content is None:
        return ""
    # The size of a package tells little and makes each text distinct.
    parts = [content.name.split(",")[0], *content.categories[-2:], content.description[:300]]
    return ". ".join(dict.fromkeys(part for part in parts if part))


def _maker(item: Item) -> str | None:
    content = item.content
    if content is None:
        return None
    return content.attributes.get("manufacturer_id") or content.brand


def _numbered(names: Sequence[str | None]) -> tuple[Ints, int]:
    numbers: Mapping[str, int] = {
        name: at for at, name in enumerate(sorted({name for name in names if name is not None}), 1)
    }
    return np.array([0 if name is None else numbers[name] for name in names], dtype=np.int64), len(numbers) + 1
