"""Looking an archive through: every file against its seal, every log and partition for holes and doubles."""

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import pyarrow as pa

from features.archive import EventArchive, Segment
from features.archive_damage import DamagedFile
from features.archive_seal import RECORDS_ALONE, VERSION, Sealed, Share, merged, share

_DERIVED: Final = ("event_at", "tenant", "shopper_id", "event_name")
_READ: Final = ("log", "partition", "offset", "received_at", "key", "value", *_DERIVED)
_TIMES: Final = ("received_at", "event_at")


class Fault(NamedTuple):
    """Something that is wrong: a stable code, where, and what to do."""

    code: str
    path: str
    why: str


class Day(NamedTuple):
    """What the files of one day and log hold."""

    day: str
    log: str
    files: int
    records: int
    size: int


class Looked(NamedTuple):
    """One file that was read: its records, the version of its seal (None: it has none), and what is wrong with it."""

    path: str
    records: int
    sealed: int | None
    faults: list[Fault]


def look(archive: EventArchive) -> Iterator[Looked]:
    """Read every file, and compare it with its seal and its name."""
    for path, segments in archive.files():
        try:
            yield _look(archive, path, segments)
        except (DamagedFile, ValueError) as error:
            said = error.said if isinstance(error, DamagedFile) else str(error)
            why = f"it cannot be read ({said}): bring it back from a copy; it is not archived anew"
            yield Looked(path, 0, None, [Fault("unreadable", path, why)])


def gaps(archive: EventArchive) -> Iterator[tuple[str, int, int, int]]:
    """(log, partition, first, last) of offsets that are in no file though later ones are."""
    for (log, partition), spans in archive.spans().items():
        yield from ((log, partition, *hole) for hole in merged(spans)[0])


class Twice(NamedTuple):
    """Offsets that more than one file has, and the first of which they do not say the same (None: of all they do)."""

    log: str
    partition: int
    first: int
    last: int
    differs_at: int | None


def doubles(archive: EventArchive) -> Iterator[Twice]:
    """Offsets in more than one file, as two archivers leave them that overlapped; an unreadable file says nothing."""
    for (log, partition), spans in archive.spans().items():
        for first, last in merged(spans)[1]:
            its = (one for one in archive.segments(log) if one.partition == partition)
            both = [one for one in its if one.first <= last and one.last >= first]
            yield Twice(log, partition, first, last, _differing(archive, both, first, last))


def _differing(archive: EventArchive, segments: list[Segment], first: int, last: int) -> int | None:
    """An offset of these of which two files say different things; one may lack it, where a log is compacted."""
    said: dict[int, str] = {}
    for segment in segments:
        try:
            for record in _records(archive, segment):
                if first <= record[0] <= last:
                    checksum = share(segment.partition, [record], RECORDS_ALONE).checksum
                    if said.setdefault(record[0], checksum) != checksum:
                        return record[0]
        except (DamagedFile, ValueError):
            continue  # `look` tells of it
    return None


def days(archive: EventArchive) -> list[Day]:
    """What there is by day and log; records as the names count them where a file has no seal."""
    found: dict[tuple[str, str], list[int]] = {}
    for path, segments in archive.files():
        day, log = path.rsplit("/", 2)[-2].removeprefix("day="), segments[0].log
        sums = found.setdefault((day, log), [0, 0, 0])
        seal = archive.seal(path)
        records = sum(s.count for s in seal.shares) if seal else sum(s.last - s.first + 1 for s in segments)
        for i, more in enumerate((1, records, archive.size(path))):
            sums[i] += more
    return [Day(day, log, *sums) for (day, log), sums in sorted(found.items())]


def _look(archive: EventArchive, path: str, segments: list[Segment]) -> Looked:
    seal, faults, records = archive.seal(path), list[Fault](), 0
    if seal is not None and len(seal.shares) != len(segments):
        faults.append(Fault("name_differs", path, "its name and its footer name different shares: bring it back"))
    for number, segment in enumerate(segments):
        found = share(segment.partition, _records(archive, segment), VERSION if seal is None else seal.version)
        records += found.count
        if (found.first, found.last) != (segment.first, segment.last):
            named = f"its name says {segment.first} to {segment.last}"
            why = f"{named}, it holds {found.first} to {found.last}: bring it back from a copy"
            faults.append(Fault("name_differs", path, why))
        sealed = seal.shares[number] if seal is not None and number < len(seal.shares) else None
        faults += [] if sealed is None else _against(path, sealed, found)
    return Looked(path, records, None if seal is None else seal.version, faults)


def _against(path: str, sealed: Share, found: Share) -> Iterator[Fault]:
    here = f"partition {sealed.partition}"
    if sealed.count != found.count:
        yield Fault("count_differs", path, f"{here}: {found.count} records where its footer says {sealed.count}")
    elif sealed != found:
        why = f"{here}: its records are not those that were written: bring it back from a copy"
        yield Fault("checksum_differs", path, why)


def _records(archive: EventArchive, segment: Segment) -> Iterator[Sealed]:
    before = -1
    for batch in archive.read(segment, _READ):
        columns = (column.to_pylist() for column in _whole(batch).columns)
        for log, partition, offset, at_ms, key, value, *derived in zip(*columns, strict=True):
            if (log, partition) != segment[:2] or offset <= before:
                raise ValueError(f"offset {offset} of {log} partition {partition} is out of place")
            before = offset
            event_at, tenant, shopper, name = derived
            yield offset, at_ms, key, value, (event_at, tenant, shopper, name)


def _whole(batch: Any) -> Any:
    """With times as whole milliseconds."""
    for name in _TIMES:
        at = batch.schema.get_field_index(name)
        batch = batch.set_column(at, name, batch.column(at).cast(pa.int64()))
    return batch
