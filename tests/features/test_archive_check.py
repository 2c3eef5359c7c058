"""A file that is not what was written is found, whatever was done to it; one that is, is not."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.archive import SCHEMA, ArchiveRow, EventArchive
from features.archive_check import days, doubles, gaps, look
from features.archive_seal import merged, share
from tests.features.test_archive import DAY, START, row


def codes(root: Path) -> list[str]:
    return [fault.code for looked in look(EventArchive(root)) for fault in looked.faults]


def written(root: Path, rows: Sequence[ArchiveRow]) -> Path:
    EventArchive(root).write(rows)
    [file] = root.rglob("*.parquet")
    return file


def test_what_was_written_is_sound_and_sealed(tmp_path: Path) -> None:
    EventArchive(tmp_path).write([row(0, 0), row(0, 1), row(1, 7), row(0, 2, START + DAY), row(3, 1, log="load")])
    found = list(look(EventArchive(tmp_path)))
    assert [(one.records, one.sealed, one.faults) for one in found] == [(1, True, []), (3, True, []), (1, True, [])]
    assert [(day.day, day.log, day.files, day.records) for day in days(EventArchive(tmp_path))] == [
        ("2026-05-01", "load", 1, 1),
        ("2026-05-01", "log", 1, 3),
        ("2026-05-02", "log", 1, 1),
    ]


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_no_altered_byte_gives_other_records_unseen(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Either it is found, or (padding, statistics that nobody reads) the records are what they were."""
    root = tmp_path_factory.mktemp("archive")
    file = written(root, [row(0, n) for n in range(3)])
    before = [batch.to_pylist() for batch in EventArchive(root).scan()]
    raw = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    file.write_bytes(raw)
    if not codes(root):
        kept = ("offset", "received_at", "key", "value")
        after = [batch.to_pylist() for batch in EventArchive(root).scan(columns=kept)]
        assert after == [[{name: one[name] for name in kept} for one in batch] for batch in before]


def rewritten(file: Path, keep: int, *, seal: bool = True) -> None:
    """The same file with fewer records, and the old footer."""
    table = pq.read_table(file, partitioning=None)
    metadata = pq.read_metadata(file).metadata or {}
    plain = pa.table(table.slice(0, keep).columns, schema=SCHEMA)
    with pq.ParquetWriter(file, SCHEMA) as writer:
        if seal:
            writer.add_key_value_metadata({b"daogou": metadata[b"daogou"]})
        writer.write_table(plain)


def test_records_that_are_gone_are_counted(tmp_path: Path) -> None:
    rewritten(written(tmp_path, [row(0, n) for n in range(3)]), 2)
    assert codes(tmp_path) == ["name_differs", "count_differs"]


def test_a_file_of_an_earlier_version_is_told_and_not_blamed(tmp_path: Path) -> None:
    rewritten(written(tmp_path, [row(0, n) for n in range(3)]), 3, seal=False)
    [looked] = look(EventArchive(tmp_path))
    assert (looked.records, looked.sealed, looked.faults) == (3, False, [])
    assert [day.records for day in days(EventArchive(tmp_path))] == [3]


def test_a_file_cut_short_cannot_be_read(tmp_path: Path) -> None:
    file = written(tmp_path, [row(0, n) for n in range(3)])
    file.write_bytes(file.read_bytes()[:-9])
    assert codes(tmp_path) == ["unreadable"]


def test_a_file_that_is_gone_leaves_a_hole_and_one_that_is_copied_a_double(tmp_path: Path) -> None:
    for start in (0, 3, 6):
        EventArchive(tmp_path).write([row(0, n) for n in range(start, start + 3)])
    first, middle, _ = sorted(tmp_path.rglob("*.parquet"))
    shutil.copy(first, first.with_name("log@0.1-2.parquet"))
    middle.unlink()
    assert list(gaps(EventArchive(tmp_path))) == [("log", 0, 3, 5)]
    assert [(one.code, one.path) for one in doubles(EventArchive(tmp_path))] == [("double", "log partition 0")]
    assert codes(tmp_path) == ["name_differs"]


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
        share(0, [(0, 0, key, value)]).checksum
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
