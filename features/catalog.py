"""Items: what the shop sells, in three facets that change apart: content, price and stock."""

from decimal import Decimal
from typing import Literal

import msgspec

Facet = Literal["content", "price", "stock"]


class Content(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What the item is. `category` is the most specific one, `categories` the path from the root."""

    name: str
    description: str = ""
    category: str | None = None
    categories: tuple[str, ...] = ()
    brand: str | None = None
    url: str | None = None
    image_url: str | None = None
    attributes: dict[str, str] = {}
    hidden: bool = False


class Price(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """What one unit costs."""

    price: Decimal
    currency: str


class Stock(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Whether it can be bought. `quantity` of None: not counted."""

    available: bool = True
    quantity: int | None = None


class Item(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An item as a whole; a facet not heard of yet is None."""

    item_id: str
    content: Content | None = None
    price: Price | None = None
    stock: Stock | None = None

    @property
    def may_be_shown(self) -> bool:
        """Named, not hidden and not out of stock."""
        return (
            self.content is not None
            and not self.content.hidden
            and (self.stock is None or (self.stock.available and self.stock.quantity != 0))
        )


class FacetRecord(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One record of `shop.catalog.v1`: the whole of one facet. All three None with its key alone is a removal."""

    tenant: str
    item_id: str
    content: Content | None = None
    price: Price | None = None
    stock: Stock | None = None
