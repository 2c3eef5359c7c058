"""Calls of Segment's SDKs as objects that the collector takes: it reads their names itself (`features.aliases`).

What the HTTP interface of Segment says beside its vocabulary is done here: the path names the kind of a call, a batch
has a context and a time of sending for all of its calls, and a call without a time happened when it was received.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from infra.errors import BadInput
from serving.events import MAX_EVENTS, Accepted, Rejected

Kind = Literal["track", "identify", "page"]

# By these a call of theirs is told from one of ours at a path that both have.
_THEIRS: Final = frozenset(
    (
        "userId",
        "anonymousId",
        "messageId",
        "type",
        "context",
        "timestamp",
        "originalTimestamp",
        "sentAt",
        "integrations",
    )
)
_OURS: Final = frozenset(("user_id", "anonymous_id"))
_TIMES: Final = ("timestamp", "originalTimestamp")
_NOTHING: Final = (None, "")


class SegmentCall(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One call in Segment's form: `event` is a name of its e-commerce spec; `type` is asked for in a batch alone.

    Values are read as its SDKs send them, ids also as numbers; what an event needs and cannot be read is refused.
    """

    type: Any = None
    message_id: Any = None
    user_id: Any = None
    anonymous_id: Any = None
    event: Any = None
    properties: Any = None
    traits: Any = None
    context: Any = None
    timestamp: Any = None
    sent_at: Any = None


class SegmentBatch(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Several calls. Context and time of sending stand for those that have none of their own."""

    batch: Annotated[list[SegmentCall], Meta(min_length=1, max_length=MAX_EVENTS)]
    context: Any = None
    sent_at: Any = None


class SegmentTaken(msgspec.Struct, frozen=True):
    """What Segment's SDKs look for, `success`: all calls were taken; and which were not, by their place."""

    success: bool
    accepted: int
    rejected: list[Rejected]
    consistency_token: str


def is_segment(body: Any) -> bool:
    """Whether a login is told in Segment's form."""
    return isinstance(body, dict) and not _OURS & body.keys() and bool(_THEIRS & body.keys())


def one(kind: Kind, body: Any, received_at: datetime) -> dict[str, Any]:
    """The call of a path of its own, as the collector takes it.

    Raises:
        BadInput: it is no object.
    """
    if not isinstance(body, dict):
        raise BadInput("A call is a JSON object.", code="wrong_type")
    return _whole({**body, "type": kind}, received_at)


def calls(body: Any, received_at: datetime) -> list[Any]:
    """The calls of a batch; what is no call is left for the collector to name.

    Raises:
        BadInput: there is no batch, or its number of calls is out of bounds.
    """
    batch = body.get("batch") if isinstance(body, dict) else None
    if not isinstance(batch, list):
        raise BadInput(
            "batch is a list of calls.", path="batch", code="missing_field" if batch is None else "wrong_type"
        )
    if not 1 <= len(batch) <= MAX_EVENTS:
        raise BadInput(f"Send 1 to {MAX_EVENTS} calls in one batch.", path="batch", code="wrong_number_of_events")
    return [_whole(_beneath(body, call), received_at) if isinstance(call, dict) else call for call in batch]


def answer(accepted: Accepted) -> SegmentTaken:
    """What is answered."""
    return SegmentTaken(not accepted.rejected, accepted.accepted, accepted.rejected, accepted.consistency_token)


def _beneath(body: Mapping[str, Any], call: Mapping[str, Any]) -> Mapping[str, Any]:
    """A call with what the batch says for all."""
    shared, own = body.get("context"), call.get("context")
    if isinstance(shared, dict) and (own is None or isinstance(own, dict)):
        call = {**call, "context": {**shared, **(own or {})}}
    if call.get("sentAt") in _NOTHING and body.get("sentAt") not in _NOTHING:
        call = {**call, "sentAt": body["sentAt"]}
    return call


def _whole(call: Mapping[str, Any], received_at: datetime) -> dict[str, Any]:
    """With a name that is looked for where it stands in this kind of call, and with a time."""
    found = dict(call)
    kind = found.get("type")
    if kind in ("page", "screen", "identify"):
        found.pop("event", None)
    elif kind in ("track", None):
        found["type"] = ""
    if all(found.get(name) in _NOTHING for name in _TIMES):
        found["timestamp"] = received_at.isoformat()
        found.pop("sentAt", None)  # what was not said when it happened needs no correction of the device's clock
    return found
