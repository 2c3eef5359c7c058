"""Catalogue files: CSV or TSV with a header, JSON lines, Google Merchant feeds (XML or TSV). Each row is an
item.

Columns go by many names (`SYNONYMS`); one that has none of them becomes an attribute. A row that breaks a
rule is named by its line and the reason, and the others are taken. Prices read `12.99 USD`, `USD 12.99`, or a
number beside a `currency` column; without a currency a price is refused, for nobody would know what it means.
docs/formats.md tells it to those who have such a file.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from features.catalog import Content, Price, Stock
from features.events import MAX_ID
from features.refusals import located
from infra.errors import BadInput
from streams.mappings.origin import csv_rows, existing, open_bytes, text_lines, told_as_broken
from streams.mappings.outcomes import MAX_CATEGORIES, MAX_NAME, MAX_TEXT, Described, Undescribed
from streams.merchant_feed import feed_rows

MAX_URL: Final = 2000
MAX_ATTRIBUTES: Final = 50
MAX_ATTRIBUTE: Final = 500
SYNONYMS: Final[dict[str, tuple[str, ...]]] = {
    "item_id": ("item_id", "id", "sku", "product_id", "item"),
    "name": ("name", "title", "product_name", "item_name"),
    "description": ("description", "long_description", "text"),
    "category": ("category", "product_type", "categories", "category_path", "google_product_category"),
    "brand": ("brand", "manufacturer", "vendor"),
    "price": ("price", "regular_price", "unit_price"),
    "sale_price": ("sale_price", "special_price"),
    "currency": ("currency", "currency_code", "price_currency"),
    "availability": ("availability", "available", "in_stock", "stock_status"),
    "quantity": ("quantity", "stock", "stock_quantity", "inventory", "quantity_to_sell_on_facebook"),
    "url": ("url", "link", "product_url"),
    "image_url": ("image_url", "image_link", "image", "main_image"),
    "hidden": ("hidden",),
}
_AVAILABLE: Final = frozenset({"in_stock", "instock", "true", "yes", "1", "available", "limited_availability"})
_OUT: Final = frozenset(
    {"out_of_stock", "outofstock", "false", "no", "0", "sold_out", "discontinued", "preorder", "backorder",
    "unavailable"}
)  # fmt: skip
_AMOUNT: Final = re.compile(r"\A\d{1,9}(?:[.]\d{1,6})?\Z")
_COMMA: Final = re.compile(r"\A\d{1,9},\d{1,2}\Z")
_THOUSANDS: Final = re.compile(r"\A\d{1,3}([.,' ]\d{3})+([.,]\d{1,2})?\Z")
_CURRENCY: Final = re.compile(r"\A[A-Z]{3}\Z")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u2028\u2029\ud800-\udfff]")
_decoder: Final = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class ItemRow:
    """One row: the line it begins in, and its texts by the file's own names (in small letters, no spaces)."""

    line: int
    texts: Mapping[str, str]
    broken: str = ""


def read_items(path: Path) -> Iterator[Described | Undescribed]:
    """The items of a catalogue file, in its order; the format is told by its content.

    Raises:
        NotFound: there is no such file.
        BadInput: it is no catalogue at all: no column names an item, or the XML cannot be read on.
    """
    seen: set[str] = set()
    for row in _rows(existing(path)):
        try:
            if row.broken:
                raise BadInput(row.broken, code="unreadable")
            item = described(row.texts)
            if item.item_id in seen:
                raise BadInput(f"item {item.item_id} was there before", code="repeated_item")
        except BadInput as error:
            yield Undescribed(error.reason, row.line, located(error))
        else:
            seen.add(item.item_id)
            yield item


def described(texts: Mapping[str, str]) -> Described:
    """The item that a row tells of.

    Raises:
        BadInput: a rule is broken; `path` names the field.
    """
    told = {
        field: text
        for field, names in SYNONYMS.items()
        if (text := next((texts[name].strip() for name in names if texts.get(name, "").strip()), ""))
    }
    item_id = _bounded("item_id", told.get("item_id", ""), MAX_ID)
    if not item_id:
        raise BadInput(f"an item needs an id ({_names('item_id')})", path="item_id", code="no_id")
    return Described(item_id, _content(told, texts), _price(told), _stock(told))


def _content(told: Mapping[str, str], texts: Mapping[str, str]) -> Content:
    name = _bounded("name", told.get("name", ""), MAX_NAME)
    if not name:
        raise BadInput(f"an item needs a name ({_names('name')})", path="name", code="no_name")
    categories = tuple(part for text in re.split(r">|/{2}", told.get("category", "")) if (part := text.strip()))
    if len(categories) > MAX_CATEGORIES:
        raise BadInput(f"more than {MAX_CATEGORIES} levels", path="category", code="too_long")
    for part in categories:
        _bounded("category", part, MAX_ID)
    known = {name for names in SYNONYMS.values() for name in names}
    further = {key: text.strip() for key, text in texts.items() if key not in known and text.strip()}
    if len(further) > MAX_ATTRIBUTES:
        raise BadInput(f"more than {MAX_ATTRIBUTES} further fields", path="attributes", code="too_many")
    return Content(
        name=name,
        description=_bounded("description", told.get("description", ""), MAX_TEXT),
        category=categories[-1] if categories else None,
        categories=categories,
        brand=_bounded("brand", told.get("brand", ""), MAX_ID) or None,
        url=_link("url", told),
        image_url=_link("image_url", told),
        attributes={key: _bounded(key[:64], text, MAX_ATTRIBUTE) for key, text in further.items()},
        hidden=told.get("hidden", "").lower() in ("true", "yes", "1"),
    )


def _price(told: Mapping[str, str]) -> Price | None:
    field = "sale_price" if "sale_price" in told else "price"
    if field not in told:
        return None
    amount, _, rest = told[field].partition(" ")
    currency = rest.strip() or told.get("currency", "")
    if _CURRENCY.match(amount):
        amount, currency = rest.strip(), amount
    if _COMMA.match(amount):
        amount = amount.replace(",", ".")
    if not _AMOUNT.match(amount):
        thousands = ", thousands without a mark" if _THOUSANDS.match(amount) else ""
        raise BadInput(
            f"{told[field][:40]!r} is no price: write 12.99 USD, or 12,99 USD{thousands}", path=field, code="bad_price"
        )
    if not _CURRENCY.match(currency.upper()):
        raise BadInput(
            f"{told[field][:40]!r} has no currency: write {amount} USD, or add a column ({_names('currency')}) with "
            "its three letters",
            path=field,
            code="currency_required",
        )
    return Price(price=Decimal(amount), currency=currency.upper())


def _stock(told: Mapping[str, str]) -> Stock | None:
    quantity: int | None = None
    if "quantity" in told:
        if not re.fullmatch(r"\d{1,9}", told["quantity"]):
            raise BadInput(f"{told['quantity'][:40]!r} is no number of pieces", path="quantity", code="bad_quantity")
        quantity = int(told["quantity"])
    if "availability" not in told:
        return None if quantity is None else Stock(available=quantity > 0, quantity=quantity)
    word = told["availability"].lower().replace(" ", "_").rpartition("/")[2]
    if word not in _AVAILABLE | _OUT:
        raise BadInput(
            f"{told['availability'][:40]!r}: in_stock, out_of_stock, preorder or backorder",
            path="availability",
            code="bad_availability",
        )
    return Stock(available=word in _AVAILABLE, quantity=quantity)


def _names(field: str) -> str:
    return ", ".join(SYNONYMS[field])


def _link(field: str, told: Mapping[str, str]) -> str | None:
    link = _bounded(field, told.get(field, ""), MAX_URL)
    if link and not link.startswith(("https://", "http://", "/")):
        raise BadInput("not a link: http://, https:// or / is its begin", path=field, code="bad_url")
    return link or None


def _bounded(field: str, text: str, most: int) -> str:
    if len(text) > most:
        raise BadInput(f"longer than {most} characters", path=field, code="too_long")
    if _CONTROL.search(text):
        raise BadInput("control characters", path=field, code="control_character")
    return text


def _rows(path: Path) -> Iterator[ItemRow]:
    with told_as_broken(path), open_bytes(path) as raw:
        head = raw.read(65_536).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"<") or head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        with told_as_broken(path), open_bytes(path) as raw:
            for line, texts in feed_rows(raw):
                yield ItemRow(line, texts)
    elif head.startswith((b"{", b"[")):
        yield from _json_rows(path)
    else:
        yield from _table_rows(path, head)


def _json_rows(path: Path) -> Iterator[ItemRow]:
    for number, line in enumerate(text_lines(path), 1):
        if not line.strip():
            continue
        try:
            told: Any = _decoder.decode(line)
        except (ValueError, RecursionError) as error:
            yield ItemRow(number, {}, f"not JSON: {error}")
            continue
        if isinstance(told, dict):
            yield ItemRow(number, {_key(name): _text(value) for name, value in told.items()})
        else:
            yield ItemRow(number, {}, "not a JSON object")


def _table_rows(path: Path, head: bytes) -> Iterator[ItemRow]:
    first = head.partition(b"\n")[0]
    delimiter = max("\t,;", key=lambda mark: first.count(mark.encode()))
    rows = csv_rows(path, delimiter)
    header_row = next(rows, None)
    header = [_key(name) for name in header_row.fields] if header_row else []
    for field, what in (("item_id", "an item"), ("name", "its name")):
        if not set(header) & set(SYNONYMS[field]):
            raise BadInput(
                f"{path}: no column of the first line names {what} ({_names(field)})", path="line 1", code="header"
            )
    for row in rows:
        if len(row.fields) == len(header):
            yield ItemRow(row.line, dict(zip(header, row.fields, strict=True)))
        elif any(row.fields):
            told = (
                f"{len(row.fields)} fields, the first line has {len(header)}; a value with {delimiter!r} needs quotes"
            )
            yield ItemRow(row.line, {}, told)


def _key(name: str) -> str:
    return re.sub(r"[\s-]+", "_", name.strip().lower()).removeprefix("g:")


def _text(value: Any) -> str:
    """A JSON value as a file of text would have it: lists of categories as a path."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return " > ".join(_text(part) for part in value)
    if isinstance(value, dict):
        return msgspec.json.encode(value).decode()
    return str(value)
