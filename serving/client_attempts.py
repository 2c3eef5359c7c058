"""How often a call is tried and how long is waited in between, without sending or sleeping itself."""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import msgspec

from serving.client_calls import Ask
from serving.client_errors import CallFailed, Got, Unreadable, failure

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """`deadline_s` is for a call with all its attempts; pauses grow by two from the first to the longest, seconds."""

    deadline_s: float = 10.0
    attempts: int = 5
    first_pause_s: float = 0.1
    longest_pause_s: float = 5.0


class Send(NamedTuple):
    """Send the call now, and wait at most so long for the whole answer."""

    within_s: float


class Pause(NamedTuple):
    """Wait so long."""

    seconds: float


Steps = Generator[Send | Pause, Got | CallFailed | None, T]


def attempts(ask: Ask[T], patience: Patience, now: Callable[[], float], random: Callable[[], float]) -> Steps[T]:
    """The steps of a call. `random` is from 0 to 1: many clients do not come back at the same moment.

    Raises:
        CallFailed: an answer that no repeating changes, or the last failure within deadline and attempts.
    """
    until = now() + patience.deadline_s
    pause_s = patience.first_pause_s
    for attempt in range(1, patience.attempts + 1):
        got = yield Send(max(0.001, until - now()))
        assert got is not None, "Send is answered"
        if isinstance(got, Got) and 200 <= got.status < 300:
            return _read(ask, got)
        error = got if isinstance(got, CallFailed) else failure(got)
        wait_s = max(error.retry_after_s or 0.0, pause_s * (0.5 + random() / 2))
        if not error.retryable or attempt == patience.attempts or now() + wait_s >= until:
            raise error
        yield Pause(wait_s)
        pause_s = min(patience.longest_pause_s, pause_s * 2)
    raise AssertionError("there is at least one attempt")


def _read(ask: Ask[T], got: Got) -> T:
    try:
        return msgspec.json.decode(got.body, type=ask.answers)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        message = f"The answer of {ask.method} {ask.path.split('?')[0]} is not what this client knows."
        raise Unreadable(message, code="unreadable_answer", status=got.status) from None
