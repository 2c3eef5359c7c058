"""The JSON Schema of every event, made from the types and rules: what a producer writes to `shop.events.v1`.

`event.json` is the envelope that all share; one file for each name adds what that one needs. They are kept in
`docs/schemas/events/v<version>/` by `make schemas`.
"""

import inspect
import re
from typing import Any, Final

import msgspec

from features.event_rules import NEEDS_ITEMS
from features.events import EVENT_NAMES, IDENTITY_NAMES, OUR_NAMES, Event
from features.items_changed import ITEMS_CHANGED

Schema = dict[str, Any]

_DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
ENVELOPE: Final = "event"
_OF_LINKS: Final[Schema] = {
    "description": "Put on the log by Daogou itself; not taken from a sender.",
    "required": ["anonymous_id", "link"],
}
_OF_ITEMS: Final[Schema] = {
    "description": "Put on the log by Daogou itself, into every partition; not taken from a sender.",
    "required": ["changed"],
}
_MORE_NEEDS: Final[dict[str, Schema]] = {
    "identify": {"required": ["user_id", "anonymous_id"]},
    "search": {"required": ["search_term"]},
    "review_item": {"anyOf": [{"required": ["rating"]}, {"required": ["text"]}]},
    "consent_updated": {"required": ["consent"], "properties": {"consent": {"minProperties": 1}}},
}


def schemas() -> dict[str, Schema]:
    """Every schema by the name of its file, without `.json`."""
    return {ENVELOPE: _envelope()} | {name: _kind(name) for name in (*EVENT_NAMES, *OUR_NAMES)}


def text(schema: Schema) -> str:
    """A schema as it stands in its file."""
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def _envelope() -> Schema:
    made = msgspec.json.schema(Event)
    definitions = {name: _plain(schema) for name, schema in made["$defs"].items()}
    event = definitions.pop(Event.__name__)
    return {
        "$schema": _DRAFT,
        **event,
        "anyOf": [{"required": ["user_id"]}, {"required": ["anonymous_id"]}, {"required": ["changed"]}],
        "dependentRequired": {"value": ["currency"]},
        "$defs": definitions,
    }


def _kind(name: str) -> Schema:
    more = _OF_ITEMS if name == ITEMS_CHANGED else _OF_LINKS if name in IDENTITY_NAMES else _MORE_NEEDS.get(name, {})
    properties: Schema = {"event_name": {"const": name}} | more.get("properties", {})
    required = list(more.get("required", ()))
    if name in NEEDS_ITEMS:
        properties["items"] = {"minItems": 1}
        required.append("items")
    return {
        "$schema": _DRAFT,
        "title": name,
        "allOf": [{"$ref": f"{ENVELOPE}.json"}],
        **more,
        "properties": properties,
        "required": required,
    }


def _plain(schema: Any) -> Any:
    """With the anchors of JSON Schema's expressions and descriptions in one paragraph each."""
    if isinstance(schema, list):
        return [_plain(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items()}
    if isinstance(plain.get("pattern"), str):
        plain["pattern"] = re.sub(r"\\Z\Z", "$", re.sub(r"\A\\A", "^", plain["pattern"]))
    if isinstance(plain.get("description"), str):
        plain["description"] = inspect.cleandoc(plain["description"])
    return plain
