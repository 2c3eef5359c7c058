"""Values as other senders write them, as ours: ids that are numbers, numbers that are text, times without an offset.

What cannot be read comes back as it is: the check of our own types then refuses it by name.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

_WHOLE: Final = re.compile(r"[+-]?\d{1,18}", re.ASCII)
_OFFSET: Final = re.compile(r"(?:[Zz]|[+-]\d\d:?\d\d)\Z")
_LARGEST: Final = 10**18  # beyond it no sender means an id or a quantity
_YEAR_10000: Final = 253_402_300_800


def as_text(value: Any) -> Any:
    """An id that was sent as a number."""
    return str(value) if type(value) is int and abs(value) < _LARGEST else value


def as_terms(value: Any) -> Any:
    """Search terms, of which some send a list."""
    if isinstance(value, list) and all(isinstance(term, str) for term in value):
        return " ".join(value)
    return as_text(value)


def as_whole(value: Any) -> Any:
    """A quantity, position or rating that was sent as text or with decimal places."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST:
        return int(value)
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else value


def as_currency(value: Any) -> Any:
    """A currency in small letters."""
    return value.upper() if isinstance(value, str) else value


def as_texts(value: Any) -> Any:
    """Traits of any type: what is not text becomes its JSON."""
    if not isinstance(value, dict):
        return value
    told = {key: trait for key, trait in value.items() if trait is not None}
    return {key: trait if isinstance(trait, str) else _json(trait) for key, trait in told.items()}


def as_utc(value: Any) -> Any:
    """A time whose offset was left out because it is always UTC."""
    return f"{value}Z" if isinstance(value, str) and value and not _OFFSET.search(value) else value


def from_epoch(value: Any) -> Any:
    """A time in seconds since 1970."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < _YEAR_10000:
        return datetime.fromtimestamp(value, UTC)
    return value


def _json(value: Any) -> Any:
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except (ValueError, RecursionError):  # a number of thousands of digits, brackets of any depth
        return value


READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "anonymous_id": as_text,
    "category": as_text,
    "currency": as_currency,
    "event_id": as_text,
    "index": as_whole,
    "item_id": as_text,
    "quantity": as_whole,
    "rating": as_whole,
    "search_term": as_terms,
    "session_id": as_text,
    "traits": as_texts,
    "transaction_id": as_text,
    "user_id": as_text,
}
"""How the fields of every foreign vocabulary are read, by our names; a vocabulary may add to them."""
