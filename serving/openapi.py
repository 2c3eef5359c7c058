"""The OpenAPI document, made from the table of operations and the very types that decode requests."""

import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec

from features.events import EVENT_NAMES
from serving.events import MAX_EVENTS
from serving.idempotency import MAX_CHARACTERS
from serving.operations import Operation
from serving.problems import Problem

_TEMPLATE: Final = "#/components/schemas/{name}"
# Set by the receiver of an event, never taken from its sender.
_NOT_SENT: Final = ("received_at", "tenant", "replay_id", "load_id", "changed")
_EVENT: Final = (
    "An event. Fields that are not named here are ignored: senders may tell more than is asked. Other vocabularies "
    "(Segment, Google Retail, Snowplow, AWS Personalize) are read by their own names; docs/formats.md lists them."
)
_COMMON: Final = {
    401: "No known key, or a shopper token is needed.",
    403: "The key may not do this, or the shopper token is another user's.",
    429: "The key calls more often than it may; Retry-After says when to come again.",
    503: "There is more to do here than can be done in time, or something needed is away.",
}
_ONCE: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key with the same call gives the same answer for 24 hours, and the change is made once.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_CHARACTERS, "pattern": "^[!-~]+$"},
}
_SECURITY: Final = {
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "shopper_token": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Shopper-Token",
        "description": "With a publishable key, for what belongs to a user_id: a JWT (HS256; sub, exp) of the shop.",
    },
}
_NO_HTTP: Final = "Not JSON in UTF-8; or, in plain text, no HTTP."
_WITH_BODY: Final = {
    408: "The request did not arrive whole in time.",
    413: "The body is over 1 MiB.",
    415: "Another media type, charset or encoding.",
}


def document(operations: Sequence[Operation], version: str) -> bytes:
    """The document as JSON."""
    shown = [operation for operation in operations if operation.documented]
    types = [Problem, *(t for operation in shown for t in _types(operation))]
    schemas, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    of_type = dict(zip(map(repr, types), schemas, strict=True))
    for operation in shown:
        if operation.value_one_of:
            components[operation.answers.__name__]["properties"]["value"] = _one_of(operation.value_one_of, of_type)
    paths: dict[str, dict[str, Any]] = {}
    for operation in shown:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation, of_type)
    whole = {
        "openapi": "3.1.0",
        "info": {
            "title": "Daogou",
            "version": version,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": _portable(_as_sent(components)),
            "securitySchemes": _SECURITY,
        },
    }
    return msgspec.json.encode(_portable(whole))


def _types(operation: Operation) -> list[Any]:
    named = [operation.body, operation.query, operation.answers, *operation.body_one_of, *operation.value_one_of]
    return [one for one in named if one is not None and not isinstance(one, str)]


def _operation(operation: Operation, of_type: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "summary": operation.summary,
        "operationId": f"{operation.method.lower()}{re.sub('[^a-z]+', '_', operation.path).rstrip('_')}",
        "parameters": _parameters(operation),
        "responses": _responses(operation, of_type),
    }
    if operation.access in ("publishable", "secret", "operator"):
        said["security"] = [{"key": []}]
    if operation.access == "publishable":
        said["security"].append({"key": [], "shopper_token": []})
    if operation.body is not None:
        one_of = operation.body_one_of
        schema = _one_of(one_of, of_type) if one_of else _bounded(of_type[repr(operation.body)])
        said["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": schema}, "text/plain": {"schema": schema}},
        }
    return said


def _one_of(types: Sequence[Any], of_type: Mapping[str, Any]) -> dict[str, Any]:
    return {"oneOf": [of_type[repr(one)] for one in types]}


def _bounded(schema: dict[str, Any]) -> dict[str, Any]:
    """The bound of an array at the top, which no type says."""
    for one in schema.get("anyOf", ()):
        if one.get("type") == "array":
            one |= {"minItems": 1, "maxItems": MAX_EVENTS}
    return schema


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    named = re.findall(r"{(\w+)}", operation.path)
    found: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1, "maxLength": 256},
        }
        for name in named
    ]
    if operation.query is not None:
        _, components = msgspec.json.schema_components([operation.query], ref_template=_TEMPLATE)
        for name, schema in components[operation.query.__name__]["properties"].items():
            one = {"name": name, "in": "query", "required": False, "schema": schema}
            found.append(one | ({"style": "form", "explode": False} if schema.get("type") == "array" else {}))
    return [*found, _ONCE] if operation.once else found


def _responses(operation: Operation, of_type: Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(operation.answers, str):
        content: dict[str, Any] = {operation.answers: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": of_type[repr(operation.answers)]}}
    found = {str(int(operation.status)): {"description": operation.summary, "content": content}}
    refused = dict(_COMMON) if operation.access in ("publishable", "secret", "operator") else {}
    if operation.body is not None:
        refused |= _WITH_BODY
    if operation.body is not None or operation.query is not None or "{" in operation.path:
        refused[422] = "It does not validate; errors names what and where."
    if "{" in operation.path:
        refused[404] = "There is nothing at this path."
    refused = {status: HTTPStatus(status).phrase for status in operation.refusals} | refused
    if operation.once:
        refused[409] = "The version is old; or the Idempotency-Key is another call's, or its call is under way."
    problem: dict[str, Any] = {"application/problem+json": {"schema": {"$ref": _TEMPLATE.format(name="Problem")}}}
    found["400"] = {"description": _NO_HTTP, "content": problem | {"text/plain": {"schema": {"type": "string"}}}}
    found["431"] = {"description": "The first line and the headers are over 64 KiB.", "content": problem}
    for status, why in refused.items():
        found[str(status)] = {"description": why, "content": problem}
    return found


def _as_sent(components: dict[str, Any]) -> dict[str, Any]:
    """Events as their senders write them: an id is made where it is missing, and what is ours is left out."""
    event = components.get("Event")
    if event is not None:
        for name in _NOT_SENT:
            event["properties"].pop(name, None)
        event["properties"]["event_name"] = {"enum": sorted(EVENT_NAMES)}
        event["description"] = _EVENT
        event["required"] = [name for name in event["required"] if name != "event_id"]
    return components


def _portable(value: Any) -> Any:
    """Python's anchors of patterns as everybody else writes them; amounts are read as numbers, too."""
    if isinstance(value, dict):
        if value.get("format") == "decimal":
            return value | {"type": ["string", "number"]}
        return {
            key: _anchored(inner) if key == "pattern" and isinstance(inner, str) else _portable(inner)
            for key, inner in value.items()
        }
    return [_portable(inner) for inner in value] if isinstance(value, list | tuple) else value


def _anchored(pattern: str) -> str:
    return pattern.replace(r"\A", "^").replace(r"\Z", "$")
