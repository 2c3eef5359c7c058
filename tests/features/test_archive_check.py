"""A file that is not what was written is found, whatever was done to it; one that is, is not."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.archive import SCHEMA, ArchiveRow, EventArchive
from features.archive_check import days, doubles, gaps, look
from features.archive_damage import DamagedFile
from features.archive_seal import KEY, RECORDS_ALONE, VERSION, Seal, merged, share
from infra.places import Place
from tests.features.test_archive import DAY, START, row

NewPlace = Callable[[], Place]


def codes(at: Place | Path) -> list[str]:
    return [fault.code for looked in look(EventArchive(at)) for fault in looked.faults]


def files(at: Place) -> dict[str, bytes]:
    """What there is by name, below the place."""
    found = {}
    for file in at.inside(lambda name: name.startswith("day=")):
        with at.open(file.path) as stream:
            found["/".join(file.path.split("/")[-2:])] = stream.read()
    return dict(sorted(found.items()))


def written(at: Place, rows: Sequence[ArchiveRow]) -> tuple[str, bytes]:
    EventArchive(at).write(rows)
    [file] = files(at).items()
    return file


def test_what_was_written_is_sound_and_sealed(at: Place) -> None:
    EventArchive(at).write([row(0, 0), row(0, 1), row(1, 7), row(0, 2, START + DAY), row(3, 1, log="load")])
    found = list(look(EventArchive(at)))
    assert [(one.records, one.sealed, one.faults) for one in found] == [(1, 2, []), (3, 2, []), (1, 2, [])]
    assert [(day.day, day.log, day.files, day.records) for day in days(EventArchive(at))] == [
        ("2026-05-01", "load", 1, 1),
        ("2026-05-01", "log", 1, 3),
        ("2026-05-02", "log", 1, 1),
    ]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_no_altered_byte_gives_other_records_unseen(new_place: Callable[[], Place], data: st.DataObject) -> None:
    """Either it is found, or (padding, statistics that nobody reads) the records are what they were."""
    root = new_place()
    name, before_it = written(root, [row(0, n) for n in range(3)])
    before = [batch.to_pylist() for batch in EventArchive(root).scan()]
    raw = bytearray(before_it)
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    root.put(name, bytes(raw))
    if not codes(root):
        assert [batch.to_pylist() for batch in EventArchive(root).scan()] == before


def rewritten(at: Place, rows: Sequence[ArchiveRow], keep: int, *, seal: bool = True) -> None:
    """Write them, then the same file with fewer records and the old footer."""
    name, raw = written(at, rows)
    table = pq.read_table(pa.BufferReader(raw))
    metadata = pq.read_metadata(pa.BufferReader(raw)).metadata or {}
    plain, sink = pa.table(table.slice(0, keep).columns, schema=SCHEMA), pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA) as writer:
        if seal:
            writer.add_key_value_metadata({b"daogou": metadata[b"daogou"]})
        writer.write_table(plain)
    at.put(name, sink.getvalue())


def changed(at: Place, column: str, value: object, version: int) -> None:
    """Write three records and, with a seal of this version, the same with another value in a column."""
    rows = [row(0, n) for n in range(3)]
    name, raw = written(at, rows)
    table = pq.read_table(pa.BufferReader(raw))
    index = table.schema.get_field_index(column)
    values = [value, *table.column(column).to_pylist()[1:]]
    table = table.set_column(index, table.schema.field(column), pa.array(values, table.schema.field(column).type))
    sealed = share(0, ((one.offset, one.received_at, one.key, one.value, one[4:8]) for one in rows), version)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, SCHEMA) as writer:
        writer.add_key_value_metadata({KEY: Seal("log", [sealed], version).packed()})
        writer.write_table(pa.table(table.columns, schema=SCHEMA))
    at.put(name, sink.getvalue())


@pytest.mark.parametrize("column", ["event_at", "tenant", "shopper_id", "event_name"])
def test_what_was_read_from_a_record_is_sealed_with_it(new_place: NewPlace, column: str) -> None:
    value = 1 if column == "event_at" else "x"
    now, before = new_place(), new_place()
    changed(now, column, value, VERSION)
    assert codes(now) == ["checksum_differs"]
    changed(before, column, value, RECORDS_ALONE)
    assert codes(before) == []
    [looked] = look(EventArchive(before))
    assert looked.sealed == RECORDS_ALONE


def test_a_damaged_file_is_named_by_whoever_reads_it(at: Place) -> None:
    name, raw = written(at, [row(0, n) for n in range(3)])
    at.put(name, raw[:4] + b"\xff" * 60 + raw[64:])
    with pytest.raises(DamagedFile, match=r"day=2026-05-01/log@0\.0-2\.parquet.*`daogou archive verify`"):
        list(EventArchive(at).scan())


def test_records_that_are_gone_are_counted(at: Place) -> None:
    rewritten(at, [row(0, n) for n in range(3)], 2)
    assert codes(at) == ["name_differs", "count_differs"]


def test_a_file_of_an_earlier_version_is_told_and_not_blamed(at: Place) -> None:
    rewritten(at, [row(0, n) for n in range(3)], 3, seal=False)
    [looked] = look(EventArchive(at))
    assert (looked.records, looked.sealed, looked.faults) == (3, None, [])
    assert [day.records for day in days(EventArchive(at))] == [3]


@pytest.mark.parametrize("left", [-9, 4, 0])
def test_a_file_cut_short_cannot_be_read(at: Place, left: int) -> None:
    name, raw = written(at, [row(0, n) for n in range(3)])
    at.put(name, raw[:left])
    assert codes(at) == ["unreadable"]


def test_a_file_that_is_gone_leaves_a_hole_and_one_that_is_copied_a_double(at: Place, new_place: NewPlace) -> None:
    for start in (0, 3, 6):
        EventArchive(at).write([row(0, n) for n in range(start, start + 3)])
    first, _, last = files(at).items()
    without = new_place()
    for name, raw in (first, last, ("day=2026-05-01/log@0.1-2.parquet", first[1])):
        without.put(name, raw)
    assert list(gaps(EventArchive(without))) == [("log", 0, 3, 5)]
    assert list(doubles(EventArchive(without))) == [("log", 0, 1, 2, None)]
    assert codes(without) == ["name_differs"]


def test_two_files_that_say_different_things_of_one_offset_are_found(at: Place) -> None:
    late = EventArchive(at)
    assert late.through("log") == {}
    EventArchive(at).write([row(0, n) for n in range(4)])
    late.write([row(0, n)._replace(value=b"other" if n == 1 else row(0, n).value) for n in range(3)])
    assert list(doubles(EventArchive(at))) == [("log", 0, 0, 2, 1)]
    assert codes(at) == []


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5)), max_size=8))
def test_holes_and_doubles_are_those_of_the_sets(spans: list[tuple[int, int]]) -> None:
    both_in = [(first, first + more) for first, more in spans]
    counts = [sum(first <= n <= last for first, last in both_in) for n in range(40)]
    holes, twice = merged(both_in)
    there = [n for n in range(40) if counts[n]]
    expected = {n for n in range(min(there, default=0), max(there, default=0)) if not counts[n]}
    assert {n for first, last in holes for n in range(first, last + 1)} == expected
    assert {n for first, last in twice for n in range(first, last + 1)} == {n for n in range(40) if counts[n] > 1}


def test_the_checksum_tells_keys_from_values_and_none_from_empty() -> None:
    found = {
        share(0, [(0, 0, key, value, (None, None, None, None))]).checksum
        for key, value in ((b"ab", b""), (b"a", b"b"), (None, b"ab"), (b"ab", None))
    }
    assert len(found) == 4


KILLED = """
import os, sys
from features.archive import EventArchive
from tests.features.test_archive import row
calls, left = 0, int(sys.argv[2])
def count(event, arguments):
    global calls, left
    if event in ("open", "os.mkdir", "os.rename", "os.replace") and sys.argv[1] in str(arguments):
        left -= 1
        if left < 0:
            os._exit(9)
sys.addaudithook(count)
EventArchive(sys.argv[1]).write([row(0, n) for n in range(3)] + [row(1, 0)])
"""


@pytest.mark.parametrize("step", range(12))
def test_killed_at_any_step_it_is_there_whole_or_not_at_all(tmp_path: Path, step: int) -> None:
    """A process that ends before its n-th look at the archive's folder; another one then goes on."""
    root = tmp_path / "archive"
    subprocess.run([sys.executable, "-c", KILLED, str(root), str(step)], env=os.environ, check=False, timeout=60)
    archive = EventArchive(root)
    found = [looked.records for looked in look(archive)]
    assert found in ([], [4])
    assert archive.through("log") == ({0: 2, 1: 0} if found else {})
    assert archive.write([row(0, n) for n in range(4)] + [row(1, 0)]) == (1 if found else 5)
    assert sum(looked.records for looked in look(archive)) == 5
    assert codes(root) == []
    assert (list(gaps(archive)), list(doubles(archive))) == ([], [])
