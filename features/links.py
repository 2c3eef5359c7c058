"""What rows and records hold of identities, and how it is packed; `features.identity` has the rules.

The row of an anonymous id holds `spans`: to whom its events belong, from when on. The row of a user holds `sources`:
what came from which anonymous id, each as a row of its own, beside `own`, the row without any of them.
"""

import hashlib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec

from features.events import Event, Link
from features.refusals import UNREADABLE
from features.shopper_state import State, Step
from features.shoppers import Folded, Row, packed, step_of, unpacked
from infra.clock import DAY_MS
from infra.errors import BadInput

MAX_SPANS: Final = 16
MAX_LOGINS: Final = 16
MAX_PARTS: Final = 8  # kept apart in the row of one user
MAX_SOURCES: Final = 32
PARTS_KEPT_MS: Final = 30 * DAY_MS
# What one record carries; in its JSON a third more.
MAX_PART: Final = 400_000
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Span(msgspec.Struct, array_like=True, frozen=True):
    """From `at` (ms) on the events of an anonymous id belong to a user; None: to nobody but itself, `why` says so
    (`shared`, `unlinked`, and `returned` when its history is back).
    """

    at: int
    link_id: str
    user_id: str | None
    why: str = ""


class Login(msgspec.Struct, array_like=True, frozen=True):
    """Somebody was identified on a device."""

    at: int
    link_id: str
    user_id: str


class Source(msgspec.Struct, array_like=True):
    """What came to a user by one link, since `at` (ms): `part` is the row of it, empty once it is no longer kept apart.

    `taken` are the hand-overs of whole rows that were taken; `ended`: the link is undone; `forgotten`: what came by it
    is the user's own by now.
    """

    link_id: str
    anonymous_id: str
    at: int
    part: bytes = b""
    taken: list[str] = []
    ended: bool = False
    forgotten: bool = False


class Known(msgspec.Struct, array_like=True):
    """What a row knows of the shopper's other ids; `own` is the row of a user without what came from elsewhere."""

    spans: list[Span] = []
    logins: list[Login] = []
    sources: list[Source] = []
    own: bytes = b""


class Part(msgspec.Struct, array_like=True, frozen=True):
    """What one record hands over. The first of a row has its settled state and floor; `of` names the row."""

    of: str
    first: bool
    floor: int
    settled: msgspec.Raw
    recent: list[Step]

    @property
    def alone(self) -> bool:
        """Whether it is one event that was folded nowhere yet, rather than some of a row."""
        return self.of.startswith(_ALONE)


class IdentityStep(msgspec.Struct, frozen=True):
    """An event about who is who, or one that came by a link, packed to what `features.identity` needs."""

    name: str
    at: int
    anonymous_id: str
    user_id: str
    link_id: str
    since: int
    part: Part | None
    live: bool


class Whose(NamedTuple):
    """The shopper of a row."""

    tenant: str
    shopper_id: str

    @property
    def id(self) -> str:
        """The anonymous or user id: without the letter before it."""
        return self.shopper_id[2:]


class Outcome(NamedTuple):
    """A row after entries, what became of them, and the events that go to other partitions because of them.

    `counted` are the steps that were applied here and nowhere else before, each run with the row that it was folded
    onto: what is handed over as a row was counted where it was folded first.
    """

    row: Row
    applied: int
    duplicates: int
    late: int
    effects: tuple[Event, ...] = ()
    counted: tuple[tuple[Row, Sequence[Step]], ...] = ()


def outcome(before: Row, folded: Folded, effects: tuple[Event, ...] = ()) -> Outcome:
    """What a plain fold onto a row comes to."""
    counted = ((before, folded.admitted),) if folded.admitted else ()
    applied = folded.applied + len(effects)
    return Outcome(folded.row, applied, folded.duplicates, folded.late, effects, counted)


_encoder: Final = msgspec.msgpack.Encoder()
_known: Final = msgspec.msgpack.Decoder(Known)
_span: Final = msgspec.msgpack.Decoder(Span)
_part: Final = msgspec.msgpack.Decoder(Part)
NO_STATE: Final = msgspec.Raw(_encoder.encode(State()))
_MS: Final = timedelta(milliseconds=1)
_ALONE: Final = "step:"


def known_of(row: Row) -> Known:
    """What a row knows of the shopper's other ids."""
    return _known.decode(row.known) if row.known else Known()


def with_known(row: Row, known: Known) -> Row:
    """The row, knowing this."""
    said = known.spans or known.logins or known.sources
    return Row(row.state, row.floor, row.recent, row.settled, _encoder.encode(known) if said else b"")


def pack_link(span: Span | None) -> bytes:
    """Where an anonymous id's events go now, for readers who need no more of the row; empty: nowhere else."""
    return b"" if span is None else _encoder.encode(span)


def unpack_link(raw: bytes | None) -> Link | None:
    """The inverse of `pack_link`.

    Raises:
        msgspec.DecodeError: the bytes are no link.
    """
    if not raw:
        return None
    span = _span.decode(raw)
    return Link(link_id=span.link_id, user_id=span.user_id or "", since=time_of(span.at))


def id_of(*words: str) -> str:
    """An id that follows from these words, as long as it takes to be unique."""
    return hashlib.blake2b("\x1f".join(words).encode(), digest_size=16).hexdigest()


def entry_of(event: Event) -> Step | IdentityStep:
    """The event, packed to what a row needs of it.

    Raises:
        BadInput: what it hands over cannot be read (`wrong_part`).
    """
    link = event.link
    if link is None:
        return step_of(event)
    since = _ms(link.since)
    if event.event_name in ("shopper_absorbed", "shopper_returned"):
        part = _part_of(link)
        at, live = since, any(step.live for step in part.recent)
    elif event.event_name in ("identity_linked", "identity_unlinked", "shopper_released"):
        part, at, live = None, since, event.load_id is None
    else:
        step = step_of(event)
        part, at, live = part_of_step(step), step.at, step.live
    return IdentityStep(event.event_name, at, event.anonymous_id or "", link.user_id, link.link_id, since, part, live)


def _part_of(link: Link) -> Part:
    try:
        return _part.decode(link.part)
    except UNREADABLE:
        raise BadInput("What is handed over cannot be read.", path="link.part", code="wrong_part") from None


def parts_of(row: Row, of: str) -> Iterator[Part]:
    """A row cut into what single records carry: its settled state first, then its steps in order.

    A step that does not fit beside the state is in a record of its own, which it never fills: `features.event_rules`
    bounds what an event may bring, and so the state, too.
    """
    settled, steps = row.settled, unpacked(row)[1]
    size, first, chunk = len(bytes(settled)), True, list[Step]()
    for step in steps:
        weight = len(_encoder.encode(step))
        if size and size + weight > MAX_PART:
            yield Part(of, first, row.floor, settled, chunk)
            settled, size, first, chunk = NO_STATE, 0, False, []
        chunk.append(step)
        size += weight
    yield Part(of, first, row.floor, settled, chunk)


def part_of_step(step: Step) -> Part:
    """One event, alone."""
    return Part(f"{_ALONE}{id_of(step.source, step.event_id)}", False, 0, NO_STATE, [step])


def row_of_part(part: Part) -> Row:
    """The row that the first part of one begins."""
    settled = msgspec.msgpack.decode(part.settled, type=State)
    return packed(settled, (), part.floor, part.recent)


def told(name: str, event_id: str, tenant: str, link: Link, anonymous_id: str, at: int) -> Event:
    """An event about who is who. It is the same, to the last bit, whenever it is made anew."""
    when = time_of(at)
    keyed = link.user_id if name in ("shopper_absorbed", "shopper_released") else None
    fields = {
        "event_name": name,
        "event_id": event_id,
        "source": "daogou",
        "tenant": tenant,
        "occurred_at": when,
        "received_at": when,
        "anonymous_id": anonymous_id,
        "user_id": keyed,
        "link": link,
    }
    return msgspec.convert(fields, Event)


def handed_over(name: str, tenant: str, link: Link, anonymous_id: str, parts: Sequence[Part]) -> list[Event]:
    """The events that hand these parts over."""
    made = []
    for number, part in enumerate(parts):
        carrying = msgspec.structs.replace(link, part=_encoder.encode(part))
        event_id = id_of(name, link.link_id, part.of, str(number))
        made.append(told(name, event_id, tenant, carrying, anonymous_id, _ms(link.since)))
    return made


def time_of(at: int) -> datetime:
    """The aware time of milliseconds since the epoch."""
    return _EPOCH + at * _MS


def _ms(time: datetime) -> int:
    return (time - _EPOCH) // _MS
