"""What is refused of events, at the door and from the log, by path and code; and that nothing else ever happens."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.event_rules import NEEDS_ITEMS
from features.events import (
    EVENT_NAMES,
    MAX_ID,
    MAX_ITEMS,
    MAX_QUANTITY,
    OUR_NAMES,
    decode,
    encode,
    event_time_ms,
    to_ms,
)
from infra.errors import BadInput, Undecodable
from tests.features.events import RECEIVED, WHOLE, anything, broken, parsed, refused, without
from tests.features.told import EXAMPLES

# --- at the door


@pytest.mark.parametrize("name", [None, "gaze", OUR_NAMES[0], 7])
def test_only_names_that_may_be_sent_are_offered(name: Any) -> None:
    with pytest.raises(BadInput) as caught:
        parsed(without("event_name") if name is None else WHOLE | {"event_name": name})
    assert all(one in caught.value.message for one in EVENT_NAMES)
    assert not [one for one in OUR_NAMES if one in caught.value.message]


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
        ({"items": [{"item_id": "𠀀" * 129}]}, "items[0].item_id", "too_long"),
        (
            {"items": [{"item_id": f"{n:0>250}", "category": "茶" * 250} for n in range(500)]},
            "items",
            "items_too_large",
        ),
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
        b'{"event_name":"page_view","event_id":"e","user_id":"u","occurred_at":"2026-05-01T12:00:00Z","schema_version":7}',
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


def test_what_is_just_within_the_bounds_of_size_is_taken() -> None:
    wide = [{"item_id": "𠀀" * 128, "category": "茶" * 62, "brand": "b" * 102} for _ in range(500)]
    taken = parsed(WHOLE | {"items": wide})
    assert len(taken.items) == MAX_ITEMS
    with pytest.raises(BadInput) as one_more:
        parsed(WHOLE | {"items": [*wide[:-1], wide[-1] | {"brand": "b" * 103}]})
    assert one_more.value.reason == "items_too_large"


def test_the_log_has_the_same_bounds_of_size() -> None:
    raw = encode(parsed(WHOLE | {"items": [{"item_id": "here"}]})).replace(b"here", ("𠀀" * 129).encode())
    with pytest.raises(BadInput) as refused_:
        decode(raw)
    assert refused_.value.reason == "too_long"
