"""The side of the user: what other partitions hand over is merged into the row, kept apart for a while, and given back.

The rules are in `features.identity`.
"""

from collections.abc import Sequence

from features.events import Event, Link
from features.links import (
    MAX_PARTS,
    MAX_SOURCES,
    PARTS_KEPT_MS,
    IdentityStep,
    Known,
    Outcome,
    Part,
    Source,
    Whose,
    handed_over,
    parts_of,
    row_of_part,
    time_of,
    with_known,
)
from features.shopper_merge import is_empty, merge_rows
from features.shopper_state import State, Step
from features.shoppers import Row, decode, empty, encode, fold, packed


def own_steps(row: Row, known: Known, steps: Sequence[Step], lateness_ms: int) -> Outcome:
    """Steps of the user: into the row, and into the one without what came from elsewhere, as long as that is kept."""
    applied = duplicates = late = 0
    counted: list[tuple[Row, Sequence[Step]]] = []
    while steps:
        last = _forgotten_after(known)
        upto = next((n for n, step in enumerate(steps) if step.at > last), len(steps)) if known.own else len(steps)
        out = fold(row, steps[:upto], lateness_ms)
        applied, duplicates, late = applied + out.applied, duplicates + out.duplicates, late + out.late
        counted += [(row, out.admitted)] if out.admitted else []
        row = out.row
        if known.own:
            own = encode(fold(decode(known.own), steps[:upto], lateness_ms).row)
            known = Known(known.spans, known.logins, known.sources, own)
            steps = steps[upto:]
            if steps:
                known = _forgotten(known)
            row = with_known(row, known)
        else:
            steps = ()
    return Outcome(row, applied, duplicates, late, (), tuple(counted))


def absorbed(row: Row, known: Known, whose: Whose, said: IdentityStep, lateness_ms: int) -> Outcome:
    """What another partition hands over: a row, its rest, a straggler, or an event that came by the link."""
    part = said.part
    assert part is not None, "`entry_of` gives it one"
    source = _source(known, said)
    if source.ended and not part.first:  # on its way while the link was undone
        return Outcome(row, 0, 1, 0, tuple(_given_back(whose, said.link_id, said.anonymous_id, said.since, [part])))
    if part.first and (source.ended or part.of in source.taken):
        return Outcome(row, 0, 1, 0)
    if part.first and is_empty(row_of_part(part)):  # the user learns of the link all the same
        told = Source(source.link_id, source.anonymous_id, source.at, source.part, [*source.taken, part.of])
        return Outcome(_knowing(row, known, source, told, known.own), 1, 0, 0)
    own = known.own
    if not own and not source.forgotten and row.state.newest <= said.since + PARTS_KEPT_MS:
        own = encode(Row(row.state, row.floor, row.recent, row.settled))
    if not own or source.forgotten:
        return _absorbed_for_good(row, known, source, part, lateness_ms)
    kept, taken = decode(source.part) if source.part else empty(), source.taken
    applied, duplicates, late = 1, 0, 0
    counted: tuple[tuple[Row, Sequence[Step]], ...] = ()
    if part.first:
        come = row_of_part(part)
        row, kept, taken = merge_rows(row, come), merge_rows(kept, come), [*taken, part.of]
    else:
        kept, applied, duplicates, late, admitted = fold(kept, part.recent, lateness_ms)
        if admitted:
            counted = ((row, admitted),) if part.alone else ()
            row = _with_steps(row, admitted, lateness_ms)
    changed = Source(source.link_id, source.anonymous_id, source.at, encode(kept), taken)
    return Outcome(_knowing(row, known, source, changed, own), applied, duplicates, late, (), counted)


def released(row: Row, known: Known, whose: Whose, said: IdentityStep) -> Outcome:
    """A link is undone: the row is made of what remains, and what came by the link goes back.

    Late is what cannot be undone any more.
    """
    source = _source(known, said)
    if source.ended:
        return Outcome(row, 0, 1, 0)
    if source.forgotten:
        return Outcome(row, 0, 0, 1)
    ended = Source(said.link_id, said.anonymous_id, said.since, b"", source.taken, ended=True)
    if not source.part:
        return Outcome(_knowing(row, known, source, ended, known.own), 1, 0, 0)
    back = list(parts_of(decode(source.part), said.link_id))
    effects = _given_back(whose, said.link_id, source.anonymous_id, said.since, back)
    rest = [one.part for one in known.sources if one.part and one is not source]
    alone = decode(known.own)
    for other in rest:
        alone = merge_rows(alone, decode(other))
    return Outcome(_knowing(alone, known, source, ended, known.own if rest else b""), 1, 0, 0, tuple(effects))


def _source(known: Known, said: IdentityStep) -> Source:
    """What is known of the link; of one never heard of, nothing came yet."""
    mine = (source for source in known.sources if source.link_id == said.link_id)
    return next(mine, Source(said.link_id, said.anonymous_id, said.since))


def _knowing(row: Row, known: Known, was: Source, source: Source, own: bytes) -> Row:
    sources = [source if one is was else one for one in known.sources]
    if source not in sources:
        sources.append(source)
    return with_known(row, _bounded(Known(known.spans, known.logins, sources, own)))


def _given_back(whose: Whose, link_id: str, anonymous_id: str, since: int, parts: Sequence[Part]) -> list[Event]:
    link = Link(link_id=link_id, user_id=whose.id, since=time_of(since))
    return handed_over("shopper_returned", whose.tenant, link, anonymous_id, parts)


def _absorbed_for_good(row: Row, known: Known, source: Source, part: Part, lateness_ms: int) -> Outcome:
    """It becomes the user's own: the link is older than parts are kept."""
    own, taken = known.own, source.taken
    counted: tuple[tuple[Row, Sequence[Step]], ...] = ()
    if part.first:
        come = row_of_part(part)
        row, own, taken = (
            merge_rows(row, come),
            encode(merge_rows(decode(own), come)) if own else b"",
            [*taken, part.of],
        )
        applied, duplicates, late = 1, 0, 0
    else:
        before = row
        row, applied, duplicates, late, admitted = fold(row, part.recent, lateness_ms)
        counted = ((before, admitted),) if part.alone and admitted else ()
        own = encode(fold(decode(own), part.recent, lateness_ms).row) if own else b""
    changed = Source(source.link_id, source.anonymous_id, source.at, b"", taken, forgotten=True)
    return Outcome(_knowing(row, known, source, changed, own), applied, duplicates, late, (), counted)


def _with_steps(row: Row, steps: Sequence[Step], lateness_ms: int) -> Row:
    """The row with steps that are never too late."""
    in_order = sorted(steps, key=lambda step: (step.at, step.source, step.event_id))
    old = [step for step in in_order if step.at <= row.floor]
    if old:
        row = merge_rows(row, packed(State(), (), 0, old))
    return fold(row, in_order[len(old) :], lateness_ms).row


def _forgotten_after(known: Known) -> int:
    return max((source.at for source in known.sources if source.part), default=0) + PARTS_KEPT_MS


def _forgotten(known: Known) -> Known:
    return Known(known.spans, known.logins, [_melted(one) if one.part else one for one in known.sources], b"")


def _melted(source: Source) -> Source:
    return Source(source.link_id, source.anonymous_id, source.at, b"", source.taken, forgotten=True)


def _bounded(known: Known) -> Known:
    """Within the bounds: the parts of the oldest links become the user's own, the oldest sources are forgotten."""
    sources, own = list(known.sources), known.own
    apart = sorted((source for source in sources if source.part), key=lambda one: (one.at, one.link_id))
    for source in apart[: max(0, len(apart) - MAX_PARTS)]:
        own = encode(merge_rows(decode(own), decode(source.part)))
        sources = [_melted(source) if one is source else one for one in sources]
    while len(sources) > MAX_SOURCES:
        del sources[next((n for n, one in enumerate(sources) if not one.part), 0)]
    return Known(known.spans, known.logins, sources, own)
