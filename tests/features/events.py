"""Events as hypothesis makes them, one with every field, and JSON that is broken somewhere."""

import copy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import strategies as st

from features.event_rules import MAX_MONEY, MONEY_PLACES
from features.events import EVENT_NAMES, MAX_ITEMS, MAX_QUANTITY, Context, Event, EventItem, parse
from infra.errors import BadInput

RECEIVED = datetime(2026, 5, 1, 12, tzinfo=UTC)

ids = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), min_size=1, max_size=12)
texts = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\x00"), min_size=1, max_size=30)
amounts = st.decimals(0, MAX_MONEY - 1, places=MONEY_PLACES) | st.sampled_from([Decimal("0"), Decimal("1E+3")])
times = st.datetimes(datetime(1970, 1, 3), datetime(2199, 12, 30), timezones=st.just(UTC))

items = st.builds(
    EventItem,
    item_id=ids,
    price=st.none() | amounts,
    quantity=st.integers(1, MAX_QUANTITY),
    index=st.none() | st.integers(0, 1_000_000),
    item_list_id=st.none() | ids,
    category=st.none() | ids,
    brand=st.none() | ids,
)
contexts = st.builds(
    Context,
    page=st.none() | texts,
    locale=st.sampled_from([None, "de", "zh-Hans-CN", "en_US"]),
    time_zone=st.sampled_from([None, "Europe/Berlin", "Etc/GMT+9"]),
)


@st.composite
def sent_events(draw: st.DrawFn) -> Event:
    """Events that a sender may send, of every name and with every field, as they are once they are received."""
    return Event(
        event_name=draw(st.sampled_from(EVENT_NAMES)),
        occurred_at=draw(times),
        event_id=draw(ids),
        source=draw(ids),
        tenant=draw(st.sampled_from(["default", "shop-2"])),
        anonymous_id=draw(ids),
        user_id=draw(ids),
        session_id=draw(st.none() | ids),
        sent_at=draw(st.none() | times),
        received_at=draw(times),
        items=tuple(draw(st.lists(items, min_size=1, max_size=4))),
        currency=draw(st.sampled_from(["EUR", "CNY"])),
        value=draw(st.none() | amounts),
        transaction_id=draw(st.none() | ids),
        search_term=draw(texts),
        recommendation_id=draw(st.none() | ids),
        rating=draw(st.integers(1, 5)),
        text=draw(st.none() | texts),
        traits=draw(st.none() | st.dictionaries(texts, texts, max_size=3)),
        consent=draw(st.dictionaries(ids, st.booleans(), min_size=1, max_size=3)),
        context=draw(st.none() | contexts),
    )


WHOLE: dict[str, Any] = {
    "event_name": "purchase",
    "occurred_at": "2026-05-01T11:59:00Z",
    "sent_at": "2026-05-01T11:59:30Z",
    "event_id": "e1",
    "source": "app",
    "schema_version": 1,
    "anonymous_id": "a1",
    "user_id": "u1",
    "session_id": "s1",
    "items": [
        {"item_id": "tea", "price": 4.5, "quantity": 2, "index": 0, "category": "drinks", "brand": "Leaf"},
        {"item_id": "pot", "price": "19.99"},
    ],
    "currency": "EUR",
    "value": 28.99,
    "transaction_id": "t1",
    "search_term": "tea",
    "recommendation_id": "r1",
    "rating": 5,
    "text": "good",
    "traits": {"name": "Ann"},
    "consent": {"email": True},
    "context": {"page": "https://shop.example/", "locale": "de-DE", "time_zone": "Europe/Berlin"},
}


def parsed(obj: object) -> Event:
    return parse(obj, tenant="default", received_at=RECEIVED, new_id=lambda: "new")


def refused(obj: object) -> tuple[str, str]:
    with pytest.raises(BadInput) as caught:
        parsed(obj)
    assert caught.value.message
    return caught.value.path, caught.value.reason


def without(*names: str) -> dict[str, Any]:
    return {name: value for name, value in WHOLE.items() if name not in names}


leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["", "0", "-1", "1e999999999", "0E-99", "NaN", "\x00", "\ud800", "x" * 300, "2026-05-01T10:00:00"]
    )
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def _places(obj: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inside = obj.items() if isinstance(obj, dict) else enumerate(obj) if isinstance(obj, list) else ()
    return [path, *(place for key, value in inside for place in _places(value, (*path, key)))]


@st.composite
def broken(draw: st.DrawFn, whole: Any) -> Any:
    """The JSON value with up to three of its parts replaced by anything, taken away, or repeated."""
    root = {"root": copy.deepcopy(whole)}
    for _ in range(draw(st.integers(1, 3))):
        *above, last = draw(st.sampled_from([place for place in _places(root) if place]))
        holder: Any = root
        for step in above:
            holder = holder[step]
        what = draw(st.sampled_from(["replace", "replace", "remove", "repeat"]))
        if what == "remove" and above:
            del holder[last]
        elif what == "repeat" and isinstance(holder[last], list):
            holder[last] = (holder[last] * (MAX_ITEMS + 1))[: MAX_ITEMS + 1]
        else:
            holder[last] = draw(anything)
    return root["root"]
