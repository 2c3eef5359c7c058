"""Events: the codec, the rule of event time, and what is refused, by path and code."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.event_rules import NEEDS_ITEMS
from features.events import (
    EVENT_NAMES,
    MAX_AGE_MS,
    MAX_ID,
    MAX_ITEMS,
    MAX_QUANTITY,
    Event,
    EventItem,
    decode,
    encode,
    event_time_ms,
    parse,
    record_key_of,
    to_ms,
)
from infra.errors import BadInput, Undecodable
from tests.features.events import RECEIVED, anything, broken, sent_events, times
from tests.features.told import EXAMPLES

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


# --- the codec


@given(sent_events())
def test_an_event_is_the_same_after_the_log(event: Event) -> None:
    raw = encode(event)
    assert decode(raw) == event
    assert encode(decode(raw)) == raw


@given(sent_events())
def test_an_event_is_the_same_after_the_door(event: Event) -> None:
    """What a sender sends of an event makes that event: the door changes nothing and asks for nothing more."""
    assert event.received_at is not None
    told = msgspec.json.decode(encode(event))
    again = parse(told, tenant=event.tenant, received_at=event.received_at, new_id=lambda: "never used")
    assert again == event


def test_the_receivers_fields_cannot_be_sent_and_others_are_ignored() -> None:
    sent = WHOLE | {
        "tenant": "other",
        "received_at": "1999-01-01T00:00:00Z",
        "replay_id": "r",
        "load_id": "l",
        "new": 1,
    }
    assert parsed(sent) == parsed(WHOLE)
    event = parsed(WHOLE)
    assert (event.tenant, event.received_at, event.replay_id, event.load_id) == ("default", RECEIVED, None, None)


def test_null_is_as_good_as_absent_and_an_id_is_made() -> None:
    sent = {"event_name": "page_view", "occurred_at": "2026-05-01T12:00:00+02:00", "user_id": "u", "event_id": None}
    event = parsed(sent | {name: None for name in WHOLE if name not in sent})
    assert event == Event(
        event_name="page_view",
        occurred_at=datetime(2026, 5, 1, 10, tzinfo=UTC),
        received_at=RECEIVED,
        user_id="u",
        event_id="new",
    )


def test_money_has_six_places_at_most() -> None:
    event = parsed(WHOLE | {"value": "1.23456789", "items": [{"item_id": "a", "price": 0.1 + 0.2}]})
    assert (event.value, event.items[0].price) == (Decimal("1.234568"), Decimal("0.3"))


def test_the_key_is_the_users_where_there_is_one() -> None:
    assert record_key_of(parsed(WHOLE | {"user_id": "a|b"})) == "default|u-a%7Cb"
    assert record_key_of(parsed(without("user_id"))) == "default|a-a1"


# --- event time


def event_at(occurred: datetime, sent: datetime | None, received: datetime | None, load: bool = False) -> Event:
    return Event(
        event_name="page_view",
        event_id="e",
        user_id="u",
        occurred_at=occurred,
        sent_at=sent,
        received_at=received,
        load_id="load" if load else None,
    )


def test_a_clock_that_goes_wrong_is_corrected_by_when_it_says_that_it_sent() -> None:
    """An hour fast; the event happened ten seconds before it was sent."""
    event = event_at(RECEIVED + timedelta(minutes=59, seconds=50), RECEIVED + timedelta(hours=1), RECEIVED)
    assert event_time_ms(event) == to_ms(RECEIVED) - 10_000


def test_without_a_time_of_sending_the_clock_is_believed_up_to_the_receipt() -> None:
    assert event_time_ms(event_at(RECEIVED - timedelta(hours=1), None, RECEIVED)) == to_ms(RECEIVED) - 3_600_000
    assert event_time_ms(event_at(RECEIVED + timedelta(hours=1), None, RECEIVED)) == to_ms(RECEIVED)
    assert event_time_ms(event_at(RECEIVED, None, None)) == to_ms(RECEIVED)


def test_thirty_days_are_the_most_unless_it_is_loaded() -> None:
    old = RECEIVED - timedelta(days=400)
    assert event_time_ms(event_at(old, None, RECEIVED)) == to_ms(RECEIVED) - MAX_AGE_MS
    assert event_time_ms(event_at(old, None, RECEIVED, load=True)) == to_ms(old)
    assert event_time_ms(event_at(RECEIVED + timedelta(days=1), None, RECEIVED, load=True)) == to_ms(RECEIVED)


@given(occurred=times, sent=st.none() | times, received=times, load=st.booleans())
def test_event_time_is_never_after_receipt_nor_long_before(
    occurred: datetime, sent: datetime | None, received: datetime, load: bool
) -> None:
    at = event_time_ms(event_at(occurred, sent, received, load))
    corrected = to_ms(occurred) + (0 if sent is None else to_ms(received) - to_ms(sent))
    lowest = corrected if load else to_ms(received) - MAX_AGE_MS
    assert at == min(max(corrected, lowest), to_ms(received))


@given(
    occurred=times,
    before=st.timedeltas(timedelta(0), timedelta(days=29)),
    wrong=st.timedeltas(-timedelta(9), timedelta(9)),
)
def test_how_wrong_a_clock_is_makes_no_difference(occurred: datetime, before: timedelta, wrong: timedelta) -> None:
    def told(by: timedelta) -> int:
        return event_time_ms(event_at(occurred + by, occurred + before + by, occurred + before))

    ms = timedelta(milliseconds=wrong // timedelta(milliseconds=1))
    assert told(ms) == told(timedelta(0))


# --- refusals


@pytest.mark.parametrize(
    ("changed", "path", "code"),
    [
        ({"event_name": "gaze"}, "event_name", "unknown_event"),
        ({"event_name": 7}, "event_name", "unknown_event"),
        ({"event_name": None}, "event_name", "missing_field"),
        ({"occurred_at": None}, "occurred_at", "missing_field"),
        ({"occurred_at": "2026-05-01T10:00:00"}, "occurred_at", "time_without_offset"),
        ({"occurred_at": "yesterday"}, "occurred_at", "wrong_time"),
        ({"occurred_at": 1_777_629_600}, "occurred_at", "wrong_type"),
        ({"sent_at": "1969-01-01T00:00:00Z"}, "sent_at", "time_out_of_range"),
        ({"occurred_at": "2900-01-01T00:00:00Z"}, "occurred_at", "time_out_of_range"),
        ({"user_id": None, "anonymous_id": None}, "user_id", "shopper_required"),
        ({"user_id": ""}, "user_id", "empty"),
        ({"user_id": "x" * (MAX_ID + 1)}, "user_id", "too_long"),
        ({"user_id": "a\nb"}, "user_id", "control_character"),
        ({"source": 1}, "source", "wrong_type"),
        ({"items": []}, "items", "items_required"),
        ({"items": {}}, "items", "wrong_type"),
        ({"items": [{"item_id": "a"}] * (MAX_ITEMS + 1)}, "items", "too_long"),
        ({"items": [{"item_id": "a"}, 7]}, "items[1]", "wrong_type"),
        ({"items": [{"item_id": "a"}, {"price": 1}]}, "items[1].item_id", "missing_field"),
        ({"items": [{"item_id": "a", "price": "cheap"}]}, "items[0].price", "wrong_number"),
        ({"items": [{"item_id": "a", "price": -1}]}, "items[0].price", "out_of_range"),
        ({"items": [{"item_id": "a", "price": "NaN"}]}, "items[0].price", "out_of_range"),
        ({"items": [{"item_id": "a", "price": "1e-999999999"}]}, "items[0].price", "out_of_range"),
        ({"items": [{"item_id": "a", "quantity": 0}]}, "items[0].quantity", "out_of_range"),
        ({"items": [{"item_id": "a", "quantity": MAX_QUANTITY + 1}]}, "items[0].quantity", "out_of_range"),
        ({"items": [{"item_id": "a", "quantity": 1.5}]}, "items[0].quantity", "wrong_type"),
        ({"items": [{"item_id": "a", "brand": "x\x00"}]}, "items[0].brand", "control_character"),
        ({"value": "1e12"}, "value", "out_of_range"),
        ({"currency": "euro"}, "currency", "wrong_currency"),
        ({"currency": None}, "currency", "currency_required"),
        ({"rating": 6}, "rating", "out_of_range"),
        ({"search_term": "x" * 501}, "search_term", "too_long"),
        ({"text": "half \ud800"}, "text", "control_character"),
        ({"traits": {"a": 1}}, "traits[...]", "wrong_type"),
        ({"consent": {"email": "yes"}}, "consent[...]", "wrong_type"),
        ({"context": {"locale": "deutsch, bitte"}}, "context.locale", "wrong_form"),
        ({"context": {"time_zone": "x y"}}, "context.time_zone", "wrong_form"),
        ({"schema_version": 2}, "schema_version", "unknown_version"),
    ],
)
def test_a_refusal_names_path_and_code(changed: dict[str, Any], path: str, code: str) -> None:
    assert refused(WHOLE | changed) == (path, code)


@pytest.mark.parametrize("obj", [None, 7, "event", [], [WHOLE]])
def test_only_an_object_is_an_event(obj: object) -> None:
    assert refused(obj) == ("", "wrong_type")


@pytest.mark.parametrize(
    ("name", "lacking", "path", "code"),
    [
        ("identify", "user_id", "user_id", "both_ids_required"),
        ("identify", "anonymous_id", "anonymous_id", "both_ids_required"),
        ("search", "search_term", "search_term", "search_term_required"),
        ("consent_updated", "consent", "consent", "consent_required"),
    ],
)
def test_what_single_events_need(name: str, lacking: str, path: str, code: str) -> None:
    parsed(WHOLE | {"event_name": name})
    assert refused(without(lacking) | {"event_name": name}) == (path, code)


def test_a_review_needs_a_rating_or_a_text() -> None:
    review = without("rating", "text") | {"event_name": "review_item"}
    assert refused(review) == ("rating", "review_required")
    assert (parsed(review | {"rating": 3}).rating, parsed(review | {"text": "fine"}).text) == (3, "fine")


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_events_about_items_need_one_also_on_the_log(name: str) -> None:
    bare = without("items") | {"event_name": name}
    if name in NEEDS_ITEMS:
        assert refused(bare) == ("items", "items_required")
        with pytest.raises(BadInput, match="at least one item"):
            decode(msgspec.json.encode(bare))
    else:
        assert parsed(bare).items == ()


# --- what the log may hold


@pytest.mark.parametrize(
    "raw",
    [
        b'{"schema_version":2}',
        b'{"schema_version":2,"event_name":"a name of the future","happened":1}',
        encode(Event(event_name="page_view", event_id="e", user_id="u", occurred_at=RECEIVED, schema_version=7)),
    ],
)
def test_another_version_is_named_whatever_else_is_in_it(raw: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        decode(raw)
    assert (caught.value.path, caught.value.reason) == ("schema_version", "unknown_version")


@pytest.mark.parametrize("raw", [b"", b"\xff", b"{", b'{"x":' + b"[" * 100_000, b'{"event_name":"\xff"}', b'"\\ud800'])
def test_bytes_that_are_no_json_are_undecodable(raw: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(raw)


def dumped(obj: object) -> bytes:
    """As a careless sender does it: with NaN and with half characters."""
    return json.dumps(obj).encode()


def only_refuses(raw: bytes) -> None:
    try:
        event = decode(raw)
    except BadInput:
        return
    assert decode(encode(event)) == event


@given(st.binary(max_size=200) | anything.map(dumped))
def test_decoding_garbage_refuses_and_nothing_else(raw: bytes) -> None:
    only_refuses(raw)


@settings(max_examples=300)
@given(broken(WHOLE).map(dumped))
def test_decoding_broken_events_refuses_and_nothing_else(raw: bytes) -> None:
    only_refuses(raw)


@given(st.integers(0, 700), st.binary(min_size=1, max_size=4))
def test_decoding_events_with_bytes_overwritten_refuses_and_nothing_else(at: int, bytes_: bytes) -> None:
    raw = msgspec.json.encode(WHOLE)
    only_refuses(raw[:at] + bytes_ + raw[at + len(bytes_) :])


@settings(max_examples=600)
@given(st.sampled_from((WHOLE, *EXAMPLES)).flatmap(broken) | anything)
def test_the_door_refuses_or_lets_in_what_the_log_can_hold(obj: Any) -> None:
    """Of whatever vocabulary it once was: an event that is let in comes back from the log as it is."""
    try:
        event = parsed(obj)
    except BadInput:
        return
    assert decode(encode(event)) == event
    assert event_time_ms(event) <= to_ms(RECEIVED)


def test_lines_of_a_purchase_stand_as_they_were_sent() -> None:
    assert parsed(WHOLE).items == (
        EventItem(item_id="tea", price=Decimal("4.5"), quantity=2, index=0, category="drinks", brand="Leaf"),
        EventItem(item_id="pot", price=Decimal("19.99")),
    )
