"""The event archive: everything that was on `shop.events.v1`, in Parquet files by day of receipt, for good.

A file is written once and never changed. Its name tells the log and, for each partition in it, the first and
last offset: `LOG@PARTITION.FIRST-LAST@….parquet`; one row group per partition, in the order of the name. A
file comes into sight whole (`infra.places`), and a partition's files are written in the order of its offsets: so
the names alone tell how far the archive reaches, and a crash leaves nothing that looks complete and is not. Its
footer holds counts and checksums (`features.archive_seal`).

One process writes at a time; where nothing can enforce that (S3), a late one does no harm. What a file says of an
offset follows from the log, and each writer goes on where the files ended when it looked: so two can only have written
the same records twice, under one name or under names that overlap, and whoever reads takes each offset once.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features import archive_seal as seals
from features.archive_damage import damage_told
from features.events import Event, event_time_ms, received, shopper_id, to_ms
from infra.errors import BadInput
from infra.places import Place, place_of
from infra.whole_files import HALF_WRITTEN

SCHEMA: Final = pa.schema(
    [
        pa.field("log", pa.string(), nullable=False),
        pa.field("partition", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("received_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("event_at", pa.timestamp("ms", tz="UTC")),
        pa.field("tenant", pa.string()),
        pa.field("shopper_id", pa.string()),
        pa.field("event_name", pa.string()),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
    ]
)
_FEW_VALUES: Final = ["log", "tenant", "event_name"]
_MAX_NAME: Final = 240  # most file systems take 255 bytes
_BATCH_ROWS: Final = 32_768


class ArchiveRow(NamedTuple):
    """One record of the log. What follows from the event is None where the bytes hold none."""

    log: str
    partition: int
    offset: int
    received_at: int
    event_at: int | None
    tenant: str | None
    shopper_id: str | None
    event_name: str | None
    key: bytes | None
    value: bytes | None


class Segment(NamedTuple):
    """One partition's share of a file: a row group."""

    log: str
    partition: int
    first: int
    last: int
    path: str
    row_group: int


def archive_row(
    position: tuple[str, int, int], timestamp_ms: int, key: bytes | None, value: bytes | None
) -> ArchiveRow:
    """The row of a record at (log, partition, offset); bytes that hold no event are kept by Kafka's time."""
    try:
        event = received(value or b"", timestamp_ms)
    except BadInput:
        return ArchiveRow(*position, timestamp_ms, None, None, None, None, key, value)
    return event_row(position, event, key, value)


def event_row(position: tuple[str, int, int], event: Event, key: bytes | None, value: bytes | None) -> ArchiveRow:
    """The row of a record whose event is known.

    Raises:
        BadInput: it has no time of receipt.
    """
    at = event_time_ms(event)
    assert event.received_at is not None, "event_time_ms sees to it"
    return ArchiveRow(
        *position, to_ms(event.received_at), at, event.tenant, shopper_id(event) or None, event.event_name, key, value
    )


class EventArchive:
    """The archive at one place. One process writes it at a time; any number read.

    Whatever touches a place behind S3's protocol:

    Raises:
        ArchiveAway: the store does not answer.
        Refused: it says no (`infra.places.Place`).

    Whatever reads files:

    Raises:
        DamagedFile: one of them is not what was written.
    """

    def __init__(self, at: Place | Path) -> None:
        self._place = place_of(at)
        self._reached: dict[str, dict[int, int]] = {}

    def write(self, rows: Iterable[ArchiveRow]) -> int:
        """Add rows, in any order; those at or before what is archived of their partition are passed over.

        Returns how many were added. They are safe when this returns.
        """
        runs: list[tuple[int, str, list[ArchiveRow]]] = []  # (number of the run in its partition, day, rows)
        ordered = sorted(rows, key=lambda row: row[:3])
        for (log, partition), group in groupby(ordered, key=lambda row: (row.log, row.partition)):
            last = self._reached_by(log).get(partition, -1)
            new = {row.offset: row for row in group if row.offset > last}
            by_day = groupby(new.values(), key=lambda row: _day(row.received_at))
            runs += [(number, day, list(run)) for number, (day, run) in enumerate(by_day)]
        runs.sort(key=lambda run: (run[0], run[1], run[2][0][:2]))
        # A file holds runs of one number, day and log: a later run of a partition comes into sight later.
        for (_, day, log), alike in groupby(runs, key=lambda run: (run[0], run[1], run[2][0].log)):
            for name, shares in _named(log, [run for _, _, run in alike]):
                self._place.put(f"{day}/{name}", _parquet(shares))
                self._reached_by(log).update({share[0].partition: share[-1].offset for share in shares})
        return sum(len(run) for _, _, run in runs)

    def through(self, log: str) -> dict[int, int]:
        """The last offset archived of each partition of a log, from the file names alone."""
        reached: dict[int, int] = {}
        for segment in self._segments(None, None, log):
            reached[segment.partition] = max(segment.last, reached.get(segment.partition, -1))
        self._reached[log] = reached
        return dict(reached)

    def scan(
        self,
        from_ms: int | None = None,
        to_ms: int | None = None,
        columns: Sequence[str] | None = None,
        log: str | None = None,
    ) -> Iterator[Any]:
        """Record batches of what was received in [from, to), in the order (log, partition, offset).

        Only files of the days asked for are opened, and only `columns` (of `SCHEMA`) are read from them.
        """
        names = list(columns or SCHEMA.names)
        read = list(dict.fromkeys([*names, "offset", "received_at"]))
        reached, share = -1, ("", -1)
        for segment in sorted(self._segments(from_ms, to_ms, log)):
            if segment[:2] != share:
                reached, share = -1, segment[:2]
            for batch in self.read(segment, read):
                wanted = _within(batch, from_ms, to_ms, reached)
                if wanted.num_rows:
                    yield wanted.select(names)
            reached = max(reached, segment.last)

    def segments(self, log: str | None = None) -> list[Segment]:
        """What the files hold, by (log, partition, offset), from their names alone."""
        return sorted(self._segments(None, None, log))

    def read(self, segment: Segment, columns: Sequence[str]) -> Iterator[Any]:
        """Record batches of one segment, in the order of its offsets.

        Raises:
            DamagedFile: it cannot be read.
        """
        with (
            damage_told(segment.path),
            self._place.told(),
            pq.ParquetFile(self._place.open(segment.path)) as file,
        ):
            yield from file.iter_batches(_BATCH_ROWS, row_groups=[segment.row_group], columns=list(columns))

    def events(self, from_ms: int | None = None, to_ms: int | None = None) -> Iterator[Event]:
        """The events received in [from, to), by (log, partition, offset); what is none is left out."""
        for batch in self.scan(from_ms, to_ms, ("event_name", "value", "received_at")):
            names, values, times = batch.columns
            at = times.cast(pa.int64())
            for name, value, at_ms in zip(names.to_pylist(), values.to_pylist(), at.to_pylist(), strict=True):
                if name is not None:
                    yield received(value, at_ms)

    def files(self) -> list[tuple[str, list[Segment]]]:
        """Every file and its segments, in the order of their paths."""
        by_path = groupby(
            sorted(self._segments(None, None, None), key=lambda s: (s.path, s.row_group)), lambda s: s.path
        )
        return [(path, list(its)) for path, its in by_path]

    def spans(self) -> dict[tuple[str, int], list[tuple[int, int]]]:
        """First and last offset of each segment, by (log, partition), from the names alone."""
        found: dict[tuple[str, int], list[tuple[int, int]]] = {}
        for segment in self.segments():
            found.setdefault(segment[:2], []).append((segment.first, segment.last))
        return found

    def seal(self, path: str) -> seals.Seal | None:
        """What a file says of itself; None: an older version wrote it.

        Raises:
            DamagedFile: it cannot be read.
        """
        with damage_told(path), self._place.told(), self._place.open(path) as file:
            return seals.unpack(pq.read_metadata(file).metadata)

    def size(self, path: str) -> int:
        """The bytes of a file."""
        return self._place.size(path)

    def half_written(self) -> list[str]:
        """What a crash left behind: never read, written anew, may be deleted."""
        return [file.path for file in (self._place / HALF_WRITTEN).files()]

    def _reached_by(self, log: str) -> dict[int, int]:
        if log not in self._reached:
            self.through(log)
        return self._reached[log]

    def _segments(self, from_ms: int | None, to_ms: int | None, log: str | None) -> Iterator[Segment]:
        first = "" if from_ms is None else _day(from_ms)
        last = "~" if to_ms is None else _day(to_ms - 1)
        for file in self._place.inside(lambda name: name.startswith("day=") and first <= name <= last):
            yield from (part for part in _segments_of(file) if log in (None, part.log))


def _day(at_ms: int) -> str:
    return f"day={datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%d}"


def _named(log: str, runs: list[list[ArchiveRow]]) -> Iterator[tuple[str, list[list[ArchiveRow]]]]:
    """The runs of one day as files, with as many partitions in each as its name has room for."""
    start = quote(log, safe="")
    name, shares = start, list[list[ArchiveRow]]()
    for run in runs:
        part = f"@{run[0].partition}.{run[0].offset}-{run[-1].offset}"
        if shares and len(name) + len(part) > _MAX_NAME:
            yield f"{name}.parquet", shares
            name, shares = start, []
        name += part
        shares.append(run)
    if shares:
        yield f"{name}.parquet", shares


def _segments_of(file: Any) -> Iterator[Segment]:
    if file.extension != "parquet":
        return
    log, *parts = file.base_name.removesuffix(".parquet").split("@")
    for row_group, part in enumerate(parts):
        partition, _, range_ = part.partition(".")
        first, _, last = range_.partition("-")
        yield Segment(unquote(log), int(partition), int(first), int(last), file.path, row_group)


def _parquet(shares: list[list[ArchiveRow]]) -> Any:
    sink = pa.BufferOutputStream()
    sealed = [
        seals.share(rows[0].partition, ((r.offset, r.received_at, r.key, r.value, r[4:8]) for r in rows))
        for rows in shares
    ]
    seal = seals.Seal(shares[0][0].log, sealed)
    with pq.ParquetWriter(sink, SCHEMA, compression="zstd", use_dictionary=_FEW_VALUES) as writer:
        writer.add_key_value_metadata({seals.KEY: seal.packed()})
        for rows in shares:
            columns = [
                pa.array(values, field.type) for values, field in zip(zip(*rows, strict=True), SCHEMA, strict=True)
            ]
            writer.write_table(pa.table(columns, schema=SCHEMA), row_group_size=len(rows))
    return sink.getvalue()


def _within(batch: Any, from_ms: int | None, to_ms: int | None, reached: int) -> Any:
    """The rows of the time asked for whose offsets have not come yet."""
    keep = pc.greater(batch.column("offset"), reached)
    received = batch.column("received_at").cast(pa.int64())
    if from_ms is not None:
        keep = pc.and_(keep, pc.greater_equal(received, from_ms))
    if to_ms is not None:
        keep = pc.and_(keep, pc.less(received, to_ms))
    return batch.filter(keep)
