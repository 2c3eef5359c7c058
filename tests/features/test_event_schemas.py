"""The schemas say what the code takes: each rule that they name is one that the door holds."""

from typing import Any

import msgspec
import pytest

from features.event_schemas import ENVELOPE, schemas, text
from features.events import EVENT_NAMES, Event, EventName
from infra.errors import BadInput
from tests.features.events import RECEIVED, parsed

ITEMS = [{"item_id": "tea", "price": "9.50"}]
# A value for each field that a schema may ask for.
GIVEN: dict[str, Any] = {
    "items": ITEMS,
    "user_id": "ann",
    "anonymous_id": "guest",
    "search_term": "tea",
    "rating": 5,
    "text": "good",
    "consent": {"messages": True},
}


def least(name: EventName) -> tuple[dict[str, Any], list[str]]:
    """The least that the schemas of a name ask for, and which of it that name asks for itself."""
    schema = schemas()[name]
    needed = [*schema["required"], *(schema.get("anyOf", [{"required": []}])[0]["required"])]
    sent = {"event_id": "e-1", "event_name": name, "occurred_at": RECEIVED.isoformat(), "user_id": "ann"}
    return sent | {field: GIVEN[field] for field in needed}, needed


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_the_least_that_a_schema_asks_for_is_taken(name: EventName) -> None:
    sent, _ = least(name)
    assert parsed(sent).event_name == name


@pytest.mark.parametrize("name", EVENT_NAMES)
def test_without_what_a_schema_asks_for_it_is_refused(name: EventName) -> None:
    sent, needed = least(name)
    for field in needed:
        with pytest.raises(BadInput):
            parsed({key: value for key, value in sent.items() if key != field})


def test_the_envelope_has_every_field_of_the_type() -> None:
    envelope = schemas()[ENVELOPE]
    assert set(envelope["properties"]) == {field.encode_name for field in msgspec.structs.fields(Event)}
    assert envelope["required"] == ["event_name", "occurred_at", "event_id"]


def test_expressions_are_those_of_json_schema() -> None:
    assert "\\\\A" not in text(schemas()[ENVELOPE])
    assert schemas()[ENVELOPE]["properties"]["currency"]["anyOf"][0]["pattern"] == "^[A-Z]{3}$"


def test_a_schema_refers_to_no_file_that_is_not_there() -> None:
    made = schemas()
    assert {made[name]["allOf"][0]["$ref"] for name in EVENT_NAMES} == {"event.json"}
