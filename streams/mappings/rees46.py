"""REES46 behaviour data of a shop for everything: CSV with header, one event a line.

Prices carry no currency in the file; dollars are assumed. An order has no number there, so each bought line
is a purchase of its own. Items follow from the events: brand, the last part of `category_code`, the last
price seen.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Final

from features.catalog import Content, Price
from features.events import MAX_ID, Event, EventItem, EventName
from infra.errors import BadInput
from streams.mappings.naming import title_case
from streams.mappings.origin import Origin, count_below_header, csv_rows
from streams.mappings.outcomes import Described, Mapping, Outcome, Refused, Taken, content_id, event_of

_NAMES: Final[dict[str, EventName]] = {
    "view": "view_item",
    "cart": "add_to_cart",
    "remove_from_cart": "remove_from_cart",
    "purchase": "purchase",
}
_HEADER: Final = (
    "event_time", "event_type", "product_id", "category_id", "category_code", "brand", "price", "user_id",
    "user_session",
)  # fmt: skip
CURRENCY: Final = "USD"

_Seen = tuple[str, str, Decimal | None]


def outcomes(origin: Origin) -> Iterator[Outcome]:
    """One event per line, items at the end.

    Raises:
        BadInput: the header is another one.
    """
    rows = csv_rows(origin.file)
    header = next(rows, None)
    if header is None or tuple(header.fields) != _HEADER:
        raise BadInput(f"{origin.file}: the first line is not {','.join(_HEADER)}", path="line 1", code="header")
    seen: dict[str, _Seen] = {}
    for row in rows:
        refused = _refusal(row.fields)
        if refused is not None:
            yield Refused(refused[0], row.line, row.lines, refused[1])
        else:
            yield Taken(_event(origin, row.fields, seen), row.lines)
    for item_id, told in seen.items():
        yield _described(item_id, told)


def _refusal(row: list[str]) -> tuple[str, str] | None:
    if len(row) != len(_HEADER):
        return "cut", f"{len(row)} fields, {len(_HEADER)} are due"
    if row[1] not in _NAMES:
        return "unknown_behaviour", f"event_type {row[1][:20]!r}"
    if _time(row[0]) is None:
        return "time_out_of_range", f"event_time {row[0][:30]!r}"
    if not row[2] or not row[7] or max(map(len, row)) > MAX_ID:
        return "no_id", "product_id and user_id are needed, 256 characters at most"
    if _price(row[6]) is None and row[6]:
        return "bad_price", f"price {row[6][:20]!r}"
    return None


def _event(origin: Origin, row: list[str], seen: dict[str, _Seen]) -> Event:
    at, kind, item_id, _, code, brand, price_text, user, session = row
    when, price = _time(at), _price(price_text) or None
    assert when is not None
    known = seen.get(item_id, ("", "", None))
    seen[item_id] = (code or known[0], brand or known[1], price or known[2])
    category = code.rpartition(".")[2].replace("_", " ") or None
    line = EventItem(item_id=item_id, price=price, category=category, brand=brand or None)
    event_id = content_id(at, kind, item_id, user, session, price_text)
    return event_of(origin, _NAMES[kind], event_id, when, user_id=user, items=(line,), session_id=session or None)


def _described(item_id: str, told: _Seen) -> Described:
    code, brand, price = told
    path = tuple(part.replace("_", " ") for part in code.split(".") if part)
    words = " ".join((*((brand,) if brand else ()), *path[-1:])) or "item"
    content = Content(
        name=f"{title_case(words)} {item_id}",
        category=path[-1] if path else None,
        categories=path,
        brand=brand or None,
    )
    return Described(item_id, content, Price(price=price, currency=CURRENCY) if price else None)


def _time(text: str) -> datetime | None:
    if len(text) != 23 or not text.endswith(" UTC"):
        return None
    try:
        at = datetime.fromisoformat(text[:19])
    except ValueError:
        return None
    return at.replace(tzinfo=UTC) if 2000 <= at.year < 2100 else None


def _price(text: str) -> Decimal | None:
    """None where it is no price; zero where none is told."""
    try:
        price = Decimal(text) if text else Decimal(0)
    except InvalidOperation:
        return None
    return price if price.is_finite() and 0 <= price < 10**9 else None


REES46: Final = Mapping(
    "rees46", 1, "REES46 multi-category shop: CSV with header, may be gzip", outcomes, count_below_header
)
