"""`daogou archive`: what the commands say of a sound archive, of one with a hole, and of one that lies."""

from io import StringIO
from pathlib import Path

import pytest
from pydantic import SecretStr
from redis import Redis
from rich.console import Console
from typer.testing import CliRunner

from features.archive import EventArchive, archive_row
from features.archive_order import ArchiveOrder
from infra.kafka_admin import log_id
from infra.settings import Settings, environment
from infra.topics import EVENTS
from streams.archive_looking import verify
from streams.cli import app
from streams.progress import Phases
from tests.bulk import BulkProducer
from tests.streams.loads import direct, run
from tests.streams.shop import LOG, PARTITIONS, event, outgoing, partition_of_event

HOME = partition_of_event(event("ann", "page_view"))
SENT = [outgoing(event("ann", "view_item", f"i{n}", minute=n)) for n in range(6)]


@pytest.fixture
def here(broker: str, empty: Redis, redis_url: str, tmp_path: Path) -> Settings:
    """Six records on the log."""
    bulk = BulkProducer(broker, embedded=True)
    bulk.send_all(SENT)
    bulk.close()
    return Settings(
        kafka=broker, redis=SecretStr(redis_url), embedded_log=LOG, data_dir=tmp_path, partitions=PARTITIONS
    )


def archived(settings: Settings, offsets: list[int], values: dict[int, bytes | None] | None = None) -> None:
    log = log_id(settings.brokers, EVENTS, settings.embedded_log)
    EventArchive(settings.archive_at).write(
        archive_row((log, HOME, n), 1, SENT[n].key.encode(), (values or {}).get(n, SENT[n].value)) for n in offsets
    )


def looked(settings: Settings, *, against_log: bool = True) -> tuple[list[str], int, list[str]]:
    with Phases() as phases:
        found = verify(settings, phases, against_log=against_log)
    return [fault.code for fault in found.faults], found.compared, found.told


def test_a_sound_archive_agrees_with_the_log(here: Settings) -> None:
    archived(here, [0, 1, 2, 3])
    assert looked(here) == ([], 4, [f"shop.events.v1 partition {HOME}: 2 records are not archived yet"])


def test_a_hole_is_found_and_whether_the_log_still_has_it(here: Settings) -> None:
    archived(here, [0, 1])
    archived(here, [4, 5])
    assert looked(here, against_log=False) == (["hole"], 0, [])
    assert looked(here) == (["hole", "not_archived"], 4, [])


def test_a_record_that_is_another_than_on_the_log_is_found(here: Settings) -> None:
    archived(here, [0, 1, 2, 3, 4, 5], {3: SENT[2].value})
    assert looked(here, against_log=False) == ([], 0, [])
    assert looked(here) == (["differs_from_log"], 6, [])


def test_what_two_archivers_wrote_is_told_and_blamed_only_where_they_differ(here: Settings) -> None:
    log = log_id(here.brokers, EVENTS, here.embedded_log)
    late = EventArchive(here.archive_at)
    assert late.through(log) == {}
    archived(here, [0, 1, 2, 3, 4, 5])
    rows = [archive_row((log, HOME, n), 1, SENT[n].key.encode(), SENT[n].value) for n in (0, 1, 2)]
    late.write(rows)
    [told] = looked(here)[2]
    assert "offsets 0 to 2 are in more than one file, which say the same" in told
    assert looked(here)[:2] == ([], 6)
    other = here.model_copy(update={"data_dir": here.data_dir / "other"})
    late = EventArchive(other.archive_at)
    assert late.through(log) == {}
    archived(other, [0, 1, 2, 3, 4, 5])
    late.write([rows[0], rows[1]._replace(value=b"other")])
    assert looked(other, against_log=False)[0] == ["double_differs"]


def test_the_commands_say_what_there_is_and_what_is_wrong(here: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(here).items():
        monkeypatch.setenv(name, value)
    invoke = CliRunner().invoke
    assert "nothing in" in invoke(app, ["archive", "list"]).output
    archived(here, [0, 1])
    archived(here, [4, 5])
    assert [line.split()[:6] for line in invoke(app, ["archive", "list"]).stdout.splitlines()] == [
        ["2026-11-02", "shop.events.v1", "4", "records", "2", "files"]
    ]
    wrong = invoke(app, ["archive", "verify"])
    assert wrong.exit_code == 1
    assert f"partition {HOME}: the offsets 2 to 3 are in no file" in wrong.stdout
    missing = next(here.archive_dir.rglob("*.4-5.parquet"))
    missing.unlink()
    sound = invoke(app, ["archive", "verify"])
    assert sound.exit_code == 0
    assert "2 records in 1 files: all is as it was written" in sound.stdout


def test_a_direct_load_again_says_that_all_was_there(settings: Settings, empty: Redis, retail: Path) -> None:
    first, second = StringIO(), StringIO()
    for told in (first, second):
        run(settings, direct(retail), Phases(Console(file=told)))
    assert "before" not in first.getvalue()
    assert [line.split(" of them ")[1] for line in second.getvalue().splitlines() if line.startswith("all ")] == [
        "were in the archive before",
        "were applied before",
    ]


def test_what_a_direct_load_leaves_is_sound(settings: Settings, empty: Redis, retail: Path) -> None:
    run(settings, direct(retail))
    run(settings, direct(retail))
    assert looked(settings, against_log=False) == ([], 0, [])


def test_a_load_that_was_applied_and_is_gone_is_wrong(here: Settings) -> None:
    archived(here, [0, 1])
    row = archive_row(("load-x", HOME, 0), 1, SENT[0].key.encode(), SENT[0].value)
    EventArchive(here.archive_at).write([row])
    order = ArchiveOrder(here.archive_at)
    order.begin("load-x", {})
    order.begin("embedded-a", {HOME: {"load-x": 0}})
    assert looked(here, against_log=False) == ([], 0, [])
    order.begin("embedded-b", {HOME: {"load-x": 4, "embedded-a": 9}, HOME + 1: {"load-y": 0}})
    with Phases() as phases:
        found = verify(here, phases, against_log=False).faults
    assert [(one.code, one.path) for one in found] == [
        ("load_missing", "load-x"),
        ("load_missing", "load-y"),
    ]
    assert f"the offsets 1 to 4 of partition {HOME} are in no file" in found[0].why
    assert "--direct" in found[0].why


def test_an_order_file_that_cannot_be_read_is_wrong(here: Settings) -> None:
    archived(here, [0])
    ArchiveOrder(here.archive_at).begin("load-x", {})
    next((here.archive_dir / "order").iterdir()).write_bytes(b"{")
    assert looked(here, against_log=False) == (["order_broken"], 0, [])
