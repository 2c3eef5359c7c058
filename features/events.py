"""Events: what shoppers do, as the log holds it. Names are GA4's e-commerce names in snake case, and ours.

`parse` is the door for what comes from outside; `decode` reads the log, which may hold anything too. Both
answer with an event that the fold can take, or raise `BadInput`.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta

from features.aliases.canonical import canonical
from features.event_fields import MAX_ID as MAX_ID
from features.event_fields import Id as Id
from features.event_fields import Key, Tenant, Time
from features.event_rules import check, check_sent, rounded, time_out_of_range
from features.event_versions import SCHEMA_VERSION, UNNAMED_VERSION, VERSIONS, Versions
from features.items_changed import ITEMS_CHANGED, ItemsChanged
from features.refusals import UNREADABLE, refusal
from infra.clock import DAY_MS
from infra.errors import BadInput
from infra.keys import partition_of, record_key

EventName = Literal[
    "page_view",
    "view_item_list",
    "select_item",
    "view_item",
    "search",
    "add_to_cart",
    "remove_from_cart",
    "view_cart",
    "begin_checkout",
    "purchase",
    "refund",
    "add_to_wishlist",
    "remove_from_wishlist",
    "dislike_item",
    "review_item",
    "identify",
    "consent_updated",
]
EVENT_NAMES: Final[tuple[EventName, ...]] = get_args(EventName)
# What this program itself puts on the log about who is who (`features.identity`); nobody may send them.
IdentityName = Literal[
    "identity_linked", "identity_unlinked", "shopper_absorbed", "shopper_released", "shopper_returned"
]
IDENTITY_NAMES: Final[tuple[IdentityName, ...]] = get_args(IdentityName)
# What it puts there about items; nobody may send it either, and it is no shopper's.
CatalogueName = Literal["items_changed"]
OUR_NAMES: Final[tuple[str, ...]] = (*IDENTITY_NAMES, ITEMS_CHANGED)

MAX_ITEMS: Final = 500
MAX_TEXT: Final = 4000
MAX_SEARCH_TERM: Final = 500
MAX_QUANTITY: Final = 100_000
MAX_AGE_MS: Final = 30 * DAY_MS

Traits = Annotated[dict[Key, Annotated[str, Meta(max_length=500)]], Meta(max_length=50)]
Consent = Annotated[dict[Key, bool], Meta(max_length=20)]


class EventItem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One line of an event. `price` is per unit, in the event's currency."""

    item_id: Id
    price: Decimal | None = None
    quantity: Annotated[int, Meta(ge=1, le=MAX_QUANTITY)] = 1
    index: Annotated[int, Meta(ge=0, le=1_000_000)] | None = None
    item_list_id: Id | None = None
    category: Id | None = None
    brand: Id | None = None


class Context(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Where the event happened: page URL, BCP 47 locale, IANA time zone."""

    page: Annotated[str, Meta(max_length=4000)] | None = None
    locale: Annotated[str, Meta(pattern=r"\A[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,4}\Z")] | None = None
    time_zone: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_+/-]{1,64}\Z")] | None = None


class Link(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An anonymous id's belonging to a user from a login on; `part` is what is handed over (`features.links`).

    In a shopper's own event it says by which link the receiver knew the `user_id` that was not sent.
    """

    link_id: Id
    user_id: Id
    since: Time
    part: bytes = b""


class Event(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One event in its envelope, as it stands on `shop.events.v1` (JSON).

    Times are aware; `event_time_ms` gives the time that features use. `load_id` marks history put in by
    `daogou load` (no messages come of it, and any age is taken); the HTTP interface never sets it.
    """

    event_name: Literal[EventName, IdentityName, CatalogueName]
    occurred_at: Time
    event_id: Id
    source: Id = "site"
    schema_version: int = UNNAMED_VERSION
    tenant: Tenant = "default"
    anonymous_id: Id | None = None
    user_id: Id | None = None
    session_id: Id | None = None
    sent_at: Time | None = None
    received_at: Time | None = None
    items: Annotated[tuple[EventItem, ...], Meta(max_length=MAX_ITEMS)] = ()
    currency: Annotated[str, Meta(pattern=r"\A[A-Z]{3}\Z")] | None = None
    value: Decimal | None = None
    transaction_id: Id | None = None
    search_term: Annotated[str, Meta(min_length=1, max_length=MAX_SEARCH_TERM)] | None = None
    recommendation_id: Id | None = None
    rating: Annotated[int, Meta(ge=1, le=5)] | None = None
    text: Annotated[str, Meta(max_length=MAX_TEXT)] | None = None
    traits: Traits | None = None
    consent: Consent | None = None
    context: Context | None = None
    replay_id: Id | None = None
    load_id: Id | None = None
    link: Link | None = None
    changed: ItemsChanged | None = None


class _Version(msgspec.Struct):
    """What can be read of an event of any version."""

    schema_version: int = UNNAMED_VERSION


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Event)
_version_decoder: Final = msgspec.json.Decoder(_Version)
_fields_decoder: Final = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
# Set by the receiver, never by the sender.
_OURS: Final = ("received_at", "tenant", "replay_id", "load_id", "link", "changed")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def encode(event: Event) -> bytes:
    """The event as it stands on the log: always of the present version, whatever made it."""
    if event.schema_version != SCHEMA_VERSION:
        event = msgspec.structs.replace(event, schema_version=SCHEMA_VERSION)
    return _encoder.encode(event)


def decode(raw: bytes, versions: Versions = VERSIONS) -> Event:
    """The event that bytes of the log hold; one of an older version is brought up to the present.

    Raises:
        BadInput: they hold none that can be processed; `reason` says why.
    """
    try:
        event = _decoder.decode(raw)
        version = event.schema_version
    except UNREADABLE as error:
        version = _version_of(raw)
        if version == versions.present:
            raise _named(refusal(error, Event)) from None
    if version != versions.present:
        event = _brought_up(raw, versions)
    check(event)
    return event


def received(raw: bytes, at_ms: int) -> Event:
    """The event that a record of the log holds, with its time of receipt: its own, else the record's (ms).

    Raises:
        BadInput: as `decode`; also where neither says when it was received (`time_out_of_range`).
    """
    event = decode(raw)
    if event.received_at is not None:
        return event
    try:
        event = msgspec.structs.replace(event, received_at=_EPOCH + at_ms * _MS)
    except OverflowError:
        raise time_out_of_range("received_at") from None
    check(event)
    return event


def parse(obj: object, *, tenant: str, received_at: datetime, new_id: Callable[[], str]) -> Event:
    """The event that a sender's decoded JSON stands for, in our names or those of another vocabulary.

    Fields that are not ours are ignored, and so are those that only the receiver sets.

    Raises:
        BadInput: it breaks a rule; `reason` is its code and `path` the field as the sender calls it
            (`items[2].price`, or Segment's `properties.products[2].price`).
    """
    if not isinstance(obj, dict):
        raise BadInput("An event is a JSON object.", code="wrong_type")
    told = canonical(obj)
    fields = {name: value for name, value in told.fields.items() if value is not None and name not in _OURS}
    if "event_id" not in fields:
        fields["event_id"] = new_id()
    try:
        return _sent(fields | {"tenant": tenant, "received_at": received_at})
    except BadInput as error:
        raise told.refused(error) from None


def to_ms(time: datetime) -> int:
    """Milliseconds since the epoch of an aware time, rounded down."""
    return (time - _EPOCH) // _MS


def event_time_ms(event: Event) -> int:
    """When it happened, by our clock: the sender's is corrected by when it says that it sent.

    Never later than it was received, nor earlier by more than 30 days unless it is loaded history: such a
    time is moved to the bound.

    Raises:
        BadInput: it has no time of receipt (`received_at_required`); `received` gives it the record's.
    """
    if event.received_at is None:
        raise BadInput("An event has a time of receipt.", path="received_at", code="received_at_required")
    at, received_ms = to_ms(event.occurred_at), to_ms(event.received_at)
    if event.sent_at is not None:
        at += received_ms - to_ms(event.sent_at)
    if event.load_id is None and at < received_ms - MAX_AGE_MS:
        return received_ms - MAX_AGE_MS
    return min(at, received_ms)


def shopper_id(event: Event) -> str:
    """Whose event it is: the user's where one is known, else the anonymous visitor's; empty: nobody's."""
    if event.event_name == ITEMS_CHANGED:
        return ""
    return f"u-{event.user_id}" if event.user_id is not None else f"a-{event.anonymous_id}"


def record_key_of(event: Event) -> str:
    """The key of the event's Kafka record, by which all events of one shopper are in one partition."""
    return record_key(event.tenant, shopper_id(event) or ITEMS_CHANGED)


def home_of(event: Event, partitions: int) -> int:
    """The partition that the event belongs to: its shopper's, or the one that it was made for."""
    if event.event_name == ITEMS_CHANGED and event.changed is not None:
        return event.changed.into
    return partition_of(record_key_of(event), partitions)


def _sent(fields: dict[str, Any]) -> Event:
    if "schema_version" in fields:
        fields = VERSIONS.up(fields)
    try:
        event = msgspec.convert(fields, Event)
    except UNREADABLE as error:
        raise _named(refusal(error, Event)) from None
    if event.event_name in OUR_NAMES:
        raise _unknown_event()
    check(event)
    check_sent(event)
    return rounded(event)


def _version_of(raw: bytes) -> int:
    try:
        return _version_decoder.decode(raw).schema_version
    except UNREADABLE:
        return SCHEMA_VERSION


def _brought_up(raw: bytes, versions: Versions) -> Event:
    try:
        return msgspec.convert(versions.up(_fields_decoder.decode(raw)), Event)
    except UNREADABLE as error:
        raise _named(refusal(error, Event)) from None


def _named(error: BadInput) -> BadInput:
    """With the codes that belong to single fields of an event."""
    if error.path == "event_name" and error.reason in ("unknown_value", "wrong_type", "missing_field"):
        return _unknown_event(missing=error.reason == "missing_field")
    if error.path == "currency" and error.reason == "wrong_form":
        return BadInput("A currency is three capital letters (ISO 4217).", path="currency", code="wrong_currency")
    return error


def _unknown_event(*, missing: bool = False) -> BadInput:
    names = f"one of {', '.join(EVENT_NAMES)}, or a name of a vocabulary that we know."
    if missing:
        return BadInput(f"event_name is missing: {names}", path="event_name", code="missing_field")
    return BadInput(f"event_name must be {names}", path="event_name", code="unknown_event")
