"""`daogou archive verify` and `list`: what the archive holds, whether it is what was written, and what the log says."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from features.archive import EventArchive, archive_row
from features.archive_check import Day, Fault, days, doubles, gaps, look
from features.archive_order import FOLDER as ORDER
from features.archive_order import ArchiveOrder, loads_named
from features.archive_seal import RECORDS_ALONE
from features.catalog_archive import FOLDER
from infra.errors import Refused
from infra.kafka import Follower
from infra.kafka_admin import end_offsets, log_id, start_offsets
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS
from streams.progress import Phases

_READ_AT_ONCE: Final = 5000
_READ_S: Final = 10.0

# Offset, time of receipt (ms), key, value.
_Record = tuple[int, int, bytes | None, bytes | None]


@dataclass(slots=True)
class Verified:
    """What was looked through: files, records, files without a seal or with one that covers less; what is wrong, and
    what is only told.
    """

    files: int = 0
    records: int = 0
    unsealed: int = 0
    half_sealed: int = 0
    compared: int = 0
    faults: list[Fault] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


def archives(settings: Settings) -> dict[str, EventArchive]:
    """The archives of both logs, by topic."""
    return {EVENTS: EventArchive(settings.archive_at), CATALOG: EventArchive(settings.archive_at / FOLDER)}


def listed(settings: Settings) -> list[tuple[str, Day]]:
    """(topic, what there is of it), by day and log."""
    return [(topic, day) for topic, archive in archives(settings).items() for day in days(archive)]


def verify(settings: Settings, phases: Phases, *, against_log: bool) -> Verified:
    """Read every file; with `against_log` also what Kafka still keeps of what they hold.

    Raises:
        KafkaAway: with `against_log`.
    """
    verified = Verified()
    for topic, archive in archives(settings).items():
        files = archive.files()
        with phases.phase(f"read {topic}", len(files), "files") as advance:
            for looked in look(archive):
                verified.files += 1
                verified.records += looked.records
                verified.unsealed += looked.sealed is None and not looked.faults
                verified.half_sealed += looked.sealed == RECORDS_ALONE
                verified.faults += looked.faults
                advance(1)
        _twice(archive, verified)
        left = archive.half_written()
        if left:
            verified.told.append(f"{topic}: {len(left)} half-written files are left of a crash; nobody reads them")
        _holes(topic, archive, verified)
        if topic == EVENTS:
            _loads(settings, archive, verified)
        if against_log:
            _against_log(settings, topic, archive, phases, verified)
    if verified.unsealed:
        verified.told.append(f"{verified.unsealed} files have no checksum: an earlier version wrote them")
    if verified.half_sealed:
        verified.told.append(
            f"{verified.half_sealed} files were sealed by an earlier version: their checksum covers offset, time of "
            "receipt, key and value, not event_at, tenant, shopper_id and event_name beside them"
        )
    return verified


def _loads(settings: Settings, archive: EventArchive, verified: Verified) -> None:
    """Loads without the broker that the order files know of: nowhere else are their records."""
    try:
        named = loads_named(ArchiveOrder(settings.archive_at).entries())
    except Refused as error:
        verified.faults.append(Fault(error.reason, f"{settings.archive_at}/{ORDER}", error.message))
        return
    reached = {place: max(last for _, last in spans) for place, spans in archive.spans().items()}
    missing: dict[str, list[str]] = {}
    for (log, partition), last in sorted(named.items()):
        first = reached.get((log, partition), -1) + 1
        if first <= last:
            missing.setdefault(log, []).append(f"{first} to {last} of partition {partition}")
    for log, spans in missing.items():
        why = (
            f"the offsets {', '.join(spans)} are in no file, though they were applied: bring the load's files back "
            "from a copy, or load the same file again with --direct, which archives it anew"
        )
        verified.faults.append(Fault("load_missing", log, why))


def _twice(archive: EventArchive, verified: Verified) -> None:
    for one in doubles(archive):
        where = f"{one.log} partition {one.partition}"
        twice = f"the offsets {one.first} to {one.last} are in more than one file"
        if one.differs_at is None:
            verified.told.append(f"{where}: {twice}, which say the same: two archivers overlapped; each is read once")
            continue
        why = (
            f"{twice}, and of {one.differs_at} they say different things: --against-log says what is right while Kafka "
            "has it; else bring a copy back"
        )
        verified.faults.append(Fault("double_differs", where, why))


def _holes(topic: str, archive: EventArchive, verified: Verified) -> None:
    for log, partition, first, last in gaps(archive):
        where = f"{log} partition {partition}"
        if topic == CATALOG:  # compaction takes what was written over
            verified.told.append(f"{where}: the offsets {first} to {last} are in no file, as compaction leaves them")
            continue
        why = (
            f"the offsets {first} to {last} are in no file: Kafka let go of them before they were archived, or a file "
            "is missing: bring it back from a copy; --against-log says whether Kafka still has them"
        )
        verified.faults.append(Fault("hole", where, why))


def _against_log(settings: Settings, topic: str, archive: EventArchive, phases: Phases, verified: Verified) -> None:
    log = log_id(settings.brokers, topic, settings.embedded_log)
    starts, ends = start_offsets(settings.brokers, topic), end_offsets(settings.brokers, topic)
    reached = archive.through(log)
    with phases.phase(f"compared {topic}", len(ends), "partitions") as advance:
        for partition, start in starts.items():
            last = min(reached.get(partition, -1), ends[partition] - 1)
            behind = ends[partition] - max(start, reached.get(partition, -1) + 1)
            if behind > 0:
                verified.told.append(f"{topic} partition {partition}: {behind} records are not archived yet")
            if start <= last:
                held = _held(archive, log, partition, start)
                on_log = _on_log(settings, topic, (log, partition), start, last)
                _compare(f"{log} partition {partition}", held, on_log, verified)
            advance(1)


def _compare(where: str, held: Iterator[_Record], on_log: Iterator[_Record], verified: Verified) -> None:
    """Both in the order of offsets. What only the archive has is right: a log forgets."""
    missing, different = list[int](), list[int]()
    here = next(held, None)
    for record in on_log:
        while here is not None and here[0] < record[0]:
            here = next(held, None)
        if here is None or here[0] != record[0]:
            missing.append(record[0])
        else:
            verified.compared += 1
            if here != record:
                different.append(record[0])
    if missing:
        why = f"{len(missing)} records that Kafka still has are in no file, from offset {missing[0]} on"
        verified.faults.append(Fault("not_archived", where, why))
    if different:
        why = f"{len(different)} records are others than on the log, from offset {different[0]} on"
        verified.faults.append(Fault("differs_from_log", where, why))


def _held(archive: EventArchive, log: str, partition: int, start: int) -> Iterator[_Record]:
    """The records of a partition from an offset on, each once."""
    before = start - 1
    for segment in archive.segments(log):
        if segment.partition != partition or segment.last <= before:
            continue
        for batch in archive.read(segment, ("offset", "received_at", "key", "value")):
            columns = (batch.column("offset"), batch.column("received_at").cast(pa.int64()))
            values = (batch.column("key"), batch.column("value"))
            for record in zip(*(column.to_pylist() for column in (*columns, *values)), strict=True):
                if record[0] > before:
                    before = record[0]
                    yield record


def _on_log(settings: Settings, topic: str, at: tuple[str, int], start: int, last: int) -> Iterator[_Record]:
    log, partition = at
    follower = Follower(settings.brokers, topic, {partition: start}, embedded=settings.embedded_kafka)
    try:
        reached = start - 1
        while reached < last and (read := follower.read(_READ_AT_ONCE, _READ_S)):
            for one in read:
                reached = one.offset
                if reached <= last:
                    row = archive_row((log, partition, reached), one.timestamp_ms, one.key, one.value)
                    yield reached, row.received_at, one.key, one.value
    finally:
        follower.close()
