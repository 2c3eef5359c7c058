"""JSON lines: each line one event, in our own names or those of another vocabulary, by the rules of the HTTP
door.

Read as history: any age is taken. `sent_at` corrects the sender's clock only together with a `received_at` of
the same line; without one it is left out, for nobody knows when the line arrived. A line without `event_id`
gets one that follows from its text. A `source` in the line is kept, so that an event and its export are the
same event.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final

import msgspec

from features.events import Event, parse
from features.refusals import located
from infra.errors import BadInput
from streams.mappings.origin import Origin, count_lines, text_lines
from streams.mappings.outcomes import Mapping, Outcome, Refused, Taken, content_id

_decoder: Final = msgspec.json.Decoder()
_RECEIVED: Final = ("received_at", "receivedAt")


def outcomes(origin: Origin) -> Iterator[Outcome]:
    """One event per line."""
    for number, line in enumerate(text_lines(origin.file), 1):
        text = line.strip()
        if not text:
            yield Refused("empty_line", number)
            continue
        try:
            yield Taken(_event(origin, text))
        except BadInput as error:
            yield Refused(error.reason, number, detail=located(error))


def _event(origin: Origin, text: str) -> Event:
    try:
        told: Any = _decoder.decode(text)
    except (ValueError, RecursionError) as error:
        raise BadInput(f"not JSON: {error}", code="not_json") from None
    event = parse(told, tenant=origin.tenant, received_at=origin.received_at, new_id=lambda: content_id(text))
    occurred_at = event.occurred_at
    received_at = _received(told)
    if event.sent_at is not None and received_at is not None:
        occurred_at = _within(received_at, event.sent_at - event.occurred_at)
    return msgspec.structs.replace(
        event,
        occurred_at=occurred_at,
        sent_at=None,
        source=event.source if "source" in told else origin.source,
        load_id=origin.load_id,
    )


def _within(received_at: datetime, before: timedelta) -> datetime:
    try:
        return min(received_at - before, received_at)
    except OverflowError:
        raise BadInput("sent_at and occurred_at lie too far apart", path="sent_at", code="time_out_of_range") from None


def _received(told: dict[str, Any]) -> datetime | None:
    text = next((told[name] for name in _RECEIVED if name in told), None)
    if text is None:
        return None
    try:
        at: datetime = msgspec.convert(text, datetime, strict=False)
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise BadInput("received_at is no time with an offset", path="received_at", code="wrong_time")
    return at


JSONLINES: Final = Mapping("jsonlines", 1, "events as JSON lines, may be gzip", outcomes, count_lines)
