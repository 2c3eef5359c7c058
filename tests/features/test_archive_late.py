"""Several who write one archive: however late, each record is read once, and none is missing.

In a folder a lock keeps them apart; behind S3's protocol nothing does but a hold that lapses. So here nothing does.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.archive import ArchiveRow, EventArchive
from features.archive_check import Twice, doubles, gaps, look
from infra.places import Place
from tests.features.test_archive import DAY, START, positions, row

# The log: one partition busy, one quiet, days that change amid a batch.
LOG = [row(0, n, START + (n // 7) * DAY) for n in range(40)]
QUIET = [row(1, n, START + n * DAY) for n in range(4)]


class Writer:
    """An archiver: it looks where the files end, reads on from there, and files what it read when it comes to it."""

    def __init__(self, at: Place) -> None:
        self.archive = EventArchive(at)
        self.look()

    def look(self) -> None:
        self.next = {p: offset + 1 for p, offset in self.archive.through("log").items()}
        self.rows: list[ArchiveRow] = []

    def read(self, count: int) -> None:
        for partition, log in enumerate((LOG, QUIET)):
            start = self.next.get(partition, 0)
            taken = log[start : start + count if partition == 0 else start + 1]
            self.next[partition] = start + len(taken)
            self.rows += taken

    def file(self) -> None:
        rows, self.rows = self.rows, []
        self.archive.write(rows)


def sound(at: Place) -> None:
    archive = EventArchive(at)
    reached = archive.through("log")
    expected = [one[:3] for log in (LOG, QUIET) for one in log if one.offset <= reached.get(one.partition, -1)]
    assert positions(archive.scan()) == expected
    day = positions(archive.scan(START + DAY, START + 2 * DAY))
    assert day == [
        one[:3] for one in LOG + QUIET if one[:3] in expected and START + DAY <= one.received_at < START + 2 * DAY
    ]
    assert list(gaps(archive)) == []
    assert [fault for looked in look(archive) for fault in looked.faults] == []
    assert all(one.differs_at is None for one in doubles(archive))


def test_one_that_wakes_up_late_writes_what_is_there_already(at: Place) -> None:
    late, other = Writer(at), Writer(at)
    late.read(5)
    other.read(7)
    other.file()
    late.file()
    sound(at)
    assert list(doubles(EventArchive(at))) == [Twice("log", 0, 0, 4, None), Twice("log", 1, 0, 0, None)]
    late.read(6)  # it goes on, though another is further
    other.read(7)
    other.file()
    late.file()
    sound(at)
    assert EventArchive(at).through("log") == {0: 13, 1: 1}


def test_two_who_read_the_same_write_one_file(at: Place) -> None:
    one, two = Writer(at), Writer(at)
    for writer in (one, two):
        writer.read(6)
    one.file()
    two.file()
    assert len(EventArchive(at).files()) == 1
    sound(at)


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["look", "read", "file"]), st.integers(1, 9)), max_size=25
)


@settings(max_examples=25, deadline=None)
@given(steps=STEPS)
def test_however_writers_overlap_each_record_is_read_once(
    new_place: Callable[[], Place], steps: Sequence[tuple[int, str, int]]
) -> None:
    at = new_place()
    writers = [Writer(at) for _ in range(3)]
    for who, what, count in steps:
        if what == "read":
            writers[who].read(count)
        else:
            getattr(writers[who], what)()
    sound(at)


class Ending:
    """A place whose process ends before its n-th file."""

    def __init__(self, at: Place, left: int) -> None:
        self._at, self._left = at, left

    def put(self, name: str, buffer: Any) -> None:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        self._at.put(name, buffer)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._at, name)


@pytest.mark.parametrize("left", range(6))
def test_one_that_ends_between_two_files_leaves_an_archive_to_go_on_with(at: Place, left: int) -> None:
    """A file and its seal are one object: there is nothing between these."""
    ends: Any = Ending(at, left)
    writer = Writer(ends)
    for _ in range(4):
        writer.read(10)
    with pytest.raises(KeyboardInterrupt):
        writer.file()
    sound(at)
    after = Writer(at)
    after.read(40)
    for _ in QUIET:
        after.read(1)
    after.file()
    sound(at)
    assert EventArchive(at).through("log") == {0: 39, 1: 3}
    assert list(doubles(EventArchive(at))) == []
