"""Which records a replay goes over: found once, at its start, and kept, so that it ends while live goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from features.archive import EventArchive, Segment
from features.archive_order import ArchiveOrder, Begun, Window, in_order, loads_named
from features.events import to_ms
from infra.errors import BadInput, NotEmbedded, Refused
from infra.kafka_admin import end_offsets, log_id, offsets_at, start_offsets
from infra.settings import Settings
from infra.topics import EVENTS

EARLIEST: Final = "earliest"
_OFFSET: Final = "offset:"
_LOAD: Final = "load-"


@dataclass(frozen=True, slots=True)
class Bound:
    """One end of a range: a time (ms), an offset, or neither. `earliest`: whatever is there."""

    at_ms: int | None = None
    offset: int | None = None
    earliest: bool = False

    @property
    def given(self) -> bool:
        """Whether it says anything."""
        return self.earliest or self.at_ms is not None or self.offset is not None


@dataclass(frozen=True, slots=True)
class Range:
    """From `since` (inclusive) to `until` (exclusive)."""

    since: Bound = Bound()
    until: Bound = Bound()


@dataclass(frozen=True, slots=True)
class Found:
    """The windows of a range in their order, what is worth saying of them, and how many of their offsets the archive
    does not hold though it holds later ones.
    """

    windows: list[Window]
    said: str = ""
    missing: int = 0


def bound(option: str, text: str) -> Bound:
    """A bound as the command line gives it: a time, `offset:N`, or `earliest`.

    Raises:
        BadInput: it is neither (`bound_wrong`).
    """
    if not text:
        return Bound()
    if text == EARLIEST and option == "--from":
        return Bound(earliest=True)
    try:
        if text.startswith(_OFFSET):
            offset = int(text.removeprefix(_OFFSET))
            if offset >= 0:
                return Bound(offset=offset)
        else:
            at = datetime.fromisoformat(text)
            if at.tzinfo is not None:
                return Bound(at_ms=to_ms(at))
    except ValueError:
        pass
    raise BadInput(
        f"{option} {text!r} is no bound: a time with an offset (2026-11-01T00:00:00Z), offset:N"
        f"{', or earliest' if option == '--from' else ''}",
        path=option,
        code="bound_wrong",
    )


def on_kafka(settings: Settings, of: Range) -> Found:
    """The windows of the topic, as it ends now.

    Raises:
        Refused: what is asked for is not there any more (`range_gone`).
        KafkaAway, NotFound, NotEmbedded.
    """
    if settings.embedded_kafka and (of.since.at_ms is not None or of.until.at_ms is not None):
        raise NotEmbedded("the embedded broker finds no offsets by time: give offset:N, or replay from the archive")
    bootstrap = settings.brokers
    log = log_id(bootstrap, EVENTS, settings.embedded_log)
    starts, ends = start_offsets(bootstrap, EVENTS), end_offsets(bootstrap, EVENTS)
    if settings.embedded_kafka and not any(ends.values()):
        raise Refused(
            "the embedded broker's log is empty: it begins anew at each start, and what came before is in the archive "
            "(--source archive)",
            code="nothing_there",
        )
    firsts = _firsts(settings, of.since, starts)
    if of.until.offset is not None:
        ends = {partition: min(end, of.until.offset) for partition, end in ends.items()}
    elif of.until.at_ms is not None:
        untils = offsets_at(bootstrap, EVENTS, of.until.at_ms)
        ends = {partition: min(end, untils[partition]) for partition, end in ends.items()}
    gone = {p: firsts[p] for p, start in starts.items() if firsts[p] < start and firsts[p] < ends[p]}
    if gone:
        raise _gone(settings, log, gone, starts, of.since.at_ms is None)
    return Found([Window(p, log, firsts[p], end - 1) for p, end in sorted(ends.items()) if firsts[p] < end])


def _firsts(settings: Settings, since: Bound, starts: Mapping[int, int]) -> dict[int, int]:
    if since.earliest:
        return dict(starts)
    if since.offset is not None:
        return dict.fromkeys(starts, since.offset)
    if since.at_ms is None:
        return dict.fromkeys(starts, 0)
    at = offsets_at(settings.brokers, EVENTS, since.at_ms)
    # Where the very first record kept is already of that time, those before it may have been, too.
    return {p: offset - 1 if 0 < offset == starts[p] else offset for p, offset in at.items()}


def _gone(settings: Settings, log: str, gone: Mapping[int, int], starts: Mapping[int, int], by_offset: bool) -> Refused:
    held = _held(EventArchive(settings.archive_at), log)
    partition, first = min(gone.items())
    archived = all(
        (log, p) in held and held[log, p].first <= at and held[log, p].last >= starts[p] - 1 for p, at in gone.items()
    )
    way = (
        "the archive holds it: --source archive"
        if archived
        else f"the archive ({settings.archive_at}) does not hold all of it either"
    )
    what = f"{first} to {starts[partition] - 1}" if by_offset else "records of that time before it"
    return Refused(
        f"{EVENTS} partition {partition} is kept from offset {starts[partition]} on: {what} "
        f"{'and of other partitions ' if len(gone) > 1 else ''}are gone; {way}; what is there: --from earliest",
        code="range_gone",
    )


def in_archive(archive: EventArchive, order: ArchiveOrder, of: Range, live: Mapping[int, Mapping[str, int]]) -> Found:
    """The windows of the archive in the order in which they were applied; `live` are the fences as they are now.

    Raises:
        Refused: the archive begins later than what is asked for (`range_gone`).
    """
    held = _held(archive, None)
    sinces, untils = _first_at(archive, of.since), _first_at(archive, of.until)
    windows = []
    for (log, partition), whole in held.items():
        first = whole.first if of.since.earliest else 0
        last = whole.last
        if of.since.offset is not None:
            first = of.since.offset
        if of.since.at_ms is not None:
            first = sinces.get((log, partition), last + 1)
        last = min(last, untils.get((log, partition), last + 1) - 1)
        if of.until.offset is not None:
            last = min(last, of.until.offset - 1)
        if first < whole.first and first <= last:
            raise Refused(
                f"the archive begins at offset {whole.first} of partition {partition} of the log {log}: {first} to "
                f"{whole.first - 1} are not in it; what is there: --from earliest",
                code="range_gone",
            )
        if first <= last:
            windows.append(Window(partition, log, first, last))
    entries = [*order.entries(), Begun("", {p: dict(of_it) for p, of_it in live.items()})]
    said = (
        "in the order that the archive's order files tell"
        if len(entries) > 1
        else "loads first, by their first receipt, then the rest: the archive has no order files"
    )
    between = _missing(archive, windows)
    if between:
        said = f"{said}; {between:,} offsets between files are missing in the archive"
    of_loads = 0 if of.until.given else _of_loads(held, entries)
    if of_loads:
        said = f"{said}; {of_loads:,} records of loads that were applied are missing in the archive"
    return Found(list(in_order(windows, entries, _guessed(archive))), said, between + of_loads)


def _of_loads(held: Mapping[tuple[str, int], Window], entries: Sequence[Begun]) -> int:
    """Records of loads that the order files know of, behind the last that the archive has."""
    reached = {place: window.last for place, window in held.items()}
    return sum(max(0, last - reached.get(place, -1)) for place, last in loads_named(entries).items())


def _held(archive: EventArchive, log: str | None) -> dict[tuple[str, int], Window]:
    """What is there of each log and partition, holes not regarded."""
    held: dict[tuple[str, int], Window] = {}
    for one in archive.segments(log):
        known = held.get((one.log, one.partition), Window(one.partition, one.log, one.first, one.last))
        first, last = min(known.first, one.first), max(known.last, one.last)
        held[one.log, one.partition] = Window(one.partition, one.log, first, last)
    return held


def _missing(archive: EventArchive, windows: Sequence[Window]) -> int:
    """Offsets of the windows that are in no file."""
    held, missing = archive.spans(), 0
    for window in windows:
        reached = window.first - 1
        for first, last in sorted(held[window.log, window.partition]):
            missing += max(0, min(first, window.last + 1) - reached - 1)
            reached = max(reached, min(last, window.last))
    return missing


def _first_at(archive: EventArchive, bound: Bound) -> dict[tuple[str, int], int]:
    """The first offset that was received at a time or later, by log and partition, as Kafka finds it: so a window has
    no holes. Empty where no time is given.
    """
    found: dict[tuple[str, int], int] = {}
    if bound.at_ms is None:
        return found
    for segment in archive.segments():
        place = (segment.log, segment.partition)
        batches = () if place in found else archive.read(segment, ("offset", "received_at"))
        for batch in batches:
            later = pc.greater_equal(batch.column("received_at").cast(pa.int64()), bound.at_ms)
            offsets = batch.column("offset").filter(later)
            if len(offsets):
                found[place] = offsets[0].as_py()
                break
    return found


def _guessed(archive: EventArchive) -> list[str]:
    """Logs in the order that is likely where nothing was noted: loads first, each by its first receipt."""
    begun: dict[str, int] = {}
    for segment in archive.segments():
        if segment.log in begun and segment.first > 0:
            continue
        at = _first_receipt(archive, segment)
        begun[segment.log] = min(begun.get(segment.log, at), at)
    return sorted(begun, key=lambda log: (not log.startswith(_LOAD), begun[log], log))


def _first_receipt(archive: EventArchive, segment: Segment) -> int:
    batch = next(archive.read(segment, ("received_at",)))
    received: int = pc.min(batch.column("received_at").cast(pa.int64())).as_py()
    return received


def spoken(windows: Sequence[Window]) -> str:
    """How many records of which logs, in words."""
    logs: dict[str, int] = {}
    for window in windows:
        logs[window.log] = logs.get(window.log, 0) + window.last - window.first + 1
    return ", ".join(f"{count:,} of {log}" for log, count in logs.items())


def moment(at_ms: int) -> str:
    """A time for people."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
