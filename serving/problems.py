"""Failures as `application/problem+json` (RFC 9457), the same for every route."""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from infra.errors import BadInput, DaogouError, Unavailable

RETRY_AFTER_S: Final = 1
CONTENT_TYPE: Final = b"application/problem+json"
# The type names the rule, not a place to look it up.
_TYPE: Final = "urn:daogou:problem:"


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with the request: where, and what."""

    path: str
    message: str


class Problem(msgspec.Struct, frozen=True):
    """The answer to a call that failed. `code` is stable; `retryable`: the same call may succeed later."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    errors: list[Fault]


class Refusal(BadInput):
    """A call that the interface refuses with a status of its own, perhaps with several faults."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        path: str = "",
        faults: tuple[Fault, ...] = (),
        allow: str = "",
        retry_after_s: int = RETRY_AFTER_S,
    ) -> None:
        super().__init__(message, path=path, code=code)
        self.http_status = status
        self.faults = faults
        self.allow = allow
        self.retry_after_s = retry_after_s


class NotReady(Unavailable):
    """Something that this process needs is away: `faults` name what, and why."""

    code = "not_ready"

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("Not ready: " + "; ".join(f"{one.path}: {one.message}" for one in faults))
        self.faults = faults


def status_of(error: DaogouError) -> int:
    """The HTTP status of an error."""
    return error.http_status if isinstance(error, Refusal) else error.status


def render(error: DaogouError) -> tuple[int, bytes, list[tuple[bytes, bytes]]]:
    """Status, body and headers that tell of an error."""
    status = status_of(error)
    body = msgspec.json.encode(describe(error))
    headers = [(b"content-type", CONTENT_TYPE), (b"content-length", str(len(body)).encode())]
    if error.retryable:
        after_s = error.retry_after_s if isinstance(error, Refusal) else RETRY_AFTER_S
        headers.append((b"retry-after", b"%d" % after_s))
    if isinstance(error, Refusal) and error.allow:
        headers.append((b"allow", error.allow.encode()))
    if status == HTTPStatus.UNAUTHORIZED:
        headers.append((b"www-authenticate", b'ApiKey realm="daogou"'))
    return status, body, headers


def describe(error: DaogouError) -> Problem:
    """The problem document of an error."""
    status = status_of(error)
    faults: list[Fault] = []
    if isinstance(error, Refusal | NotReady) and error.faults:
        faults = list(error.faults)
    elif error.path or status == HTTPStatus.UNPROCESSABLE_ENTITY:
        faults = [Fault(error.path, error.message)]
    return Problem(
        type=_TYPE + error.reason,
        title=HTTPStatus(status).phrase,
        status=status,
        detail=error.message,
        code=error.reason,
        retryable=error.retryable,
        errors=faults,
    )


def unexpected() -> DaogouError:
    """What is answered for an error of ours; what happened is in the log."""
    return DaogouError("Something went wrong here; it is in the server's log.")


async def send_problem(send: Any, error: DaogouError) -> int:
    """Answer with an error by ASGI; its status."""
    status, body, headers = render(error)
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status
