"""The shopper row and its pure fold: `(row, event) -> row`.

A row is `settled` (the state after events older than the allowed lateness, folded in event-time order), `recent` (the
events since, sorted, which are also the ids that duplicates are found by) and `state` (settled with recent folded on
top). Events settle by quarters of a day: one by one, each would have the settled state unpacked and packed again. A
late event is put in its place among `recent` and the state is folded anew from `settled`: the order of arrival cannot
change the result, to the last bit. Nothing here depends on offsets or on the hour of processing.
"""

from bisect import bisect_right, insort
from collections.abc import Sequence
from typing import Final, NamedTuple

import msgspec

from features.decay import affinity_at, purchase_weight_at
from features.shopper_recent import looked_at
from features.shopper_state import (
    AFFINITY_HALF_LIFE_MS,
    AFFINITY_WEIGHTS,
    INTERACTION_KINDS,
    MAX_AFFINITIES,
    MAX_CART,
    MAX_DISLIKED,
    MAX_INTERACTIONS,
    MAX_PURCHASED,
    MAX_RECENT,
    MAX_WISHES,
    PURCHASE_HALF_LIFE_MS,
    SESSION_GAP_MS,
    CartLine,
    Decayed,
    Interaction,
    Purchased,
    Session,
    State,
    Step,
)
from features.shopper_step import advance, copied
from features.steps import step_of
from infra.clock import HOUR_MS

__all__ = [
    "AFFINITY_HALF_LIFE_MS",
    "AFFINITY_WEIGHTS",
    "INTERACTION_KINDS",
    "MAX_AFFINITIES",
    "MAX_CART",
    "MAX_DISLIKED",
    "MAX_INTERACTIONS",
    "MAX_PURCHASED",
    "MAX_RECENT",
    "MAX_WISHES",
    "PURCHASE_HALF_LIFE_MS",
    "SESSION_GAP_MS",
    "SETTLES_MS",
    "CartLine",
    "Decayed",
    "Folded",
    "Interaction",
    "Purchased",
    "Row",
    "Session",
    "State",
    "Step",
    "affinity_at",
    "decode",
    "decode_state",
    "empty",
    "encode",
    "fold",
    "packed",
    "purchase_weight_at",
    "settling_of",
    "step_of",
    "unpacked",
]


SETTLES_MS: Final = 6 * HOUR_MS


class Row(msgspec.Struct, array_like=True):
    """The unit of state. `settled` and `recent` stay packed until needed; readers decode `state` alone."""

    state: State
    floor: int  # event time; an event at or below it is too late
    recent: msgspec.Raw  # list[Step], sorted
    settled: msgspec.Raw  # State
    known: bytes = b""  # of the shopper's other ids, as `features.links` packs it; rows without it have four fields


class Folded(NamedTuple):
    """A row after a fold, and what became of the steps: `late` ones came after the floor had passed them;
    `admitted` are those that were applied, in the order in which they arrived.
    """

    row: Row
    applied: int
    duplicates: int
    late: int
    admitted: Sequence[Step] = ()


class _Key(msgspec.Struct, array_like=True, frozen=True):
    """The first fields of a Step: what it sorts by, and with `at` left out what duplicates are found by."""

    at: int
    source: str
    event_id: str


class _StateOnly(msgspec.Struct, array_like=True):
    """The first field of a Row."""

    state: State


_encoder: Final = msgspec.msgpack.Encoder()
_row_decoder: Final = msgspec.msgpack.Decoder(Row)
_head_decoder: Final = msgspec.msgpack.Decoder(_StateOnly)
_state_decoder: Final = msgspec.msgpack.Decoder(State)
_keys_decoder: Final = msgspec.msgpack.Decoder(list[_Key])
_raws_decoder: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_step_decoder: Final = msgspec.msgpack.Decoder(Step)
_steps_decoder: Final = msgspec.msgpack.Decoder(list[Step])


_NO_STEPS: Final = msgspec.Raw(_encoder.encode([]))
_NO_STATE: Final = msgspec.Raw(_encoder.encode(State()))


def empty() -> Row:
    """The row of a shopper never heard of."""
    return Row(State(), 0, _NO_STEPS, _NO_STATE)


def encode(row: Row) -> bytes:
    """The row packed for Redis; equal rows give equal bytes."""
    return _encoder.encode(row if row.known else (row.state, row.floor, row.recent, row.settled))


def decode(raw: bytes) -> Row:
    """The inverse of `encode`.

    Raises:
        msgspec.DecodeError: the bytes are no row.
    """
    return _row_decoder.decode(raw)


def decode_state(raw: bytes) -> State:
    """The state of a packed row; the rest is passed over.

    Raises:
        msgspec.DecodeError: the bytes are no row.
    """
    return _head_decoder.decode(raw).state


def unpacked(row: Row) -> tuple[State, list[Step]]:
    """The packed parts of a row: the settled state and the recent steps."""
    return _state_decoder.decode(row.settled), _steps_decoder.decode(row.recent)


def packed(settled: State, settling: Sequence[Step], floor: int, recent: Sequence[Step], known: bytes = b"") -> Row:
    """The row of a settled state, which is changed, with steps that settle onto it and others that stay recent; both
    sorted.
    """
    for step in settling:
        advance(settled, step)
    raw = msgspec.Raw(_encoder.encode(settled))
    for step in recent:
        advance(settled, step)
    return Row(settled, floor, msgspec.Raw(_encoder.encode(recent)), raw, known)


def fold(row: Row, steps: Sequence[Step], lateness_ms: int) -> Folded:
    """The row after `steps`, in the order in which they arrived. The given row is not changed.

    A step is a duplicate where a recent one has its source and event id, and late at or below the floor. The
    floor rises to the newest event time less the lateness, and on while more than `MAX_RECENT` are above it.
    """
    on_top = _fold_on_top(row, steps, lateness_ms)
    if on_top is not None:
        return Folded(on_top, len(steps), 0, 0, tuple(steps))
    keys = _keys_decoder.decode(row.recent)
    admitted, floor, duplicates, late = _admit(row, keys, steps, lateness_ms)
    if not admitted:
        return Folded(row, 0, duplicates, late)
    arrived = tuple(admitted)
    admitted.sort(key=_order)
    if keys and _order(admitted[0]) < _order(keys[-1]):
        changed = _fold_anew(row, admitted, floor)
    else:
        changed = _fold_on(row, keys, admitted, floor)
    return Folded(changed, len(admitted), duplicates, late, arrived)


def settling_of(times: Sequence[int], floor: int) -> int:
    """How many of the steps with these times, which are sorted, settle: those up to the last quarter of a day below the
    floor, and all that are as old as one beyond `MAX_RECENT`. How far that is follows from the steps alone, and only
    grows: the batches make no difference.
    """
    until = _settles_until(floor)
    if len(times) > MAX_RECENT:
        until = max(until, times[-MAX_RECENT - 1])
    return bisect_right(times, until)


def _settles_until(floor: int) -> int:
    return floor - floor % SETTLES_MS


def _order(step: Step | _Key) -> tuple[int, str, str]:
    return step.at, step.source, step.event_id


def _admit(row: Row, keys: list[_Key], steps: Sequence[Step], lateness_ms: int) -> tuple[list[Step], int, int, int]:
    """The steps that count, the floor after them, how many are duplicates and how many late.

    Decided one by one in order of arrival, so that it makes no difference how the steps came in batches.
    """
    seen = {(key.source, key.event_id): key.at for key in keys}
    times = [key.at for key in keys]
    newest, floor, duplicates = row.state.newest, row.floor, 0
    admitted: list[Step] = []
    for step in steps:
        name = (step.source, step.event_id)
        if seen.get(name, 0) > floor:
            duplicates += 1
        elif step.at > floor:
            admitted.append(step)
            seen[name] = step.at
            insort(times, step.at)
            newest = max(newest, step.at)
            floor = max(floor, newest - lateness_ms)
            if len(times) > MAX_RECENT and times[-MAX_RECENT - 1] > floor:
                floor = times[-MAX_RECENT - 1]
    return admitted, floor, duplicates, len(steps) - len(admitted) - duplicates


def _fold_on_top(row: Row, steps: Sequence[Step], lateness_ms: int) -> Row | None:
    """What `fold` gives where each step is newer than all before and none can be a duplicate, without unpacking what is
    recent; None where that is not plain.
    """
    recent = looked_at(row.recent)
    if not steps or recent is None or recent.many + len(steps) > MAX_RECENT:
        return None
    newest, floor = row.state.newest, row.floor
    for step in steps:
        if step.at <= newest or step.at <= floor or recent.may_hold(step.event_id):
            return None
        newest = step.at
        floor = max(floor, newest - lateness_ms)
    if len(steps) > 1 and len({step.event_id for step in steps}) < len(steps):
        return None
    state = copied(row.state)
    for step in steps:
        advance(state, step)
    until = _settles_until(floor)
    if (recent.first_at or steps[0].at) <= until:
        return _settled_until(until, Row(state, floor, recent.followed_by(steps), row.settled, row.known))
    return Row(state, floor, recent.followed_by(steps), row.settled, row.known)


def _settled_until(until: int, row: Row) -> Row:
    """The row with the steps up to a time settled; its state knows of all."""
    recent, settled = _raws_decoder.decode(row.recent), _state_decoder.decode(row.settled)
    settling = 0
    for raw in recent:
        step = _step_decoder.decode(raw)
        if step.at > until:
            break
        advance(settled, step)
        settling += 1
    left = msgspec.Raw(_encoder.encode(recent[settling:]))
    return Row(row.state, row.floor, left, msgspec.Raw(_encoder.encode(settled)), row.known)


def _fold_on(row: Row, keys: list[_Key], steps: list[Step], floor: int) -> Row:
    """The steps are newer than all recent ones: the state goes on; `settled` is touched if some settle."""
    state = copied(row.state)
    for step in steps:
        advance(state, step)
    recent: list[msgspec.Raw | Step] = [*_raws_decoder.decode(row.recent), *steps]
    settling = settling_of([*(key.at for key in keys), *(step.at for step in steps)], floor)
    settled = row.settled
    if settling:
        settled_state = _state_decoder.decode(settled)
        for one in recent[:settling]:
            advance(settled_state, one if isinstance(one, Step) else _step_decoder.decode(one))
        settled = msgspec.Raw(_encoder.encode(settled_state))
    return Row(state, floor, msgspec.Raw(_encoder.encode(recent[settling:])), settled, row.known)


def _fold_anew(row: Row, steps: list[Step], floor: int) -> Row:
    """A step belongs among the recent ones: the state is made again from `settled` in event-time order."""
    recent = sorted([*_steps_decoder.decode(row.recent), *steps], key=_order)
    settling = settling_of([step.at for step in recent], floor)
    state = _state_decoder.decode(row.settled)
    settled = row.settled
    if settling:
        for step in recent[:settling]:
            advance(state, step)
        settled = msgspec.Raw(_encoder.encode(state))
    for step in recent[settling:]:
        advance(state, step)
    return Row(state, floor, msgspec.Raw(_encoder.encode(recent[settling:])), settled, row.known)
