"""Older and newer events on the log: brought up step by step, or refused by name."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.event_versions import SCHEMA_VERSION, UNNAMED_VERSION, VERSIONS, Versions
from features.events import Event, decode, encode
from infra.errors import BadInput
from tests.features.events import sent_events

RECORDED = Path(__file__).parent / "recorded" / "events_v1.jsonl"
V1 = b'{"event_name":"page_view","occurred_at":"2026-05-01T12:00:00Z","event_id":"e-1","user_id":"ann"'


def prices_in_cents(fields: dict[str, Any]) -> dict[str, Any]:
    """A made version 2 that counts prices in whole cents; this is the step to version 3, in the currency again."""
    items = [dict(item, price=str(Decimal(item.pop("cents")) / 100)) for item in map(dict, fields["items"])]
    return fields | {"items": items}


def one_item(fields: dict[str, Any]) -> dict[str, Any]:
    """A made version 1 with its single item at the top; the step to version 2."""
    return fields | {"items": [{"item_id": fields.pop("item_id"), "cents": fields.pop("cents")}]}


MADE = Versions(3, {1: one_item, 2: prices_in_cents})


def test_an_older_event_is_brought_up_step_by_step() -> None:
    raw = V1.replace(b"page_view", b"view_item") + b',"item_id":"tea","cents":950}'
    event = decode(raw, MADE)
    assert (event.items[0].item_id, event.items[0].price, event.schema_version) == ("tea", Decimal("9.5"), 3)


def test_a_middle_version_takes_the_steps_that_are_left() -> None:
    raw = V1.replace(b"page_view", b"view_item") + b',"schema_version":2,"items":[{"item_id":"tea","cents":950}]}'
    assert decode(raw, MADE).items[0].price == Decimal("9.5")


def test_what_names_no_version_is_of_the_first_one() -> None:
    assert UNNAMED_VERSION == 1
    assert decode(V1 + b"}").schema_version == 1
    with pytest.raises(BadInput) as refused:  # of version 3 it would be sound; of version 1 it lacks its item
        decode(V1 + b"}", MADE)
    assert refused.value.reason == "wrong_shape"


@pytest.mark.parametrize("version", [b"4", b"0", b"-1", b"999999999999999999"])
def test_a_version_that_no_step_leads_up_from_is_refused_by_name(version: bytes) -> None:
    raw = V1 + b',"schema_version":' + version + b"}"
    for versions in (VERSIONS, MADE):
        with pytest.raises(BadInput) as refused:
            decode(raw, versions)
        assert (refused.value.reason, refused.value.path) == ("unknown_version", "schema_version")


def test_the_refusal_says_which_versions_are_read() -> None:
    assert "schema_version 1." in VERSIONS.unknown().message
    assert "schema_version 1 to 3." in MADE.unknown().message


def test_a_newer_version_that_does_not_fit_our_types_is_unknown_not_wrong() -> None:
    with pytest.raises(BadInput) as refused:
        decode(b'{"schema_version":2,"what":"an event of another form"}')
    assert refused.value.reason == "unknown_version"


def test_a_step_leaves_what_it_was_given() -> None:
    given_fields = {"item_id": "tea", "cents": 950}
    MADE.up(given_fields)
    assert given_fields == {"item_id": "tea", "cents": 950}


def test_what_a_step_makes_is_checked_like_any_event() -> None:
    raw = V1.replace(b"page_view", b"view_item") + b',"item_id":"tea","cents":-950}'
    with pytest.raises(BadInput) as refused:
        decode(raw, MADE)
    assert (refused.value.reason, refused.value.path) == ("out_of_range", "items[0].price")


def test_every_older_version_has_its_step() -> None:
    assert sorted(VERSIONS.upcasters) == list(range(UNNAMED_VERSION, SCHEMA_VERSION))


@given(sent_events())
def test_what_is_written_is_of_the_present_version(event: Event) -> None:
    older = msgspec.structs.replace(event, schema_version=0)
    assert decode(encode(older)).schema_version == SCHEMA_VERSION


@given(sent_events(), st.sampled_from(["gift_note", "items_total", "consent_text"]))
def test_a_field_of_a_newer_producer_changes_nothing(event: Event, name: str) -> None:
    newer = encode(event)[:-1] + f',"{name}":{{"deep":[1,"x",null]}}'.encode() + b"}"
    assert decode(newer) == event


def test_every_recorded_event_of_version_1_is_read() -> None:
    events = [decode(line) for line in RECORDED.read_bytes().splitlines()]
    assert len({event.event_name for event in events}) == 17
    # Of each kind one with every field, so that no later change loses what version 1 said.
    assert all(event.session_id == "s-1" and event.context is not None for event in events)
    assert [event.value for event in events if event.event_name == "purchase"] == [Decimal("19.00")]
