"""The offline side: the log is built from the archive, and Feast, its command line included, takes our definitions."""

import os
import random
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest

from features import offline
from features.aggregates import SERVICES, SHOPPER_BEHAVIOUR, VIEWS, shopper_values
from features.events import event_time_ms, record_key_of, to_ms
from features.feature_log import CREATED_AT, EVENT_AT, folder_of
from features.history import Counts
from features.offline import StoreAt, declare, declare_views, feast_redis, open_store
from features.shoppers import Row, empty, fold, step_of
from infra.errors import Refused, SettingWrong
from tests.features.past import LATENESS_MS, START, Past, archived, made_event, made_events
from tests.features.test_items_changed import EVENT as CATALOGUE_NEWS
from tests.full_disk import no_room_beyond

REPO = Path(offline.__file__).parent / "repo"


def rows_of(past: Past, view: Any = SHOPPER_BEHAVIOUR) -> list[dict[str, Any]]:
    folder = folder_of(past.root / "offline", view)
    rows: list[dict[str, Any]] = ds.dataset(folder).to_table().to_pylist()
    return sorted(rows, key=lambda row: (row[view.entity], row[CREATED_AT]))


def files_of(past: Past, build: str) -> dict[str, bytes]:
    root = past.root / "offline" / build
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.parquet")}


# --- the build


def test_there_is_a_row_for_each_event_with_what_was_known_right_after_it(tmp_path: Path) -> None:
    made = Past(tmp_path, made_events(300, seed=3))
    archived(tmp_path / "archive", made.events)
    counts, told = made.built()
    assert counts == Counts(events=300, rows=300, shoppers=8, item_rows=counts.item_rows)
    assert counts.item_rows == len(rows_of(made, VIEWS["item_statistics"])) > 0
    assert sum(told) == 300
    found = rows_of(made)
    states: dict[str, Row] = {}
    expected: list[tuple[str, Any, dict[str, Any]]] = []
    for event in made.events:
        key = record_key_of(event)
        states[key] = fold(states.get(key) or empty(), [step_of(event)], LATENESS_MS).row
        expected.append((key, event.received_at, shopper_values(states[key].state)))
    expected.sort(key=lambda row: row[:2])
    for row, (key, received_at, values) in zip(found, expected, strict=True):
        # Of events received at one moment each is known a microsecond after the one before.
        assert (row["shopper"], row[CREATED_AT].replace(microsecond=0)) == (key, received_at)
        assert to_ms(row[EVENT_AT]) == row["last_event_at"] == values["last_event_at"]
        assert row["recent_items"] == values["recent_items"]
        assert row["purchased_weights"] == pytest.approx(values["purchased_weights"])


def test_rows_of_a_shopper_come_to_be_known_one_after_the_other(tmp_path: Path) -> None:
    made = Past(tmp_path, made_events(300, seed=4, days=1))
    archived(tmp_path / "archive", made.events)
    made.built()
    found = rows_of(made)
    assert len({row[EVENT_AT] for row in found}) < len(found), "some events are at one moment"
    for before, after in pairwise(found):
        assert before["shopper"] < after["shopper"] or (
            before[CREATED_AT] < after[CREATED_AT] and before[EVENT_AT] <= after[EVENT_AT]
        )


def test_what_is_no_event_comes_twice_or_too_late_is_counted_and_is_no_row(tmp_path: Path) -> None:
    events = made_events(50, seed=5)
    late = made_event(900, START - timedelta(days=3), random.Random(1), user_id=events[-1].user_id)
    archived(tmp_path / "archive", [*events, b"{oops", events[-1], late, b"\xff"])
    counts, told = Past(tmp_path, events).built()
    assert (counts.events, counts.rows, counts.duplicates, counts.late, counts.undecodable) == (54, 50, 1, 1, 2)
    assert sum(told) == 54
    assert len(rows_of(Past(tmp_path, events))) == 50


def test_what_became_of_the_records_adds_up_with_those_of_the_catalogue(tmp_path: Path) -> None:
    made = Past(tmp_path, made_events(20, seed=5))
    archived(tmp_path / "archive", [*made.events, made.events[3], CATALOGUE_NEWS])
    counts, _ = made.built()
    assert counts.of_catalogue == 1
    became = (counts.rows, counts.duplicates, counts.late, counts.undecodable, counts.of_catalogue, counts.unchanged)
    assert sum(became) == counts.events == 22


def test_the_same_archive_gives_the_same_files(tmp_path: Path) -> None:
    made = Past(tmp_path, made_events(200, seed=6))
    archived(tmp_path / "archive", made.events)
    made.built()
    made.built()
    assert files_of(made, "build-1") == files_of(made, "build-2") != {}


def test_loaded_history_is_known_when_it_happened_and_comes_before_what_was_received_later(tmp_path: Path) -> None:
    """History of the year before, loaded after the live log began: its rows are still of their own time."""
    choose = random.Random(7)
    history = [
        made_event(n, START - timedelta(days=300 - n), choose, user_id="old", load_id="load-1", received_at=START)
        for n in range(20)
    ]
    archived(tmp_path / "archive", history, log="load-1")
    live = [made_event(100 + n, START + timedelta(hours=n + 1), choose, user_id="old") for n in range(5)]
    archived(tmp_path / "archive", live)
    made = Past(tmp_path, [*history, *live])
    counts, _ = made.built()
    assert (counts.rows, counts.late) == (25, 0)
    found = rows_of(made)
    assert [to_ms(row[EVENT_AT]) for row in found] == [event_time_ms(event) for event in made.events]
    assert [row[CREATED_AT] - row[EVENT_AT] for row in found] == [timedelta(0)] * 20 + [timedelta(seconds=2)] * 5


def test_an_event_without_a_time_of_receipt_is_known_from_when_its_record_was_written(tmp_path: Path) -> None:
    untold = made_event(1, datetime(2199, 1, 1, tzinfo=UTC), random.Random(1), received_at=None)
    archived(tmp_path / "archive", [untold])
    made = Past(tmp_path, [untold])
    made.built()
    [row] = rows_of(made)
    assert to_ms(row[EVENT_AT]) == to_ms(row[CREATED_AT]) == 1_777_593_600_000, "the record's time in `archived`"


def test_an_empty_archive_gives_empty_views(tmp_path: Path) -> None:
    made = Past(tmp_path, [])
    counts, told = made.built()
    assert (counts, sum(told)) == (Counts(), 0)
    for view in VIEWS.values():
        assert rows_of(made, view) == []


# --- the definitions


def test_feasts_objects_are_the_tables(tmp_path: Path) -> None:
    declared = declare(tmp_path)
    assert [entity.name for entity in declared.entities] == ["shopper", "item"]
    for made, view in zip(declared.views, VIEWS.values(), strict=True):
        assert (made.name, made.entities) == (view.name, [view.entity])
        assert [field.name for field in made.features] == list(view.fields)
        assert made.batch_source.path == str(tmp_path / "current" / view.name)
    for made, (name, views) in zip(declared.services, SERVICES.items(), strict=True):
        assert (made.name, [part.name for part in made.feature_view_projections]) == (
            name,
            [view.name for view in views],
        )


def test_a_choice_of_views_leaves_out_services_with_others(tmp_path: Path) -> None:
    declared = declare_views([SHOPPER_BEHAVIOUR], tmp_path)
    assert [view.name for view in declared.views] == ["shopper_behaviour"]
    assert [service.name for service in declared.services] == ["shopper_history"]


@pytest.mark.parametrize("service", SERVICES)
def test_no_two_views_of_a_service_share_a_feature_name(service: str) -> None:
    names = [name for view in SERVICES[service] for name in view.fields]
    assert len(set(names)) == len(names)


def test_importing_feast_leaves_the_environment_as_it_was() -> None:
    before = dict(os.environ)

    def fail() -> None:
        with offline.feast_imported():
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = "/theirs"
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("url", "form"),
    [
        ("redis://localhost", "localhost:6379,db=0"),
        ("redis://10.0.0.1:7000/3", "10.0.0.1:7000,db=3"),
        ("rediss://ann:p%40ss@host:1/0", 'host:1,db=0,username="ann",password="p@ss",ssl=true'),
        ("redis://:12345@host", 'host:6379,db=0,password="12345"'),
    ],
)
def test_a_redis_url_in_feasts_form(url: str, form: str) -> None:
    assert feast_redis(url) == form


def test_a_password_that_feast_cannot_take_is_refused_without_being_told() -> None:
    with pytest.raises(SettingWrong) as caught:
        feast_redis("redis://:se,cret@host")
    assert "se,cret" not in caught.value.message


@pytest.mark.parametrize("room", [0, 7, 1000, 4096])
def test_a_registry_that_the_disk_has_no_room_for_is_told_and_made_anew_afterwards(tmp_path: Path, room: int) -> None:
    at = StoreAt(tmp_path / "offline", tmp_path / "registry.db", project="full")
    with no_room_beyond(room), pytest.raises(Refused, match="see that the disk has room") as refused:
        open_store(at)
    assert refused.value.reason == "registry_unwritten"
    assert str(at.registry) in refused.value.message
    assert {view.name for view in open_store(at).list_feature_views()} == set(VIEWS)


def test_a_registry_that_a_full_disk_left_is_no_end_of_it(tmp_path: Path) -> None:
    at = StoreAt(tmp_path / "offline", tmp_path / "registry.db", project="full")
    open_store(at)
    at.registry.write_bytes(at.registry.read_bytes()[:1000])
    assert {view.name for view in open_store(at).list_feature_views()} == set(VIEWS)


# --- the leaf that Feast's command line reads


# Feast takes seconds to import: both commands are typed into one process.
_TYPED = """
import sys
from feast.cli.cli import cli
for words in (["apply"], ["feature-views", "list"]):
    cli(["-c", sys.argv[1], *words], standalone_mode=False)
    print("-- done", flush=True)
"""


def typed(repo: Path, at: StoreAt) -> list[str]:
    """What Feast's command line says on a folder, in a process of its own, to each command."""
    environment = os.environ | {
        "DAOGOU_FEAST_PROJECT": at.project,
        "DAOGOU_FEAST_REGISTRY": str(at.registry),
        "DAOGOU_FEAST_REDIS": feast_redis(at.redis),
        "DAOGOU_FEAST_OFFLINE": str(at.offline_dir),
    }
    command = [sys.executable, "-W", "ignore", "-c", _TYPED, str(repo)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("-- done\n")[:-1]


def test_feasts_own_command_line_applies_and_lists_the_leaf(tmp_path: Path) -> None:
    """In a copy, for Feast imports the folder from where it is."""
    repo = tmp_path / "repo"
    shutil.copytree(REPO, repo, ignore=shutil.ignore_patterns("__pycache__"))
    at = StoreAt(tmp_path / "offline", tmp_path / "registry.db", project="by_hand")
    applied, listed = typed(repo, at)
    assert "by_hand" in applied
    assert at.registry.stat().st_size > 0
    lines = {line.split()[0]: line for line in listed.splitlines()[1:]}
    assert set(lines) == set(VIEWS)
    assert all(f"{{'{view.entity}'}}" in lines[view.name] for view in VIEWS.values())
