"""What a change of a schema breaks: known answers, one rule each."""

import copy
import json
from typing import Any

import pytest

from features.event_schemas import schemas
from features.schema_changes import breaks

TEXT: dict[str, Any] = {"type": "string", "minLength": 1, "maxLength": 20}
OLD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "name": {"enum": ["tea", "cup"]},
        "note": {"anyOf": [TEXT, {"type": "null"}], "default": None},
        "count": {"type": "integer", "minimum": 1, "default": 1},
        "code": {"type": "string", "pattern": "^[a-z]+$"},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}, "maxItems": 5, "default": []},
        "marks": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 9}},
    },
    "required": ["name"],
    "anyOf": [{"required": ["code"]}, {"required": ["note"]}],
    "dependentRequired": {"count": ["code"]},
    "$defs": {"Line": {"type": "object", "properties": {"id": TEXT}, "required": ["id"]}},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """OLD with the value at a path like `properties/count/minimum`; ... takes it away."""
    new: dict[str, Any] = json.loads(json.dumps(OLD))
    *way, last = path.split("/")
    at: Any = new
    for part in way:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if value is ...:
        del at[last]
    else:
        at[last] = value
    return new


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("properties/gift", {"type": "boolean", "default": False}),
        ("properties/name/enum", ["tea", "cup", "pot"]),
        ("properties/name", {"type": "string"}),
        ("properties/note/anyOf/0/maxLength", 21),
        ("properties/note/anyOf/0/minLength", 0),
        ("properties/note/anyOf", [TEXT, {"type": "null"}, {"type": "integer"}]),
        ("properties/count/type", "number"),
        ("properties/count/minimum", ...),
        ("properties/code/pattern", ...),
        ("properties/code", {"anyOf": [{"type": "string", "pattern": "^[a-z]+$"}, {"type": "null"}]}),
        ("properties/lines/maxItems", 6),
        ("properties/lines/description", "words"),
        ("required", []),
        ("anyOf", ...),
        ("anyOf", [{"required": ["code"]}, {"required": ["note"]}, {"required": ["marks"]}]),
        ("dependentRequired", ...),
        ("$defs/Line/properties/shade", {"type": "string"}),
    ],
)
def test_what_only_adds_or_widens_breaks_nothing(path: str, value: Any) -> None:
    assert breaks(OLD, changed(path, value)) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("properties/code", ..., "code: the field is gone"),
        ("required", ["name", "count"], "count: it is required now"),
        ("$defs/Line/required", ["id", "shade"], "lines[].shade: it is required now"),
        ("properties/name/enum", ["tea"], "name: 'cup' is gone from the values"),
        ("properties/code/enum", ["a"], "code: only listed values are taken now"),
        ("properties/count/type", "string", "count: its type was integer and is string now"),
        ("properties/count/minimum", 2, "count: minimum was 1 and is 2 now"),
        ("properties/count/maximum", 9, "count: maximum was none and is 9 now"),
        ("properties/count/default", 2, "count: the default was 1: what does not name it would mean something else"),
        ("properties/note/anyOf/0/maxLength", 19, "note: maxLength was 20 and is 19 now"),
        ("properties/note/anyOf", [TEXT], "note: its type was null and is string now"),
        ("properties/note", TEXT | {"default": None}, "note: its type was null and is string now"),
        ("properties/code/pattern", "^[a-z]$", "code: pattern was ^[a-z]+$ and is ^[a-z]$ now"),
        ("properties/code/format", "date-time", "code: format was none and is date-time now"),
        ("properties/lines/maxItems", 4, "lines: maxItems was 5 and is 4 now"),
        ("$defs/Line/properties/id/maxLength", 5, "lines[].id: maxLength was 20 and is 5 now"),
        ("properties/marks/additionalProperties", False, "marks: fields that are not named are refused now"),
        ("properties/marks/additionalProperties/maxLength", 8, "marks.*: maxLength was 9 and is 8 now"),
        ("properties/marks/propertyNames", {"maxLength": 3}, "marks (names): maxLength was none and is 3 now"),
        ("additionalProperties", False, "the event: fields that are not named are refused now"),
        ("anyOf", [{"required": ["code"]}], "code: it is required now"),
        ("dependentRequired", {"count": ["code", "note"]}, "note: it is required now wherever count is given"),
    ],
)
def test_each_break_is_named_with_its_field(path: str, value: Any, said: str) -> None:
    assert breaks(OLD, changed(path, value)) == [said]


def test_our_own_schemas_break_nothing_of_themselves() -> None:
    for schema in schemas().values():
        assert breaks(schema, schema) == []


def test_a_field_that_goes_from_our_own_envelope_is_noticed() -> None:
    envelope = schemas()["event"]
    new = copy.deepcopy(envelope)
    del new["properties"]["session_id"], new["$defs"]["EventItem"]["properties"]["brand"]
    assert sorted(breaks(envelope, new)) == ["items[].brand: the field is gone", "session_id: the field is gone"]
