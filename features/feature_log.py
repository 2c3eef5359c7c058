"""The offline feature log: Parquet, one folder per view, partitioned by day of event time, replaced as a whole.

    <offline_dir>/current -> build-7
    <offline_dir>/build-7/<view>/day=2024-03-01/part-00000.parquet

A build is written beside the one in use and `current` is turned to it in one step; the build before stays for whoever
reads it still. Nothing in the files depends on when they were written.
"""

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from features.aggregates import Kind, Value, ValueType, View
from infra.clock import DAY_MS
from infra.errors import Refused

EVENT_AT: Final = "event_timestamp"
"""Event time of the newest event that the row knows of."""
CREATED_AT: Final = "known_timestamp"
"""When the row came to be known; rises strictly from row to row of one entity."""

_BUILD: Final = re.compile(r"build-\d+")
_CHUNK_ROWS: Final = 4096
_HELD_BYTES: Final = 192 << 20  # kept in memory before a part is written for each day
_ROW_GROUP: Final = 8192
_TIME: Final = pa.timestamp("us", tz="UTC")
_ARROW: Final = {
    Kind.Bytes: pa.binary(),
    Kind.String: pa.string(),
    Kind.Int32: pa.int32(),
    Kind.Int64: pa.int64(),
    Kind.Float64: pa.float64(),
    Kind.Float32: pa.float32(),
    Kind.Bool: pa.bool_(),
    Kind.UnixTimestamp: _TIME,
}


def arrow_type(value_type: ValueType) -> pa.DataType:
    """The column type of a feature."""
    scalar = _ARROW[value_type.kind]
    return pa.list_(scalar) if value_type.many else scalar


def schema_of(view: View) -> pa.Schema:
    """The columns of a view's log: entity, the two times, features."""
    features = [pa.field(name, arrow_type(kind)) for name, kind in view.fields.items()]
    return pa.schema([pa.field(view.entity, pa.string()), (EVENT_AT, _TIME), (CREATED_AT, _TIME), *features])


def folder_of(offline_dir: Path, view: View) -> Path:
    """Where a view's log lies in the build that is in use."""
    return offline_dir / "current" / view.name


@contextmanager
def replaced(offline_dir: Path) -> Iterator[Path]:
    """An empty folder that takes the place of the build in use when the block ends well, and vanishes when not.

    Raises:
        Refused: `current` is something that no build has made.
    """
    offline_dir.mkdir(parents=True, exist_ok=True)
    current = offline_dir / "current"
    before = _in_use(current)
    fresh = offline_dir / f"build-{before + 1}"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    try:
        yield fresh
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    turned = offline_dir / "turning"
    turned.unlink(missing_ok=True)
    turned.symlink_to(fresh.name)
    os.replace(turned, current)
    for build in offline_dir.glob("build-*"):
        if _number(build) < before:
            shutil.rmtree(build, ignore_errors=True)


def _in_use(current: Path) -> int:
    """The number of the build in use; 0 when there is none."""
    if not current.is_symlink() and not current.exists():
        return 0
    name = current.readlink().name if current.is_symlink() else ""
    if not _BUILD.fullmatch(name):
        raise Refused(
            f"{current} is not the link to a build that `daogou features build` makes: move it away, and build again",
            path="offline",
            code="not_a_build",
        )
    return int(name.removeprefix("build-"))


def _number(build: Path) -> int:
    return int(build.name.removeprefix("build-"))


class FeatureLog:
    """Writes one view's rows, in any order, into files by day.

    Rows are held as Arrow columns, some 200 MB at most; then each day gets a part, sorted by entity and time. Use it
    as a context: what is held is written when the block ends well.
    """

    def __init__(self, build: Path, view: View) -> None:
        self._folder = build / view.name
        self._view = view
        self._schema = schema_of(view)
        self._rows: list[tuple[Any, ...]] = []
        self._days: dict[int, list[pa.Table]] = {}
        self._held = 0
        self._parts = 0
        self.rows = 0

    def add(self, key: str, at_ms: int, known_us: int, values: Mapping[str, Value]) -> None:
        """One row: what was known of the entity `key`. `values` are in the view's order."""
        self._rows.append((key, at_ms * 1000, known_us, *values.values()))
        if len(self._rows) == _CHUNK_ROWS:
            self._pack()

    def add_columns(self, columns: Sequence[Any]) -> None:
        """Many rows at once: the columns of the schema, the two times in microseconds."""
        arrays = [pa.array(each, field.type) for each, field in zip(columns, self._schema, strict=True)]
        table = pa.Table.from_arrays(arrays, schema=self._schema)
        days = np.asarray(columns[1]) // (DAY_MS * 1000)
        order = np.argsort(days, kind="stable")
        table, days = table.take(order), days[order]
        starts = np.flatnonzero(np.diff(days, prepend=days[0] - 1)).tolist()
        for start, end in pairwise([*starts, len(days)]):
            self._days.setdefault(int(days[start]), []).append(table.slice(start, end - start))
        self.rows += len(table)
        self._held += table.nbytes
        if self._held > _HELD_BYTES:
            self._flush()

    def __enter__(self) -> "FeatureLog":
        self._folder.mkdir()
        return self

    def __exit__(self, error: object, *_: object) -> None:
        if error is not None:
            return
        self._pack()
        self._flush()
        if not self._parts:
            # A view without a past still has its columns, so that a join gives nulls and not an error.
            pq.write_table(self._schema.empty_table(), self._folder / "empty.parquet")

    def _pack(self) -> None:
        if self._rows:
            self.add_columns(list(zip(*self._rows, strict=True)))
            self._rows = []

    def _flush(self) -> None:
        for day in sorted(self._days):
            folder = self._folder / f"day={datetime.fromtimestamp(day * DAY_MS // 1000, UTC):%Y-%m-%d}"
            folder.mkdir(exist_ok=True)
            rows = pa.concat_tables(self._days.pop(day)).combine_chunks()
            rows = rows.sort_by([(self._view.entity, "ascending"), (CREATED_AT, "ascending")])
            pq.write_table(rows, folder / f"part-{self._parts:05}.parquet", **_encoding(self._view))
        self._parts += bool(self._held)
        self._held = 0


def _encoding(view: View) -> dict[str, Any]:
    """Strings repeat: a dictionary. Times rise: their differences. The rest is left to zstd."""
    suffix = {False: "", True: ".list.element"}
    kinds = {name + suffix[kind.many]: kind.kind for name, kind in view.fields.items()}
    texts = [name for name, kind in kinds.items() if kind in (Kind.String, Kind.Bytes)]
    return {
        "compression": "zstd",
        "row_group_size": _ROW_GROUP,
        "use_dictionary": [view.entity, *texts],
        "write_statistics": [view.entity, EVENT_AT, CREATED_AT],
    }
