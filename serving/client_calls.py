"""The calls of the interface as data, made of the types that the server itself decodes. Nothing is sent here."""

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

import msgspec

from features.events import Event
from serving import tokens
from serving.bodies import MAX_BYTES
from serving.client_errors import CallFailed, EventsUnsent, Invalid
from serving.events import MAX_EVENTS, Accepted, Rejected
from serving.item_lists import ItemListQuery, TrendingQuery

T = TypeVar("T")
AnyEvent = Event | Mapping[str, Any]

_encode: Final = msgspec.json.Encoder(decimal_format="string").encode
_MAX_BODY: Final = MAX_BYTES - 1024
_ID_NAMES: Final = ("event_id", "messageId", "eventId")
_INDEX: Final = re.compile(r"\[(\d+)\]\.?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Ask(Generic[T]):
    """One call. `headers` may hold a shopper's token: it is not shown."""

    method: str
    path: str
    answers: type[T]
    body: bytes | None = None
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


def post(path: str, body: Any, answers: type[T], shopper_token: str | None = None, **headers: str) -> Ask[T]:
    """A call with a body."""
    return with_body("POST", path, body, answers, shopper_token, **headers)


def with_body(
    method: str, path: str, body: Any, answers: type[T], shopper_token: str | None = None, **headers: str
) -> Ask[T]:
    """A call with a body; names of headers are given with `_` for `-`."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    if shopper_token is not None:
        given["x-shopper-token"] = shopper_token
    return Ask(method, path, answers, body if isinstance(body, bytes) else _encode(body), headers=given)


def get(
    path: str, answers: type[T], query: Mapping[str, str] | None = None, shopper_token: str | None = None
) -> Ask[T]:
    """A call without a body."""
    headers = {} if shopper_token is None else {"x-shopper-token": shopper_token}
    return Ask("GET", path, answers, query=query or {}, headers=headers)


def part(value: str) -> str:
    """An id in a path."""
    return quote(value, safe="")


def item_path(item_id: str, rest: str = "") -> str:
    """The path of an item."""
    return f"/v1/items/{part(item_id)}{rest}"


def setting_path(kind: str, setting_id: str) -> str:
    """The path of a setting."""
    return f"/v1/settings/{part(kind)}/{part(setting_id)}"


def query_of(asked: ItemListQuery | TrendingQuery) -> dict[str, str]:
    """A query string's type as one: lists have commas between their parts."""
    given = {name: value for name, value in msgspec.structs.asdict(asked).items() if value not in (None, ())}
    return {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in given.items()}


def sending(
    events: Iterable[AnyEvent], new_id: "Iterator[str]", shopper_token: str | None
) -> Generator[Ask[Accepted], Accepted | CallFailed | None, Accepted]:
    """Events in calls of at most 500 and a mebibyte, one after the other; what all of them answered, added up.

    Every event has its id before the first call, so whatever is repeated counts once.

    Raises:
        EventsUnsent: a call failed; `unsent` is from its first event on.
    """
    named = [_named(event, new_id) for event in events]
    encoded = [_encode(event) for event in named]
    accepted, rejected = 0, list[Rejected]()
    reached: tokens.Positions = {}
    for start, end in _portions(encoded):
        body = b"[" + b",".join(encoded[start:end]) + b"]"
        answer = yield post("/v1/events", body, Accepted, shopper_token)
        if isinstance(answer, Invalid):
            refused = _all_refused(answer, named[start:end])
            if refused is not None:
                answer = Accepted(0, refused, tokens.encode({}))
        assert answer is not None, "a call is answered"
        if isinstance(answer, CallFailed):
            raise EventsUnsent(answer, named[start:], accepted)
        accepted += answer.accepted
        rejected += [msgspec.structs.replace(one, index=start + one.index) for one in answer.rejected]
        _add(reached, tokens.decode(answer.consistency_token))
    return Accepted(accepted, rejected, tokens.encode(reached))


def _named(event: AnyEvent, new_id: "Iterator[str]") -> AnyEvent:
    if isinstance(event, Event) or any(name in event for name in _ID_NAMES):
        return event
    return {"event_id": next(new_id), **event}


def _portions(encoded: Sequence[bytes]) -> Iterator[tuple[int, int]]:
    start, size = 0, 0
    for index, one in enumerate(encoded):
        if index > start and (index - start == MAX_EVENTS or size + len(one) + 1 > _MAX_BODY):
            yield start, index
            start, size = index, 0
        size += len(one) + 1
    if encoded:
        yield start, len(encoded)


def _all_refused(error: Invalid, events: Sequence[AnyEvent]) -> list[Rejected] | None:
    """What the server says where none of a call's events was good, as of a mixed one; None: it says something else."""
    found = []
    for fault in error.faults:
        at = _INDEX.fullmatch(fault.path)
        if at is None or int(at[1]) >= len(events):
            return None
        index = int(at[1])
        found.append(Rejected(index, _id_of(events[index]), error.code, at[2], fault.message))
    return found or None


def _id_of(event: AnyEvent) -> str | None:
    if isinstance(event, Event):
        return event.event_id
    given = next((event[name] for name in _ID_NAMES if name in event), None)
    return given if isinstance(given, str) else None


def _add(reached: tokens.Positions, more: tokens.Positions) -> None:
    for log, offsets in more.items():
        of_log = reached.setdefault(log, {})
        for partition, offset in offsets.items():
            of_log[partition] = max(offset, of_log.get(partition, offset))
