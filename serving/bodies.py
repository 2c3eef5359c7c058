"""Request bodies: JSON, UTF-8, one mebibyte at most, whatever the route."""

import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from features.refusals import UNREADABLE, refusal
from infra.errors import BadInput, TooLarge
from serving.problems import Refusal

MAX_BYTES: Final = 1_048_576
# Browsers send JSON as text/plain when they want no preflight request.
_JSON: Final = b"application/json"
_TYPES: Final = frozenset((_JSON, b"text/plain"))
_UNKNOWN_FIELD: Final = re.compile(r"unknown field `(?P<name>[^`]+)`")
_NAME_SHOWN: Final = 64

T = TypeVar("T")
Headers = Mapping[bytes, bytes]


class ClientGoneError(Exception):
    """The client closed the connection before its request was whole: nobody waits for an answer."""


async def read_body(headers: Headers, receive: Any) -> bytes:
    """The body of a request that claims to be JSON.

    Raises:
        Refusal: another media type, charset or encoding (415).
        TooLarge: over the bound.
        ClientGoneError.
    """
    _check_type(headers)
    length = headers.get(b"content-length", b"")
    if length.isdigit() and int(length) > MAX_BYTES:
        raise _too_large()
    message = await receive()
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        body = await _rest(body, receive)
    if len(body) > MAX_BYTES:
        raise _too_large()
    return body


def decode(decoder: msgspec.json.Decoder[T], raw: bytes) -> T:
    """The body as the decoder's type.

    Raises:
        Undecodable: not JSON in UTF-8 (400).
        BadInput: does not validate (422), with the path of what is wrong.
    """
    try:
        return decoder.decode(raw)
    except UNREADABLE as error:
        raise refused(error, decoder.type) from None


def refused(error: Exception, kind: Any = None) -> BadInput:
    """The error to raise for what a decoder of `kind` raised: a field that is none of the interface's is named, too."""
    found = refusal(error, kind)
    unknown = _UNKNOWN_FIELD.search(found.message)
    if unknown is None:
        return found
    name = unknown["name"][:_NAME_SHOWN]
    path = f"{found.path}.{name}" if found.path else name
    return BadInput(f"There is no field {name!r} here.", path=path, code="unknown_field")


async def _rest(first: bytes, receive: Any) -> bytes:
    parts, size, more = [first], len(first), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > MAX_BYTES:
            raise _too_large()
        more = message.get("more_body", False)
    return b"".join(parts)


def _check_type(headers: Headers) -> None:
    given = headers.get(b"content-type", _JSON)
    if given == _JSON and b"content-encoding" not in headers:
        return
    media, _, rest = given.partition(b";")
    if media.strip().lower() not in _TYPES:
        raise Refusal(415, "unsupported_media_type", "The body is JSON: application/json (or text/plain).")
    charset = rest.strip().lower().removeprefix(b"charset=").strip(b'"')
    if b"charset" in rest.lower() and charset not in (b"utf-8", b"utf8", b"us-ascii"):
        raise Refusal(415, "unsupported_charset", "The body is UTF-8.")
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise Refusal(415, "unsupported_encoding", "The body is sent as it is, without Content-Encoding.")


def _too_large() -> TooLarge:
    return TooLarge(f"A body has at most {MAX_BYTES} bytes (1 MiB).")
