"""Small source files for the tests of loading, and what a mapping makes of them."""

import gzip
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from features.events import Event
from streams.mappings.origin import Origin
from streams.mappings.outcomes import Described, Mapping, Outcome, Refused, Repeated, Taken, Undescribed

RECEIVED = datetime(2026, 11, 24, 12, tzinfo=UTC)
RETAIL_HEADER = "InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country"
REES46_HEADER = "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session"


def written(folder: Path, name: str, *lines: str, packed: bool = False) -> Path:
    """A text file of these lines."""
    text = "".join(f"{line}\n" for line in lines).encode()
    path = folder / name
    path.write_bytes(gzip.compress(text) if packed else text)
    return path


def outcomes(mapping: Mapping, *files: Path) -> list[Outcome]:
    """Everything that a mapping makes of files."""
    origin = origin_of(mapping, *files)
    found = list(mapping.outcomes(origin))
    assert mapping.count(origin) == lines_of(found)
    return found


def origin_of(mapping: Mapping, *files: Path) -> Origin:
    """The files as a load opens them."""
    return Origin(files, f"load-{mapping.name}", "default", RECEIVED, "load-0")


def lines_of(found: Sequence[Outcome]) -> int:
    """Lines that the outcomes stand for."""
    return sum(each.lines for each in found if isinstance(each, Taken | Refused | Repeated))


def events(found: Sequence[Outcome]) -> list[Event]:
    """The events among outcomes."""
    return [each.event for each in found if isinstance(each, Taken)]


def refused(found: Sequence[Outcome]) -> dict[str, int]:
    """Lines refused, by reason."""
    counts: Counter[str] = Counter()
    for each in found:
        if isinstance(each, Refused):
            counts[each.code] += each.lines
    return dict(counts)


def items(found: Sequence[Outcome | Described | Undescribed]) -> dict[str, Described]:
    """The items among outcomes."""
    return {each.item_id: each for each in found if isinstance(each, Described)}


def undescribed(found: Sequence[Outcome | Described | Undescribed]) -> dict[str, int]:
    """Rows that became no item, by reason."""
    return dict(Counter(each.code for each in found if isinstance(each, Undescribed)))


def retail_line(
    invoice: str,
    code: str,
    quantity: object = 1,
    price: object = "2.50",
    *,
    at: str = "2011-03-01 10:00:00",
    customer: str = "17850.0",
    name: str = "RED MUG",
) -> str:
    """A line of Online Retail."""
    return f"{invoice},{code},{name},{quantity},{at},{price},{customer},United Kingdom"


def grocery_files(
    folder: Path, lines: Sequence[tuple[object, ...]], products: Sequence[tuple[object, ...]]
) -> tuple[Path, Path]:
    """Transactions (household, basket, product, quantity, sales, time) and products of that package."""
    columns = ("household_id", "basket_id", "product_id", "quantity", "sales_value", "transaction_timestamp")
    told = (
        *("product_id", "manufacturer_id", "department", "brand"),
        *("product_category", "product_type", "package_size"),
    )
    paths = (folder / "transactions.parquet", folder / "products.parquet")
    for path, names, rows in zip(paths, (columns, told), (lines, products), strict=True):
        pq.write_table(pa.table({name: [row[i] for row in rows] for i, name in enumerate(names)}), path)
    return paths
