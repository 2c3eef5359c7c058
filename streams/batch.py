"""One micro-batch on its way through the pipeline: records become steps of shoppers, steps become rows.

A record that cannot be decoded or folded goes to the dead letters, whatever is wrong with it: it must not
stop those behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from features import links, shoppers, watching
from features.events import Event, encode, home_of, received, record_key_of, shopper_id, to_ms
from features.identity import Entry, fold_entries, linked_now
from features.item_changes import Review, review_of
from features.items_changed import ITEMS_CHANGED
from features.links import Whose, entry_of
from features.online import PackedRow
from features.shoppers import Row, Step
from infra.errors import BadInput, TooLarge, Undecodable
from infra.kafka import Outgoing
from infra.keys import partition_of
from infra.topics import EVENTS
from streams.applied import Applied
from streams.dead_letters import MAX_RECORD, LogRecord, letter
from streams.marketing import timers
from streams.outbox import pack
from streams.partition import RowRef, Watcher
from streams.statistics import Counted, counted, items_of


@dataclass(frozen=True, slots=True)
class Rules:
    """The settings that the pipeline obeys."""

    partitions: int
    lateness_ms: int
    cart_abandoned_ms: int


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """Records of one partition of `shop.events.v1`, in the order of the log, without a hole.

    `epoch` is that of the claim under which they were read, if that can have changed since: a batch of an
    earlier claim need not begin where the fence is now.
    """

    partition: int
    log: str
    records: Sequence[LogRecord]
    epoch: int | None = None
    topic: str = EVENTS


@dataclass(slots=True)
class Visit:
    """One shopper within a batch.

    The entries in the order of the log, their records, the row after them packed, and unpacked as long as that is
    kept, and its values for Feast; `reviews` are by offset, `received` is when its first live event came to the door,
    ms.
    """

    ref: RowRef
    key: str
    records: list[LogRecord] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    reviews: dict[int, Review] = field(default_factory=dict)
    unpacked: Row | None = None
    packed: bytes = b""
    online: PackedRow | None = None
    received: int | None = None

    @property
    def row(self) -> Row:
        """The row after the entries."""
        return self.unpacked if self.unpacked is not None else _row(self.packed or None)

    @property
    def live(self) -> bool:
        """Whether something happened now, rather than in loaded history."""
        return any(entry.live for entry in self.entries)

    @property
    def link(self) -> bytes | None:
        """The user to whom an anonymous id is linked now, packed, if this batch said something of it."""
        if all(isinstance(entry, Step) for entry in self.entries) or not self.ref.shopper_id.startswith("a-"):
            return None
        return links.pack_link(linked_now(self.row))

    @property
    def offset(self) -> int:
        """Where the last of its records lies."""
        return self.records[-1].offset


@dataclass(slots=True)
class Share:
    """What a batch holds for one partition; `fence` is the offset that it goes up to.

    `items` are the record keys of items whose statistics it may change, `counted` is what changes them; `news` are
    events about the catalogue, `heard` how far they go, by partition of the catalogue.
    """

    batch: PartitionBatch
    fence: int
    visits: list[Visit] = field(default_factory=list)
    changed: list[Visit] = field(default_factory=list)
    timers: dict[str, int | None] = field(default_factory=dict)
    letters: list[bytes] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    counted: list[Counted] = field(default_factory=list)
    watchers: list[Watcher] = field(default_factory=list)
    news: list[Event] = field(default_factory=list)
    heard: dict[str, str] = field(default_factory=dict)

    def bury(self, record: LogRecord, code: str, message: str, counts: Applied) -> None:
        """Put a record among the dead letters."""
        self.letters.append(pack(letter(self.batch, record, code, message)))
        counts.dead += 1
        counts.reasons[code] = counts.reasons.get(code, 0) + 1


def gather(batch: PartitionBatch, fence: int, partitions: int, counts: Applied) -> Share:
    """Decode the records above the fence and sort them by shopper."""
    share = Share(batch, fence)
    visits: dict[str, Visit] = {}
    for record in batch.records:
        if record.offset <= share.fence:
            counts.redelivered += 1
            continue
        share.fence = record.offset
        try:
            key, ref, event = _read(record, batch.partition, partitions)
            if event.event_name == ITEMS_CHANGED:
                share.news.append(event)
                continue
            entry, review = entry_of(event), review_of(event)
        except BadInput as error:
            share.bury(record, error.reason, error.message, counts)
            continue
        except Exception as error:
            share.bury(record, "unreadable", _said(error), counts)
            continue
        visit = visits.get(key)
        if visit is None:
            visit = visits[key] = Visit(ref, key)
        visit.records.append(record)
        visit.entries.append(entry)
        if review is not None:
            visit.reviews[record.offset] = review
        share.items += items_of(ref.tenant, entry, review)
        if isinstance(entry, Step) and entry.live and visit.received is None and event.received_at is not None:
            visit.received = to_ms(event.received_at)
    share.visits = list(visits.values())
    return share


def fold_visit(share: Share, visit: Visit, raw: bytes | None, rules: Rules, counts: Applied) -> bool:
    """Fold one shopper's entries onto the row as it was read; note what becomes of the timer, and what goes to other
    partitions. Whether the row is another now.
    """
    try:
        row = _row(raw)
    except Exception as error:  # nothing of this shopper can be applied
        for record in visit.records:
            share.bury(record, "row_unreadable", _said(error), counts)
        return False
    before = timers.cart_due(row.state, rules.cart_abandoned_ms)
    heard = _Heard()
    try:
        after = _fold(row, visit, visit.entries, rules, heard)
        visit.packed = shoppers.encode(after)
    except Exception:  # whichever entry it was goes to the dead letters, by itself
        heard = _Heard()
        visit.packed = _fold_one_by_one(share, visit, raw, rules, heard) or b""
        after = _row(visit.packed or None)
    visit.unpacked = after
    counts.add(heard.tally)
    share.letters += heard.effects
    try:
        share.counted += _counted(visit, heard, rules)
    except Exception:  # the row is right, and what was counted before is: they go on
        counts.failed["statistics"] = counts.failed.get("statistics", 0) + 1
    if not heard.tally.applied or visit.packed == raw:  # a straggler of an id that was linked changes nothing here
        return False
    share.changed.append(visit)
    newest = max((entry.at for entry in visit.entries if isinstance(entry, Step) and entry.live), default=0)
    if newest > counts.newest.get(share.batch.partition, 0):
        counts.newest[share.batch.partition] = newest
    if any(entry.name in watching.WATCHING or not isinstance(entry, Step) for entry in visit.entries):
        ref = visit.ref
        share.watchers += [
            Watcher(ref.tenant, ref.shopper_id, *change) for change in watching.moved(row.state, after.state)
        ]
    due = timers.cart_due(after.state, rules.cart_abandoned_ms)
    if due != before:
        share.timers[timers.member(visit.ref.tenant, timers.CART_ABANDONED, visit.ref.shopper_id)] = due
    return True


@dataclass(slots=True)
class _Heard:
    """What entries come to beside the row: how many of which kind, effects, and the steps that count for items, each
    run with the row that it was folded onto.
    """

    tally: Applied = field(default_factory=Applied)
    effects: list[bytes] = field(default_factory=list)
    counted: list[tuple[Row, Sequence[Step]]] = field(default_factory=list)

    def add(self, other: "_Heard") -> None:
        self.tally.add(other.tally)
        self.effects += other.effects
        self.counted += other.counted


def _fold(row: Row, visit: Visit, entries: Sequence[Entry], rules: Rules, heard: _Heard) -> Row:
    out = fold_entries(row, Whose(visit.ref.tenant, visit.ref.shopper_id), entries, rules.lateness_ms)
    heard.effects += [_effect(event, rules.partitions) for event in out.effects]
    heard.tally.applied += out.applied
    heard.tally.duplicates += out.duplicates
    heard.tally.late += out.late
    heard.counted += out.counted
    return out.row


def _counted(visit: Visit, heard: _Heard, rules: Rules) -> list[Counted]:
    offsets = [record.offset for record in visit.records]
    entries = zip(offsets, visit.entries, strict=True)
    return counted(visit.ref.tenant, entries, visit.reviews, heard.counted, rules.lateness_ms)


def _effect(event: Event, partitions: int) -> bytes:
    """An event for another partition, as it lies in the outbox."""
    key = record_key_of(event)
    return pack(Outgoing(EVENTS, partition_of(key, partitions), key, encode(event)))


def _fold_one_by_one(share: Share, visit: Visit, raw: bytes | None, rules: Rules, heard: _Heard) -> bytes | None:
    """The packed row after the entries of a shopper of whom one failed.

    The row is packed after each, so a failure leaves nothing behind.
    """
    for entry, record in zip(visit.entries, visit.records, strict=True):
        said = _Heard()
        try:
            raw = shoppers.encode(_fold(_row(raw), visit, [entry], rules, said))
        except Exception as error:
            share.bury(record, "not_foldable", _said(error), heard.tally)
        else:
            heard.add(said)
    return raw


def _row(raw: bytes | None) -> Row:
    return shoppers.empty() if raw is None else shoppers.decode(raw)


def _read(record: LogRecord, partition: int, partitions: int) -> tuple[str, RowRef, Event]:
    if record.value is None:
        raise Undecodable("the record has no value", code="empty")
    if len(record.value) > MAX_RECORD:
        raise TooLarge(f"the record has {len(record.value):,} bytes, an event at most {MAX_RECORD:,}")
    event = received(record.value, record.timestamp)
    key = record_key_of(event)
    right = partition_of(key, partitions) if event.event_name != ITEMS_CHANGED else home_of(event, partitions)
    if right != partition:
        raise BadInput(f"it belongs to partition {right}", code="wrong_partition")
    return key, RowRef(partition, event.tenant, shopper_id(event)), event


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
