"""Who is who: an anonymous id and the user who logged in, merged, kept apart, and undone. All of it pure.

The rule: **an anonymous id's event belongs to the user to whom the id was linked at the event's time.**

- `identify` links the id to its user from that moment on. The first link also gets all that came before it.
- `identify` of another user ends the link: what comes before it stays with the first, what comes after goes to the
  second, who gets nothing of what was before.
- An `identify` that comes late takes its place by its time; what was handed over meanwhile stays where it is.
- The third different user within 30 days makes the device a shared one: from then on its events belong to nobody but
  the id itself, nothing is handed over, and what a user does there counts where the event names the user. Thirty days
  after which fewer than three have logged in, the next `identify` links again, from its time on.
- An operator who unlinks says that it never was so: the user's row is what it would be without it, and the anonymous
  row has its history back.

How it goes. `identity_linked` is on the log of the anonymous id's partition; its owner hands the row over by
`shopper_absorbed` in the user's partition, in as many records as it takes, and keeps an empty row with the link. A
straggler is handed on in the same way, alone. The user's row is merged (`features.shopper_merge`), and for 30 days it
also keeps each part by itself, folded on as if it had never been merged: so a straggler is too late only where it would
have been for the anonymous row, a repeat is found by its id, and undoing is exact. Later than that the parts are
forgotten, the merged row is all there is, and only a replay without the link undoes it. `identity_unlinked`,
`shopper_released` and `shopper_returned` are the way back.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from features.absorbing import absorbed, own_steps, released
from features.events import Event, Link, event_time_ms, to_ms
from features.links import (
    MAX_LOGINS,
    MAX_SPANS,
    IdentityStep,
    Known,
    Login,
    Outcome,
    Part,
    Span,
    Whose,
    handed_over,
    id_of,
    known_of,
    outcome,
    part_of_step,
    parts_of,
    row_of_part,
    time_of,
    told,
    with_known,
)
from features.shopper_merge import is_empty, merge_rows
from features.shopper_state import State, Step
from features.shoppers import Row, empty, fold
from infra.clock import DAY_MS

SHARED_FROM: Final = 3  # different users
SHARED_WITHIN_MS: Final = 30 * DAY_MS

Entry = Step | IdentityStep


def fold_entries(row: Row, whose: Whose, entries: Sequence[Entry], lateness_ms: int) -> Outcome:
    """The row after `entries`, in the order of the log. The given row is not changed.

    It makes no difference how the entries came in batches.
    """
    steps = [entry for entry in entries if isinstance(entry, Step)]
    if not row.known and len(steps) == len(entries):
        return outcome(row, fold(row, steps, lateness_ms))
    applied = duplicates = late = 0
    effects: list[Event] = []
    counted: list[tuple[Row, Sequence[Step]]] = []
    for run in _runs(entries):
        out = _applied(row, whose, run, lateness_ms)
        row, applied, duplicates = out.row, applied + out.applied, duplicates + out.duplicates
        late += out.late
        effects += out.effects
        counted += out.counted
    return Outcome(row, applied, duplicates, late, tuple(effects), tuple(counted))


def linked_of(identify: Event) -> Event | None:
    """What an `identify` says to the anonymous id's partition; None for any other event."""
    if identify.event_name != "identify" or identify.user_id is None or identify.anonymous_id is None:
        return None
    at = to_ms(identify.occurred_at) if identify.received_at is None else event_time_ms(identify)
    link_id = id_of("link", identify.tenant, identify.source, identify.event_id)
    link = Link(link_id=link_id, user_id=identify.user_id, since=time_of(at))
    linked = told("identity_linked", link_id, identify.tenant, link, identify.anonymous_id, at)
    return linked if identify.load_id is None else replace(linked, load_id=identify.load_id)


def with_links(events: Iterable[Event]) -> Iterator[Event]:
    """Events as they go on the log, each `identify` with what it says to the anonymous id's partition."""
    for event in events:
        yield event
        linked = linked_of(event)
        if linked is not None:
            yield linked


def unlinked(tenant: str, anonymous_id: str, user_id: str, at: int) -> Event:
    """What an operator says to undo every link of an anonymous id to a user; `at` in ms."""
    asked = id_of("unlink", tenant, anonymous_id, user_id, str(at))
    link = Link(link_id=asked, user_id=user_id, since=time_of(at))
    return told("identity_unlinked", asked, tenant, link, anonymous_id, at)


def linked_now(row: Row) -> Span | None:
    """The link that holds now of an anonymous id; None where its events are its own."""
    spans = known_of(row).spans
    return spans[-1] if spans and spans[-1].user_id is not None else None


def owner_at(spans: Sequence[Span], at: int) -> Span | None:
    """The link to which an event of that time belongs; None where it is the anonymous id's own."""
    if not spans:
        return None
    span = next((span for span in reversed(spans) if span.at <= at), spans[0])
    return span if span.user_id is not None else None


def _runs(entries: Sequence[Entry]) -> list[list[Step] | IdentityStep]:
    runs: list[list[Step] | IdentityStep] = []
    for entry in entries:
        if isinstance(entry, IdentityStep):
            runs.append(entry)
        elif runs and isinstance(runs[-1], list):
            runs[-1].append(entry)
        else:
            runs.append([entry])
    return runs


def _applied(row: Row, whose: Whose, run: list[Step] | IdentityStep, lateness_ms: int) -> Outcome:
    known = known_of(row)
    if isinstance(run, list):
        if known.spans:
            return _handed_on(row, known, whose, run, lateness_ms)
        return own_steps(row, known, run, lateness_ms)
    if run.name == "identity_linked":
        return _linked(row, known, whose, run)
    if run.name == "identity_unlinked":
        return _unlinked(row, known, whose, run)
    if run.name == "shopper_returned":
        return _returned(row, known, whose, run, lateness_ms)
    if run.name == "shopper_released":
        return released(row, known, whose, run)
    return absorbed(row, known, whose, run, lateness_ms)


def _handed_on(row: Row, known: Known, whose: Whose, steps: Sequence[Step], lateness_ms: int) -> Outcome:
    """Steps of an id that was linked: to the user of their time, or into the row where they are the id's own."""
    own: list[Step] = []
    effects: list[Event] = []
    for step in steps:
        span = owner_at(known.spans, step.at)
        if span is None:
            own.append(step)
        else:
            effects += _to_user(whose, span, [part_of_step(step)])
    return outcome(row, fold(row, own, lateness_ms), tuple(effects))


def _to_user(whose: Whose, span: Span, parts: Sequence[Part]) -> list[Event]:
    link = Link(link_id=span.link_id, user_id=span.user_id or "", since=time_of(span.at))
    return handed_over("shopper_absorbed", whose.tenant, link, whose.id, parts)


def _linked(row: Row, known: Known, whose: Whose, said: IdentityStep) -> Outcome:
    if said.link_id in {*(one.link_id for one in known.spans), *(one.link_id for one in known.logins)}:
        return Outcome(row, 0, 1, 0)
    logins = [*known.logins, Login(said.since, said.link_id, said.user_id)]
    logins.sort(key=lambda one: (one.at, one.link_id))
    logins = _within_bounds([one for one in logins if one.at > logins[-1].at - SHARED_WITHIN_MS])
    span = _new_span(known.spans, logins, said)
    spans = known.spans if span is None else _with_span(known.spans, span)
    changed = Known(spans, logins, known.sources, known.own)
    # What a shared device was used for is nobody's in particular.
    if span is None or span.user_id is None or any(one.why == "shared" for one in spans):
        return Outcome(with_known(_its_own(row) if spans[-1].user_id is None else row, changed), 1, 0, 0)
    tombstone, effects = _emptied(row, whose, span, span.link_id)
    return Outcome(with_known(tombstone, changed), 1, 0, 0, tuple(effects))


def _within_bounds(logins: Sequence[Login]) -> list[Login]:
    """Of too many the oldest go, first those of users who have a newer one: three users are three however often."""
    newest = {one.user_id: one for one in logins}
    again = [one for one in logins if newest[one.user_id] is not one]
    gone = {one.link_id for one in again[: max(0, len(logins) - MAX_LOGINS)]}
    return [one for one in logins if one.link_id not in gone][-MAX_LOGINS:]


def _new_span(spans: Sequence[Span], logins: Sequence[Login], said: IdentityStep) -> Span | None:
    """What begins with a login; None: it goes on as it was."""
    before = [span for span in spans if span.at <= said.since]
    users = {one.user_id for one in logins if said.since - SHARED_WITHIN_MS < one.at <= said.since}
    if len(users | {said.user_id}) >= SHARED_FROM:
        is_shared = bool(before) and before[-1].why == "shared"
        return None if is_shared else Span(said.since, said.link_id, None, "shared")
    if before and before[-1].user_id == said.user_id:
        return None
    return Span(said.since, said.link_id, said.user_id)


def _with_span(spans: Sequence[Span], span: Span) -> list[Span]:
    """In order of time and within the bound; that a device was shared once is not forgotten."""
    all_of = sorted([*spans, span], key=lambda one: (one.at, one.link_id))
    kept, gone = all_of[-MAX_SPANS:], all_of[:-MAX_SPANS]
    shared = [one for one in gone if one.why == "shared"]
    return [*shared[-1:], *kept] if shared else kept


def _emptied(row: Row, whose: Whose, span: Span, of: str) -> tuple[Row, list[Event]]:
    """The row without what it held, and the events that hand it over. It is as new as what was said last of it."""
    nothing = empty()
    tombstone = Row(State(newest=max(row.state.newest, span.at)), 0, nothing.recent, nothing.settled)
    return tombstone, _to_user(whose, span, list(parts_of(row if not is_empty(row) else nothing, of)))


def _unlinked(row: Row, known: Known, whose: Whose, said: IdentityStep) -> Outcome:
    undone = [span for span in known.spans if span.user_id == said.user_id]
    if not undone:
        return Outcome(row, 0, 1, 0)
    spans = [Span(one.at, one.link_id, None, "unlinked") if one in undone else one for one in known.spans]
    logins = [one for one in known.logins if one.user_id != said.user_id]
    effects = []
    for span in undone:
        link = Link(link_id=span.link_id, user_id=said.user_id, since=time_of(span.at))
        event_id = id_of("shopper_released", span.link_id)
        effects.append(told("shopper_released", event_id, whose.tenant, link, whose.id, said.since))
    row = _its_own(row)
    return Outcome(with_known(row, Known(spans, logins, known.sources, known.own)), 1, 0, 0, tuple(effects))


def _its_own(row: Row) -> Row:
    """A row to be folded onto again: one that handed everything over begins anew."""
    return empty() if is_empty(row) else row


def _returned(row: Row, known: Known, whose: Whose, said: IdentityStep, lateness_ms: int) -> Outcome:
    """The history of an undone link comes back, first its row, then what did not fit into one record."""
    span = next((span for span in known.spans if span.link_id == said.link_id and span.user_id is None), None)
    part = said.part
    if span is None or part is None or (part.first and span.why == "returned"):
        return Outcome(row, 0, 1, 0)
    now = known.spans[-1]
    stays = now.user_id is None or any(one.why == "shared" for one in known.spans)
    if not part.first:
        if stays:
            out = outcome(row, fold(row, part.recent, lateness_ms))
            return Outcome(out.row, 1, 0, 0, (), out.counted if part.alone else ())
        which = part.of if part.alone else id_of(part.of, *(step.event_id for step in part.recent))
        return Outcome(row, 1, 0, 0, tuple(_to_user(whose, now, [replace(part, of=which)])))
    back = Span(span.at, span.link_id, None, "returned")
    known = Known([back if one is span else one for one in known.spans], known.logins, known.sources, known.own)
    row = with_known(merge_rows(row, row_of_part(part)), known)
    if stays:
        return Outcome(row, 1, 0, 0)
    # Meanwhile somebody else was linked: what is nobody's goes there.
    tombstone, effects = _emptied(row, whose, now, f"{now.link_id}:{part.of}")
    return Outcome(with_known(tombstone, known), 1, 0, 0, tuple(effects))
