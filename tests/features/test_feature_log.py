"""The offline feature log: what is written is read, by day; a build takes the place of the one in use, or vanishes."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features.aggregates import VIEWS, Kind, Value, ValueType, View
from features.feature_log import CREATED_AT, EVENT_AT, FeatureLog, arrow_type, folder_of, replaced, schema_of
from infra.clock import DAY_MS
from infra.errors import Refused

START = 1_777_593_600_000  # 2026-05-01
EVERY_TYPE = View(
    "every_type",
    "thing",
    {
        **{f"one_{kind.name}": ValueType(kind) for kind in Kind},
        **{f"many_{kind.name}": ValueType(kind, many=True) for kind in Kind},
    },
)
MOMENT = datetime(2026, 5, 1, 12, tzinfo=UTC)
FULL: dict[str, Value] = {
    "one_Bytes": b"\x00\xff",
    "one_String": "茶",
    "one_Int32": -(2**31),
    "one_Int64": 2**63 - 1,
    "one_Float64": 5e-324,
    "one_Float32": 1.5,
    "one_Bool": False,
    "one_UnixTimestamp": MOMENT,
    "many_Bytes": [b"", b"x"],
    "many_String": ["", "茶"],
    "many_Int32": [2**31 - 1],
    "many_Int64": [-(2**63), 0],
    "many_Float64": [0.1, -0.0],
    "many_Float32": [0.5],
    "many_Bool": [True, False],
    "many_UnixTimestamp": [MOMENT],
}
NOTHING: dict[str, Value] = dict.fromkeys(EVERY_TYPE.fields)
NUMBERS = View("numbers", "thing", {"number": ValueType(Kind.Int64)})


def write(build: Path, view: View, rows: Sequence[tuple[str, int, int, dict[str, Value]]]) -> int:
    with FeatureLog(build, view) as log:
        for row in rows:
            log.add(*row)
    return log.rows


def read(folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(folder, partitioning=None).to_table().to_pylist()
    return rows


def moment(at_us: int) -> datetime:
    return datetime.fromtimestamp(at_us / 1_000_000, UTC)


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_type_comes_back_as_it_was(tmp_path: Path) -> None:
    empty: dict[str, Value] = {name: [] if kind.many else None for name, kind in EVERY_TYPE.fields.items()}
    written = {"a": FULL, "b": NOTHING, "c": empty}
    assert write(tmp_path, EVERY_TYPE, [(key, START, 7, row) for key, row in written.items()]) == 3
    times: dict[str, Value] = {EVENT_AT: moment(START * 1000), CREATED_AT: moment(7)}
    assert read(tmp_path / "every_type") == [{"thing": key, **times, **row} for key, row in written.items()]


@pytest.mark.parametrize("view", [EVERY_TYPE, *VIEWS.values()], ids=lambda view: view.name)
def test_the_columns_are_entity_two_times_and_the_features(tmp_path: Path, view: View) -> None:
    write(tmp_path, view, [])
    schema = ds.dataset(tmp_path / view.name).schema
    assert schema.equals(schema_of(view))
    assert schema.names == [view.entity, EVENT_AT, CREATED_AT, *view.fields]
    assert [schema.field(name).type for name in (EVENT_AT, CREATED_AT)] == [pa.timestamp("us", "UTC")] * 2
    assert [schema.field(name).type for name in view.fields] == [arrow_type(kind) for kind in view.fields.values()]


def test_a_day_is_a_folder_and_a_part_is_sorted_by_entity_and_knowledge(tmp_path: Path) -> None:
    rows = [
        ("b", START + DAY_MS, 1),
        ("b", START, 9),
        ("a", START + DAY_MS - 1, 3),
        ("b", START + 1, 2),
        ("a", START + 5 * DAY_MS, 4),
    ]
    write(tmp_path, NUMBERS, [(*row, {"number": number}) for number, row in enumerate(rows)])
    folder = tmp_path / "numbers"
    assert names(folder) == [f"day=2026-05-0{day}/part-00000.parquet" for day in (1, 2, 6)]
    assert [row["number"] for row in read(folder / "day=2026-05-01")] == [2, 3, 1]


def test_a_view_without_rows_has_its_columns(tmp_path: Path) -> None:
    assert write(tmp_path, NUMBERS, []) == 0
    assert names(tmp_path / "numbers") == ["empty.parquet"]
    assert read(tmp_path / "numbers") == []


def test_a_log_that_fails_leaves_no_rows(tmp_path: Path) -> None:
    def fail() -> None:
        with FeatureLog(tmp_path, NUMBERS) as log:
            log.add("a", START, 1, {"number": 1})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path / "numbers") == []


@settings(max_examples=15)
@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(START, START + 4 * DAY_MS)), max_size=30),
    st.integers(0, 30),
)
def test_rows_added_one_by_one_or_as_columns_are_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, int]], cut: int
) -> None:
    folder = tmp_path_factory.mktemp("log")
    numbered = [(key, at, number, {"number": number}) for number, (key, at) in enumerate(rows)]
    whole, parts = folder / "whole", folder / "parts"
    whole.mkdir()
    parts.mkdir()
    assert write(whole, NUMBERS, numbered) == len(rows)
    with FeatureLog(parts, NUMBERS) as log:
        for key, at, known, values in numbered[:cut]:
            log.add(key, at, known, values)
        if numbered[cut:]:
            keys, at_ms, known_us, _ = zip(*numbered[cut:], strict=True)
            log.add_columns([keys, [at * 1000 for at in at_ms], known_us, list(range(len(rows))[cut:])])
    assert log.rows == len(rows)
    assert names(whole / "numbers") == names(parts / "numbers")
    assert read(whole / "numbers") == read(parts / "numbers")
    assert sorted(row["number"] for row in read(whole / "numbers")) == list(range(len(rows)))


# --- builds


def build(root: Path, number: int) -> None:
    with replaced(root) as folder:
        write(folder, NUMBERS, [("a", START, 1, {"number": number})])


def in_use(root: Path) -> int:
    (row,) = read(folder_of(root, NUMBERS))
    number: int = row["number"]
    return number


def builds(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if path.name.startswith("build-"))


def test_the_build_in_use_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    root = tmp_path / "offline"
    build(root, 1)
    with replaced(root) as folder:
        write(folder, NUMBERS, [("a", START, 1, {"number": 2})])
        assert in_use(root) == 1
    assert in_use(root) == 2


def test_the_build_before_stays_for_whoever_reads_it_and_older_ones_go(tmp_path: Path) -> None:
    for number in (1, 2):
        build(tmp_path, number)
    reading = folder_of(tmp_path, NUMBERS).resolve()
    build(tmp_path, 3)
    assert read(reading)[0]["number"] == 2
    assert builds(tmp_path) == ["build-2", "build-3"]
    build(tmp_path, 4)
    assert (in_use(tmp_path), builds(tmp_path)) == (4, ["build-3", "build-4"])


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_build_that_fails_vanishes_and_changes_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    build(tmp_path, 1)

    def fail() -> None:
        with replaced(tmp_path) as folder:
            write(folder, NUMBERS, [("a", START, 1, {"number": 2})])
            raise error

    with pytest.raises(error):
        fail()
    assert (in_use(tmp_path), builds(tmp_path)) == (1, ["build-1"])


def test_what_a_killed_build_left_behind_is_not_mixed_in(tmp_path: Path) -> None:
    build(tmp_path, 1)
    left = tmp_path / "build-2" / "numbers"
    left.mkdir(parents=True)
    (left / "half.parquet").write_bytes(b"PAR1")
    (tmp_path / "turning").symlink_to("build-2")
    build(tmp_path, 2)
    assert (in_use(tmp_path), builds(tmp_path)) == (2, ["build-1", "build-2"])


def test_what_is_no_link_to_a_build_is_named_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "folder" / "current" / "numbers").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "current").symlink_to("/nowhere")
    for root in (tmp_path / "folder", tmp_path / "elsewhere"):
        with pytest.raises(Refused, match="is not the link to a build") as caught:
            build(root, 1)
        assert caught.value.reason == "not_a_build"
        assert builds(root) == []
    assert (tmp_path / "folder" / "current" / "numbers").is_dir()
