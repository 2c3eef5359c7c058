"""Statistics of items in the partitions that are owned: what a batch changes, and what of them stays in memory.

A batch applies its changes strictly in the order of the log, onto the packed partials as they were before; what is
kept in memory is replaced when Redis has said that it is written. So a batch that is made anew, or cut otherwise,
gives the same bytes.

A partition has statistics of at most `MAX_ITEMS` items. When there is one more, those of least worth go, until three
quarters are left (of equal worth in the order of their keys): at that very place of the log, whatever the batches. An
item that went and comes back starts from nothing. The bound is for ids that no catalogue has; a shop with more than
200,000 items in the events of one partition loses those that were looked at least.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Final, NamedTuple

from features.identity import Entry
from features.item_changes import COUNTED, Change, Review, changes_of, review_changes
from features.item_partials import Partial, add, decode, encode, worth
from features.shoppers import Row, Step
from infra.keys import record_key
from infra.logs import logger, said
from streams.commit import PartitionStore
from streams.partition import PartitionWrite, RowRef

_log = logger(__name__)

MAX_ITEMS: Final = 200_000
KEPT_BYTES: Final = 64 * 1024 * 1024
_BESIDE: Final = 250  # bytes of memory of an entry beside its value, about
_SCAN: Final = 1000


class Counted(NamedTuple):
    """What a record of the log changes; `tenant` is of its items."""

    offset: int
    tenant: str
    changes: Sequence[Change]


def items_of(tenant: str, entry: Entry, review: Review | None) -> list[str]:
    """The record keys of items whose statistics an entry of the log may change."""
    if review is not None:
        return [record_key(tenant, item_id) for item_id in review.item_ids]
    if isinstance(entry, Step):
        return [record_key(tenant, line[0]) for line in entry.lines] if entry.name in COUNTED else []
    steps = () if entry.part is None else entry.part.recent
    return [record_key(tenant, line[0]) for step in steps if step.name in COUNTED for line in step.lines]


def counted(
    tenant: str,
    entries: Iterable[tuple[int, Entry]],
    reviews: Mapping[int, Review],
    runs: Iterable[tuple[Row, Sequence[Step]]],
    lateness_ms: int,
) -> list[Counted]:
    """What the steps of one shopper change that were applied.

    Args:
        tenant: of the shopper.
        entries: the shopper's entries of the batch with their offsets.
        reviews: those among them, by offset.
        runs: steps that were applied, with the row that each run was folded onto.
        lateness_ms: as the fold has it.
    """
    offsets: dict[int, int] = {}
    for offset, entry in entries:
        offsets[id(entry)] = offset
        if not isinstance(entry, Step) and entry.part is not None:
            offsets |= {id(step): offset for step in entry.part.recent}
    found = []
    for onto, steps in runs:
        for step, changes in zip(steps, changes_of(onto, steps, lateness_ms), strict=True):
            offset = offsets[id(step)]
            review = reviews.get(offset)
            of_step = changes if review is None else review_changes(review, step.at)
            if of_step:
                found.append(Counted(offset, tenant, of_step))
    return found


@dataclass(slots=True)
class Known:
    """What is known of one partition's statistics while a batch is applied: packed, before it.

    `count` is of all items of the partition; `others`, where it is needed, the worth of those that are not in `packed`.
    """

    count: int = 0
    packed: dict[str, bytes | None] = field(default_factory=dict)
    others: dict[str, float] | None = None


class ItemStatistics:
    """Reads partials, keeps some in memory, applies batches. All partitions are forgotten when they are claimed."""

    def __init__(self, store: PartitionStore, max_items: int = MAX_ITEMS, kept_bytes: int = KEPT_BYTES) -> None:
        self._store = store
        self._max_items = max_items
        self._kept_bytes = kept_bytes
        self._kept: dict[tuple[int, str], bytes] = {}
        self._bytes = 0

    def forget(self) -> None:
        """Somebody else may write them from now on."""
        self._kept, self._bytes = {}, 0

    async def read(
        self, refs: Sequence[RowRef], items: Mapping[int, Iterable[str]], also: Sequence[tuple[str, ...]] = ()
    ) -> tuple[list[bytes | None], dict[int, Known], list[bytes | None]]:
        """The packed rows, of each partition in `items` what is known of these (by record key), and the answers to
        other commands: one round trip.

        Raises:
            RedisAway.
        """
        known: dict[int, Known] = {}
        commands: list[tuple[str | int, ...]] = []
        missing: dict[int, list[str]] = {}
        for partition, wanted in items.items():
            of_it = known[partition] = Known()
            for item in dict.fromkeys(wanted):
                kept = self._kept.get((partition, item))
                if kept is None:
                    missing.setdefault(partition, []).append(item)
                else:
                    of_it.packed[item] = kept
            key = self._store.keys(partition).partials
            commands.append(("HLEN", key))
            if partition in missing:
                commands.append(("HMGET", key, *missing[partition]))
        rows, found = await self._store.rows_and(refs, [*commands, *also])
        answers = iter(found)
        for partition, of_it in known.items():
            of_it.count = int(next(answers))
            if partition in missing:
                of_it.packed.update(zip(missing[partition], next(answers), strict=True))
        return rows, known, [*answers]

    async def complete(self, partition: int, known: Known) -> None:
        """Learn the worth of all other items of the partition, if the batch can go beyond the bound.

        Raises:
            RedisAway.
        """
        new = sum(raw is None for raw in known.packed.values())
        if known.count + new <= self._max_items:
            return
        key, cursor, others = self._store.keys(partition).partials, 0, {}
        while True:
            _, [(following, found)] = await self._store.rows_and((), [("HSCAN", key, cursor, "COUNT", _SCAN)])
            for item, raw in found.items():
                name = item.decode()
                if name not in known.packed:
                    others[name] = worth(_decoded(raw))
            cursor = int(following)
            if not cursor:
                break
        known.others = others

    def applied(self, known: Known, counted: Sequence[Counted]) -> dict[str, bytes | None]:
        """The packed partials that these change, in the order of the log; None: the item's are gone."""
        live: dict[str, Partial] = {}
        gone: set[str] = set()
        count = known.count
        for one in sorted(counted, key=lambda each: each.offset):
            for change in one.changes:
                key = record_key(one.tenant, change.item_id)
                partial = live.get(key)
                if partial is None:
                    raw = None if key in gone else known.packed[key]
                    count += raw is None
                    partial = live[key] = _decoded(raw)
                add(partial, change)
            if count > self._max_items:
                least = self._least(known, live, gone, count)
                count -= len(least)
                for key in least:
                    live.pop(key, None)
                gone.update(least)
        changed: dict[str, bytes | None] = {key: encode(partial) for key, partial in live.items()}
        for key in gone - live.keys():
            if key not in known.packed or known.packed[key] is not None:
                changed[key] = None
        return changed

    def written(self, write: PartitionWrite) -> None:
        """Redis has written it: keep it."""
        for key, raw in write.partials.items():
            place = write.partition, key
            before = self._kept.pop(place, None)
            if before is not None:
                self._bytes -= len(before) + _BESIDE
            if raw is not None:
                self._kept[place] = raw
                self._bytes += len(raw) + _BESIDE
        while self._bytes > self._kept_bytes:
            self._bytes -= len(self._kept.pop(next(iter(self._kept)))) + _BESIDE

    def _least(self, known: Known, live: Mapping[str, Partial], gone: set[str], count: int) -> list[str]:
        assert known.others is not None, "`complete` is called before a batch that can go beyond the bound"
        worths = {key: at for key, at in known.others.items() if key not in gone}
        for key, raw in known.packed.items():
            if raw is not None and key not in gone:
                worths[key] = worth(_decoded(raw))
        worths |= {key: worth(partial) for key, partial in live.items()}
        return nsmallest(count - self._max_items * 3 // 4, worths, key=lambda key: (worths[key], key))


def _decoded(raw: bytes | None) -> Partial:
    """What cannot be read begins anew: an item's statistics must not stop a partition."""
    if raw is None:
        return Partial()
    try:
        return decode(raw)
    except Exception as error:
        _log.error("statistics of an item cannot be read and begin anew", why=said(error))
        return Partial()
