"""The shelves of shoppers: after a batch for those who are on the site now, and anew for whoever is asked for."""

from collections.abc import Mapping, Sequence

from features import shoppers
from streams.applied import Applied
from streams.batch import Share
from streams.commit import PartitionStore
from streams.derived import Derived
from streams.partition import Claimed, PartitionWrite, RowRef
from streams.shadow import Shadow


async def shelves_of(
    shares: Sequence[Share], derived: Derived, log: str, counts: Applied, shadow: Shadow | None = None
) -> dict[RowRef, bytes]:
    """The shelves of shoppers who are on the site now; a candidate that is tried hears of them once they are made.

    Those of loaded history can wait, and are named.
    """
    if derived.scorer is None:
        return {}
    changed = [visit for share in shares for visit in share.changed]
    now = [visit for visit in changed if visit.live]
    counts.unscored = [visit.ref for visit in changed if not visit.live]
    counts.scored = len(now)
    if not now:
        return {}
    counts.received = [visit.received for visit in now if visit.received is not None]
    states, offsets, rows = zip(*((visit.row.state, visit.offset, visit.packed) for visit in now), strict=True)
    version = derived.scorer.version
    shelves = await derived.shelves(states, log, offsets, rows)
    if shadow is not None:
        shadow.offer(version, now, shelves)
    made = {visit.ref: shelf for visit, shelf in zip(now, shelves, strict=True) if shelf is not None}
    if len(made) < len(now):
        counts.failed["list"] = len(now) - len(made)
    counts.scored = len(made)
    return made


async def made_anew(
    store: PartitionStore, derived: Derived, owned: Mapping[int, Claimed], log: str, refs: Sequence[RowRef]
) -> tuple[list[PartitionWrite], int]:
    """Writes of the shelves of these shoppers, made from their rows, which leave the fences where they are; how many.

    Raises:
        RedisAway.
    """
    mine = [ref for ref in refs if ref.partition in owned]
    states, known, rows = [], [], []
    for ref, raw in zip(mine, await store.rows(mine), strict=True):
        state = None if raw is None else _readable(raw)
        if raw is not None and state is not None:
            states.append(state)
            known.append(ref)
            rows.append(raw)
    if not known:
        return [], 0
    shelves = await derived.shelves(states, log, [owned[ref.partition].fence for ref in known], rows)
    values: dict[int, dict[str, bytes]] = {}
    for ref, shelf in zip(known, shelves, strict=True):
        if shelf is not None:
            values.setdefault(ref.partition, {})[store.keys(ref.partition).shelf(ref.tenant, ref.shopper_id)] = shelf
    writes = [PartitionWrite(p, log, owned[p].epoch, owned[p].fence, owned[p].fence, of) for p, of in values.items()]
    return writes, sum(map(len, values.values()))


def _readable(raw: bytes) -> shoppers.State | None:
    try:
        return shoppers.decode_state(raw)
    except Exception:  # the events of such a shopper go to the dead letters; there is no list to make
        return None
