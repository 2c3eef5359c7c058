"""What the shoppers' partitions hear of the catalogue: each change once, and how many shoppers watch the item.

For each partition of the catalogue, and tenant, a partition keeps the log and offset of the last change that it took.
What is not beyond it was heard before: the event was repeated, or the catalogue's worker read its log again and cut it
otherwise. No row changes by it.
"""

from collections.abc import Sequence
from typing import Final

from features.events import Event
from features.items_changed import ChangeKind, ItemChange
from features.watching import INTERESTS
from infra.keys import record_key
from streams.applied import Applied
from streams.batch import Share
from streams.commit import PartitionStore

Found = list[tuple[str, ItemChange]]  # of a tenant
_BETWEEN: Final = " "  # before the offset; an id of a log may hold anything else


class Hearing:
    """Sorts out what is new, and counts whom it may concern."""

    def __init__(self, store: PartitionStore) -> None:
        self._store = store

    async def hear(self, shares: Sequence[Share], counts: Applied) -> None:
        """Take the news of these shares, of which each has some: how far they go is noted in the share.

        Raises:
            RedisAway.
        """
        if not shares:
            return
        fields = [list(dict.fromkeys(map(_field, share.news))) for share in shares]
        ask: list[tuple[str | int, ...]] = [
            ("HMGET", self._store.keys(share.batch.partition).heard, *wanted)
            for share, wanted in zip(shares, fields, strict=True)
        ]
        _, answers = await self._store.rows_and((), ask)
        commands: list[tuple[str | int, ...]] = []
        kinds: list[Sequence[ChangeKind]] = []  # of the items asked about
        for share, wanted, known in zip(shares, fields, answers, strict=True):
            before = {field: raw.decode() for field, raw in zip(wanted, known, strict=True) if raw is not None}
            keys = self._store.keys(share.batch.partition)
            for tenant, change in _new(share, before, counts):
                for kind in change.kinds:
                    counts.changes[kind] = counts.changes.get(kind, 0) + 1
                kinds.append(change.kinds)
                commands += [("ZCARD", keys.watchers(tenant, one, change.item_id)) for one in INTERESTS]
        if commands:
            _, watching = await self._store.rows_and((), commands)
            many = iter(map(int, watching))
            for of_item in kinds:
                for interest in INTERESTS:
                    found = next(many)
                    for kind in of_item:
                        counts.reached[kind, interest] = counts.reached.get((kind, interest), 0) + found


def _new(share: Share, before: dict[str, str], counts: Applied) -> Found:
    """The changes that were not heard before; an event that has none is a duplicate."""
    found: Found = []
    heard = dict(before)
    for event in share.news:
        changed, field = event.changed, _field(event)
        assert changed is not None, "an event of this name without it was refused when it was read"
        log, _, offset = heard.get(field, "").rpartition(_BETWEEN)
        last = int(offset) if log == changed.catalogue_log else -1
        new = [change for change in changed.items if change.offset > last]
        if not new:
            counts.duplicates += 1
            continue
        counts.applied += 1
        found += [(event.tenant, change) for change in new]
        furthest = max(change.offset for change in new)
        share.heard[field] = heard[field] = f"{changed.catalogue_log}{_BETWEEN}{furthest}"
    return found


def _field(event: Event) -> str:
    changed = event.changed
    return record_key(event.tenant, "" if changed is None else str(changed.catalogue_partition))
