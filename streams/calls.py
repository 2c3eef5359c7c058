"""The Lua calls that write a partition, with their keys and arguments in the order that the scripts read them in."""

from typing import Final

from infra.clock import DAY_MS
from infra.errors import Fenced, WentBack
from infra.keys import ShardKeys
from streams.lua import COMMIT, FIRE, Call
from streams.partition import PartitionFire, PartitionWrite

# A cart may be left alone for 30 days before its message is due, and an event may come 30 days late.
TOLD_KEPT_MS: Final = 64 * DAY_MS
# What a call answers first: it was carried out, or what was not as the writer believed.
STORED, EPOCH, NAMESPACE, FENCE = range(4)


def commit_call(keys: ShardKeys, namespace: str, write: PartitionWrite) -> Call:
    """Write a partition; answers the status, and what Redis holds or the length of the outbox."""
    kept = [(member, due) for member, due in write.timers.items() if due is not None]
    gone = [member for member, due in write.timers.items() if due is None]
    counted = [(item, raw) for item, raw in write.partials.items() if raw is not None]
    forgotten = [item for item, raw in write.partials.items() if raw is None]
    watching = [keys.watchers(tenant, interest, item) for tenant, _, interest, item, _ in write.watchers]
    counts = (
        *(len(write.values), len(kept), len(gone), len(counted), len(forgotten)),
        *(len(watching), len(write.heard)),
    )
    return (
        COMMIT,
        (
            *(keys.fence, keys.epoch, keys.live, keys.timers, keys.outbox, keys.partials, keys.heard),
            *(*write.values, *watching),
        ),
        (
            *(write.log, str(write.expected), str(write.fence), str(write.epoch), namespace),
            *map(str, counts),
            *write.values.values(),
            *(text for member, due in kept for text in (str(due), member)),
            *gone,
            *(part for entry in counted for part in entry),
            *forgotten,
            *(text for _, who, _, _, at in write.watchers for text in ("" if at is None else str(at), who)),
            *(text for entry in write.heard.items() for text in entry),
            *write.outbox,
        ),
    )


def fire_call(keys: ShardKeys, namespace: str, fire: PartitionFire) -> Call:
    """Take timers away and put their effects into the outbox; answers status, what Redis holds or the length of the
    outbox, and which timers were taken.
    """
    timers = [part for due, effect in fire.timers for part in (due.member, str(due.due_ms), effect or b"")]
    fence = (fire.log, str(fire.fence))
    arguments = (str(fire.epoch), namespace, str(TOLD_KEPT_MS), *fence, *timers)
    return FIRE, (keys.epoch, keys.live, keys.timers, keys.outbox, keys.told, keys.fence), arguments


def lost(write: PartitionWrite, status: int, held: bytes) -> Fenced | WentBack:
    """Why a call was turned away, with what Redis holds instead."""
    here = f"partition {write.partition}"
    if status == NAMESPACE:
        return Fenced(f"{here}: another namespace, {held.decode()}, is served now; start again")
    mine, what = (write.epoch, "epoch") if status == EPOCH else (write.expected, "fence")
    if int(held) < mine:
        return WentBack(
            f"{here}: Redis holds {what} {int(held)}, this worker left {mine}; start again to read on from it"
        )
    return Fenced(f"{here}: somebody else has taken it ({what} {int(held)}, this worker's is {mine})")
