"""Events: the codec and the rule of event time."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.events import (
    MAX_AGE_MS,
    Event,
    EventItem,
    decode,
    encode,
    event_time_ms,
    parse,
    received,
    record_key_of,
    to_ms,
)
from infra.errors import BadInput
from tests.features.events import RECEIVED, WHOLE, parsed, sent_events, times, without

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


def test_lines_of_a_purchase_stand_as_they_were_sent() -> None:
    assert parsed(WHOLE).items == (
        EventItem(item_id="tea", price=Decimal("4.5"), quantity=2, index=0, category="drinks", brand="Leaf"),
        EventItem(item_id="pot", price=Decimal("19.99")),
    )


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


def test_an_event_without_a_time_of_receipt_was_received_when_its_record_was_written() -> None:
    future = datetime(2199, 1, 1, tzinfo=UTC)
    untold = encode(event_at(future, None, None))
    assert received(untold, to_ms(RECEIVED)).received_at == RECEIVED
    assert event_time_ms(received(untold, to_ms(RECEIVED))) == to_ms(RECEIVED)
    sent = encode(event_at(RECEIVED + timedelta(hours=2), RECEIVED + timedelta(hours=3), None))
    assert event_time_ms(received(sent, to_ms(RECEIVED))) == to_ms(RECEIVED) - 3_600_000
    told = encode(event_at(RECEIVED, None, RECEIVED))
    assert received(told, to_ms(future)).received_at == RECEIVED, "its own time of receipt counts"


@pytest.mark.parametrize("at_ms", [-1, 0, 2**63 - 1, 10**15])
def test_where_neither_event_nor_record_says_when_it_was_received_it_is_refused(at_ms: int) -> None:
    with pytest.raises(BadInput) as caught:
        received(encode(event_at(RECEIVED, None, None)), at_ms)
    assert (caught.value.path, caught.value.reason) == ("received_at", "time_out_of_range")
    with pytest.raises(BadInput) as caught:
        event_time_ms(event_at(RECEIVED, None, None))
    assert (caught.value.path, caught.value.reason) == ("received_at", "received_at_required")


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
