"""What a call of the client may fail with, drawn as one tree. Nothing here holds a key, a token or a shopper's data.

CallFailed            code, status, path, message, retryable, faults, retry_after_s
├── Invalid           what was sent does not validate                       400, 413, 415, 422
├── KeyRefused        no known key, or it may not; a shopper's token        401, 403
├── Missing           what was named is not there                           404, 405
├── Changed           it has changed, or something else holds it            409
├── Busy              too many calls; `retry_after_s`                       429
├── Away              the server cannot take it now; `retry_after_s`        503
├── ServerFailed      an error of the server                                other 5xx
├── Unreachable       no connection, or no whole answer in time             none
├── Unreadable        an answer of another shape than this client knows
└── EventsUnsent      some events are not known to be on the log; `unsent` are to be given again
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from serving.problems import Fault, Problem

_RETRYABLE: Final = frozenset((429, 503))
_MESSAGE_SHOWN: Final = 300


class Got(NamedTuple):
    """An answer as it came; names of headers are in small letters."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class CallFailed(Exception):
    """A call failed. `code` is stable; `path` names the field; `status` is 0 where there was no answer."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        status: int = 0,
        path: str = "",
        retryable: bool = False,
        faults: Sequence[Fault] = (),
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(f"{message} ({code})")
        self.message = message
        self.code = code
        self.status = status
        self.path = path
        self.retryable = retryable
        self.faults = tuple(faults)
        self.retry_after_s = retry_after_s


class Invalid(CallFailed):
    """What was sent does not validate: `faults` names what and where."""


class KeyRefused(CallFailed):
    """No known key, it may not do this, or a shopper's token is needed."""


class Missing(CallFailed):
    """What was named is not there."""


class Changed(CallFailed):
    """It has changed since, or something else holds it."""


class Busy(CallFailed):
    """Too many calls."""


class Away(CallFailed):
    """The server cannot take it now."""


class ServerFailed(CallFailed):
    """An error of the server, which its log explains."""


class Unreachable(CallFailed):
    """No connection, or no whole answer in time."""

    def __init__(self, message: str, *, code: str = "unreachable") -> None:
        super().__init__(message, code=code, retryable=True)


class Unreadable(CallFailed):
    """An answer of another shape than this client knows."""


class EventsUnsent(CallFailed):
    """Not all events are known to be on the log. Give `unsent` again: with their ids they count once."""

    def __init__(self, why: CallFailed, unsent: Sequence[Any], accepted: int) -> None:
        super().__init__(
            f"{len(unsent)} events are not known to be taken: {why.message}",
            code=why.code,
            status=why.status,
            path=why.path,
            retryable=why.retryable,
            faults=why.faults,
            retry_after_s=why.retry_after_s,
        )
        self.unsent = list(unsent)
        self.accepted = accepted


_KINDS: Final[Mapping[int, type[CallFailed]]] = {
    400: Invalid,
    401: KeyRefused,
    403: KeyRefused,
    404: Missing,
    405: Missing,
    409: Changed,
    413: Invalid,
    415: Invalid,
    422: Invalid,
    429: Busy,
    503: Away,
}
_problem: Final = msgspec.json.Decoder(Problem)


def failure(got: Got) -> CallFailed:
    """The error of an answer that is none of success. What a proxy in between answered has no problem in it."""
    kind = _KINDS.get(got.status, ServerFailed if got.status >= 500 else Invalid)
    wait = _seconds(got.headers.get("retry-after", ""))
    try:
        said = _problem.decode(got.body)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return kind(
            f"The answer has status {got.status} and does not say why.",
            code=f"http_{got.status}",
            status=got.status,
            retryable=got.status in _RETRYABLE,
            retry_after_s=wait,
        )
    return kind(
        said.detail[:_MESSAGE_SHOWN],
        code=said.code,
        status=got.status,
        path=said.errors[0].path if said.errors else "",
        retryable=said.retryable or got.status in _RETRYABLE,
        faults=said.errors,
        retry_after_s=wait,
    )


def _seconds(told: str) -> float | None:
    """Retry-After in seconds; a date there is passed over, and the client's own pause counts."""
    return float(told) if told.isascii() and told.isdigit() and len(told) < 7 else None
