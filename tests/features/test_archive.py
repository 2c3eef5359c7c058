"""The event archive: what is written is found, once, in order; what is half written is not."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import fs

from features.archive import ArchiveRow, EventArchive, archive_row
from features.events import Event, EventItem, encode, event_time_ms, received, record_key_of, to_ms
from infra.places import Place, Store

DAY = 86_400_000
START = to_ms(datetime(2026, 5, 1, tzinfo=UTC))


def event(event_id: str, received_ms: int) -> Event:
    at = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=received_ms)
    return Event(
        event_name="view_item",
        event_id=event_id,
        user_id="someone",
        occurred_at=at - timedelta(minutes=5),
        received_at=at,
        items=(EventItem(item_id="a"),),
    )


def row(partition: int, offset: int, received_ms: int = START, log: str = "log") -> ArchiveRow:
    sent = event(f"{log}-{partition}-{offset}", received_ms)
    return archive_row((log, partition, offset), 1, record_key_of(sent).encode(), encode(sent))


def test_an_event_without_a_time_of_receipt_is_archived_and_read_with_that_of_its_record(at: Place) -> None:
    untold = msgspec.structs.replace(event("e", START), received_at=None, occurred_at=datetime(2199, 1, 1, tzinfo=UTC))
    one = archive_row(("log", 0, 0), START, b"k", encode(untold))
    assert (one.received_at, one.event_at, one.value) == (START, START, encode(untold))
    archive = EventArchive(at)
    archive.write([one])
    [found] = archive.events()
    assert found == received(encode(untold), START)
    assert event_time_ms(found) == START


def positions(batches: Any) -> list[tuple[str, int, int]]:
    return [(entry["log"], entry["partition"], entry["offset"]) for batch in batches for entry in batch.to_pylist()]


def names(at: Place) -> list[str]:
    return sorted("/".join(file.path.split("/")[-2:]) for file in at.inside(lambda name: name.startswith("day=")))


def test_a_record_comes_back_with_all_that_was_on_the_log(at: Place) -> None:
    archive = EventArchive(at)
    assert archive.write([row(3, 7)]) == 1
    (batch,) = archive.scan()
    received = datetime(2026, 5, 1, tzinfo=UTC)
    assert batch.to_pylist() == [
        {
            "log": "log",
            "partition": 3,
            "offset": 7,
            "received_at": received,
            "event_at": received - timedelta(minutes=5),
            "tenant": "default",
            "shopper_id": "u-someone",
            "event_name": "view_item",
            "key": b"default|u-someone",
            "value": encode(event("log-3-7", START)),
        }
    ]
    assert list(archive.events()) == [event("log-3-7", START)]


def test_bytes_that_are_no_event_are_kept_and_are_no_event(at: Place) -> None:
    archive = EventArchive(at)
    archive.write([archive_row(("log", 0, 0), START, None, b"\xff"), archive_row(("log", 0, 1), START, b"k", None)])
    (batch,) = archive.scan(columns=("received_at", "value", "event_name"))
    received = datetime(2026, 5, 1, tzinfo=UTC)
    assert batch.to_pylist() == [
        {"received_at": received, "value": b"\xff", "event_name": None},
        {"received_at": received, "value": None, "event_name": None},
    ]
    assert list(archive.events()) == []


def test_the_file_names_follow_from_what_is_in_them(at: Place) -> None:
    EventArchive(at).write([row(1, 5), row(0, 3), row(1, 6), row(0, 4, START + DAY), row(0, 2, log="a/b@c")])
    assert names(at) == [
        "day=2026-05-01/a%2Fb%40c@0.2-2.parquet",
        "day=2026-05-01/log@0.3-3@1.5-6.parquet",
        "day=2026-05-02/log@0.4-4.parquet",
    ]
    assert EventArchive(at).through("a/b@c") == {0: 2}


def test_how_far_it_reaches_is_read_from_names_alone(at: Place) -> None:
    EventArchive(at).write([row(0, 0), row(0, 1, START + DAY), row(5, 40)])
    for name in names(at):
        at.put(name, b"")
    assert EventArchive(at).through("log") == {0: 1, 5: 40}
    assert EventArchive(at).through("other") == {}
    assert EventArchive(at / "missing").through("log") == {}


def test_a_scan_of_one_day_does_not_open_the_others(at: Place) -> None:
    archive = EventArchive(at)
    archive.write([row(0, n, START + n * DAY) for n in range(5)])
    for name in names(at):
        if "day=2026-05-03" not in name:
            at.put(name, b"not Parquet at all")
    assert positions(archive.scan(START + 2 * DAY, START + 3 * DAY)) == [("log", 0, 2)]


def test_the_times_of_a_scan_are_half_open(at: Place) -> None:
    archive = EventArchive(at)
    archive.write([row(0, n, START + n * 1000) for n in range(10)])
    assert positions(archive.scan(START + 2000, START + 5000)) == [("log", 0, n) for n in (2, 3, 4)]


def test_a_half_written_file_is_never_seen(at: Place) -> None:
    archive = EventArchive(at)
    archive.write([row(0, 0)])
    (at / ".half-written").put("log@0.1-9.parquet", b"PAR1")
    again = EventArchive(at)
    assert again.through("log") == {0: 0}
    assert again.write([row(0, 0), row(0, 1)]) == 1
    assert positions(again.scan()) == [("log", 0, 0), ("log", 0, 1)]


def test_more_partitions_than_a_name_has_room_for_make_more_files(at: Place) -> None:
    archive = EventArchive(at)
    rows = [row(partition, 10**12 + n) for partition in range(64) for n in range(2)]
    assert archive.write(rows) == len(rows)
    assert all(len(Path(name).name) < 255 for name in names(at))
    assert positions(archive.scan()) == [("log", p, 10**12 + n) for p in range(64) for n in range(2)]


def test_one_log_can_be_scanned_alone(at: Place) -> None:
    archive = EventArchive(at)
    archive.write([row(0, 0), row(0, 0, log="load")])
    assert positions(archive.scan(log="load")) == [("load", 0, 0)]


def test_another_file_system_holds_the_same(tmp_path: Path) -> None:
    far = Store("", lambda: fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem()), "far away")
    EventArchive(far).write([row(0, 0)])
    assert positions(EventArchive(tmp_path).scan()) == [("log", 0, 0)]
    assert EventArchive(far).through("log") == {0: 0}


def test_the_same_records_make_the_same_file(new_place: Callable[[], Place]) -> None:
    """Whoever writes them: a late writer puts what is there already."""
    kept = []
    for at in (new_place(), new_place()):
        EventArchive(at).write([row(0, n) for n in range(50)] + [row(1, 3)])
        [file] = at.inside(lambda _: True)
        with at.open(file.path) as stream:
            kept.append((file.base_name, stream.read()))
    assert kept[0] == kept[1]


@settings(max_examples=20)
@given(
    days=st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    back=st.integers(0, 5),
)
def test_however_it_is_written_each_record_is_there_once_in_order(
    new_place: Callable[[], Place], days: Sequence[tuple[int, int]], cuts: list[int], back: int
) -> None:
    """Batches cut anywhere, some records delivered again, a new process for each batch."""
    root = new_place()
    offsets: dict[int, int] = {}
    rows: list[ArchiveRow] = []
    for partition, day in days:
        offsets[partition] = offsets.get(partition, -1) + 1
        rows.append(row(partition, offsets[partition], START + day * DAY))
    edges = sorted({0, len(rows), *(cut % len(rows) for cut in cuts)})
    added = sum(EventArchive(root).write(rows[max(0, start - back) : end]) for start, end in pairwise(edges))
    assert added == len(rows)
    assert positions(EventArchive(root).scan()) == sorted(entry[:3] for entry in rows)
    assert EventArchive(root).through("log") == offsets
