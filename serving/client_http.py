"""Between the calls as data and httpx."""

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import httpx

from serving.client_calls import Ask
from serving.client_errors import CallFailed, Got, Unreachable


def key_header(key: str | None) -> dict[str, str]:
    """The header that the key goes into."""
    return {} if key is None else {"x-api-key": key}


def request(ask: Ask[Any]) -> dict[str, Any]:
    """A call as httpx takes it."""
    headers: Mapping[str, str] = {"content-type": "application/json", **ask.headers}
    asked = {"params": ask.query} if ask.query else {}
    return {"method": ask.method, "url": ask.path, "content": ask.body, "headers": headers, **asked}


def told(response: httpx.Response, body: bytes) -> Got:
    """An answer as it came."""
    return Got(response.status_code, {name.lower(): value for name, value in response.headers.items()}, body)


def too_slow() -> CallFailed:
    """No answer within the deadline."""
    return Unreachable("There was no whole answer in time.", code="too_slow")


def away(error: httpx.TransportError) -> CallFailed:
    """No connection."""
    # Of the error its kind alone is told: what it holds of the request has the key in it.
    return Unreachable(f"The interface cannot be reached ({type(error).__name__}).")


def new_ids() -> Iterator[str]:
    """Ids for events that come without."""
    while True:
        yield uuid.uuid4().hex
