"""UCI Online Retail: a year of a British gift shop, one line per invoice line, may be gzip.

- An invoice is one event: `purchase`, or `refund` where its number begins with C (refunded quantities are
  positive). It happened at the time of its first line, read as local time of the shop (Europe/London); some
  invoices go on a minute later.
- Lines without CustomerID are baskets of nobody known: an `anonymous_id` of the invoice's own.
- Stock codes differ in case for the same article; they are taken in capitals.
- Lines of one article in one invoice become one item: quantities added, prices averaged by quantity.
- More than 500 items are divided into events of 500, `581219`, `581219.2`, … in the order of the file.
- Postage, fees, manual entries, discounts, samples and bad debts are no goods; what has no positive price or
  quantity is an adjustment of the stock. Each is refused by a name of its own. The same line twice in an
  invoice is dropped.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

from features.catalog import Content, Price
from features.events import MAX_ID, MAX_ITEMS, EventItem, EventName
from infra.errors import BadInput
from streams.mappings.naming import title_case
from streams.mappings.origin import CsvRow, Origin, count_below_header, csv_rows
from streams.mappings.outcomes import (
    MAX_NAME,
    Described,
    Mapping,
    Outcome,
    Refused,
    Repeated,
    Taken,
    event_of,
    with_order,
)

CURRENCY: Final = "GBP"
ZONE: Final = "Europe/London"
# An invoice whose lines stop for so many lines is over: what is open in memory stays bounded.
OPEN_LINES: Final = 20_000
_HEADER: Final = (
    "InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country",
)  # fmt: skip
_NO_GOODS: Final = {
    "POST": "postage",
    "DOT": "postage",
    "C2": "postage",
    "M": "manual_entry",
    "D": "discount",
    "S": "sample",
    "B": "bad_debt",
    "BANK CHARGES": "fee",
    "AMAZONFEE": "fee",
    "CRUK": "fee",
}
_FINEST: Final = Decimal("0.0001")


@dataclass(slots=True)
class _Line:
    number: int
    code: str
    quantity: int
    price: Decimal


@dataclass(slots=True)
class _Invoice:
    """An invoice while its lines come in."""

    number: str
    at: datetime
    customer: str
    last: int
    seen: set[tuple[str, ...]] = field(default_factory=set)
    lines: list[_Line] = field(default_factory=list)


@dataclass(slots=True)
class _Goods:
    """What the lines say of an article."""

    names: Counter[str]
    price: Decimal
    at: datetime


def outcomes(origin: Origin) -> Iterator[Outcome]:
    """One event per invoice (or per 500 items of it), articles at the end.

    Raises:
        BadInput: the header is another one.
    """
    rows = csv_rows(origin.file)
    header = next(rows, None)
    if header is None or tuple(header.fields) != _HEADER:
        raise BadInput(f"{origin.file}: the first line is not {','.join(_HEADER)}", path="line 1", code="header")
    reader = _Reader(origin)
    for row in rows:
        yield from reader.read(row)
    yield from reader.end()


class _Reader:
    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._open: OrderedDict[str, _Invoice] = OrderedDict()  # the one whose last line is oldest first
        self._closed: set[str] = set()
        self._goods: dict[str, _Goods] = {}

    def read(self, row: CsvRow) -> Iterator[Outcome]:
        """The next line: put into its invoice, or refused; and invoices that are over by now."""
        if len(row.fields) != len(_HEADER) or not row.fields[0] or len(row.fields[0]) > MAX_ID // 2:
            yield Refused("cut", row.line, row.lines, f"{len(row.fields)} fields, {len(_HEADER)} are due")
            return
        at = _local_time(row.fields[4])
        if at is None:
            yield Refused("time_out_of_range", row.line, row.lines, f"InvoiceDate {row.fields[4][:30]!r}")
            return
        yield from self._over(row.line - OPEN_LINES)
        number = row.fields[0]
        if number in self._closed:
            yield Refused("stray_line", row.line, row.lines, f"invoice {number} ended {OPEN_LINES} lines before")
            return
        yield from self._put(self._invoice(number, at, row), row, at)

    def end(self) -> Iterator[Outcome]:
        """The last invoices, and the articles."""
        for invoice in self._open.values():
            yield from self._events(invoice)
        for code, goods in self._goods.items():
            (name, _), *_ = goods.names.most_common(1)
            content = Content(name=title_case(name)[:MAX_NAME] or f"Article {code}")
            yield Described(code, content, Price(price=goods.price, currency=CURRENCY))

    def _invoice(self, number: str, at: datetime, row: CsvRow) -> _Invoice:
        invoice = self._open.get(number)
        if invoice is None:
            invoice = self._open[number] = _Invoice(number, at, row.fields[6], row.line)
        else:
            self._open.move_to_end(number)
        invoice.last = row.line
        return invoice

    def _over(self, before: int) -> Iterator[Outcome]:
        while self._open:
            invoice = next(iter(self._open.values()))
            if invoice.last >= before:
                return
            del self._open[invoice.number]
            self._closed.add(invoice.number)
            yield from self._events(invoice)

    def _put(self, invoice: _Invoice, row: CsvRow, at: datetime) -> Iterator[Outcome]:
        fields = tuple(row.fields)
        if fields in invoice.seen:
            yield Repeated(row.lines)
            return
        invoice.seen.add(fields)
        code, quantity, price = fields[1].strip().upper(), _quantity(fields[3]), _price(fields[5])
        refused = _refusal(invoice.number, code, quantity, price)
        if refused is not None or quantity is None or price is None:
            yield Refused(refused or "bad_number", row.line, row.lines, f"{fields[1][:20]} {fields[2][:40]}".strip())
            return
        refund = invoice.number.startswith("C")
        invoice.lines.append(_Line(row.lines, code, -quantity if refund else quantity, price))
        goods = self._goods.get(code)
        if goods is None:
            goods = self._goods[code] = _Goods(Counter(), price, at)
        goods.names[fields[2].strip()] += 1
        if not refund and at >= goods.at:
            goods.price, goods.at = price, at

    def _events(self, invoice: _Invoice) -> Iterator[Taken]:
        merged: dict[str, list[_Line]] = {}
        for line in invoice.lines:
            merged.setdefault(line.code, []).append(line)
        name: EventName = "refund" if invoice.number.startswith("C") else "purchase"
        customer = invoice.customer.removesuffix(".0").strip()
        whole = list(merged.items())
        for part, begin in enumerate(range(0, len(whole), MAX_ITEMS), 1):
            chunk = whole[begin : begin + MAX_ITEMS]
            event = event_of(
                self._origin,
                name,
                invoice.number if part == 1 else f"{invoice.number}.{part}",
                invoice.at,
                user_id=customer or None,
                anonymous_id=None if customer else f"invoice-{invoice.number}",
                items=tuple(_item(code, lines) for code, lines in chunk),
            )
            paid = sum((li.price * li.quantity for _, lines in chunk for li in lines), Decimal(0))
            event = with_order(event, transaction_id=invoice.number, currency=CURRENCY, value=paid)
            yield Taken(event, sum(li.number for _, lines in chunk for li in lines))


def _refusal(invoice: str, code: str, quantity: int | None, price: Decimal | None) -> str | None:
    if not code or len(code) > MAX_ID:
        return "no_id"
    if quantity is None or price is None:
        return "bad_number"
    if code in _NO_GOODS:
        return _NO_GOODS[code]
    if (quantity < 0) != invoice.startswith("C") or quantity == 0:
        return "stock_adjustment"
    if price <= 0:
        return "no_price"
    return None


def _item(code: str, lines: Iterable[_Line]) -> EventItem:
    lines = list(lines)
    quantity = sum(line.quantity for line in lines)
    price = lines[0].price
    if any(line.price != price for line in lines):
        total = sum((line.price * line.quantity for line in lines), Decimal(0))
        price = (total / quantity).quantize(_FINEST)
    return EventItem(item_id=code, price=price, quantity=quantity)


@lru_cache(maxsize=1024)  # the lines of an invoice have one time
def _local_time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is not None or not 2000 <= at.year < 2100:
        return None
    return at.replace(tzinfo=ZoneInfo(ZONE)).astimezone(UTC)


def _quantity(text: str) -> int | None:
    try:
        quantity = int(text)
    except ValueError:
        return None
    return quantity if abs(quantity) < 10**9 else None


@lru_cache(maxsize=10_000)  # the same few prices come again and again
def _price(text: str) -> Decimal | None:
    try:
        price = Decimal(text)
    except InvalidOperation:
        return None
    return price if price.is_finite() and abs(price) < 10**9 else None


ONLINE_RETAIL: Final = Mapping(
    "online-retail", 1, "UCI Online Retail: CSV with header, may be gzip", outcomes, count_below_header
)
