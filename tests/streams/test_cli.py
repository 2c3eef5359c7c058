"""The command line as a person meets it: each call is a process of its own."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from pydantic import SecretStr
from redis import Redis

from features.catalog import FacetRecord
from features.catalog_archive import CatalogArchive, Facet
from infra.embedded.redis_server import free_port
from infra.keys import paused
from infra.settings import Settings
from streams.doctor import findings, verdict
from streams.one_shop import OneShop
from streams.pausing import Pause

WITHIN_S = 60.0


def daogou(*arguments: str, **given: str) -> "subprocess.CompletedProcess[str]":
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAOGOU_")}
    return subprocess.run(
        [sys.executable, "-m", "streams.cli", *arguments],
        env=kept | given,
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )


def test_help_names_every_command_and_imports_nothing_heavy() -> None:
    told = daogou("--help", PYTHONPROFILEIMPORTTIME="1")
    assert told.returncode == 0
    for name in ("up", "worker", "api", "doctor", "load", "topics", "features"):
        assert f"\n  {name} " in told.stdout
    imported = {line.rpartition("|")[2].strip() for line in told.stderr.splitlines()}
    assert not imported & {"confluent_kafka", "numpy", "redis", "torch", "faust", "feast", "pydantic"}


def test_a_wrong_setting_is_one_sentence_and_status_2() -> None:
    told = daogou("up", DAOGOU_PORT="eighty")
    assert told.returncode == 2
    assert told.stderr.splitlines() == [
        "daogou: DAOGOU_PORT = 'eighty': no whole number. "
        "Allowed: 0 to 65535 (port of the API; 0 or a used one: a free one is taken). [setting_wrong]"
    ]


def test_a_folder_that_cannot_be_used_is_one_sentence_and_status_2() -> None:
    for command in (("up",), ("worker",), ("demo",), ("features", "build")):
        told = daogou(*command, DAOGOU_DATA_DIR="/proc/x")
        assert told.returncode == 2
        [line] = told.stderr.splitlines()
        assert line.startswith("daogou: DAOGOU_DATA_DIR = '/proc/x': nothing can be kept there")
        assert line.endswith("[setting_wrong]")


def test_a_misspelt_setting_is_named_with_the_nearest_right_one(tmp_path: Path) -> None:
    told = daogou("models", "list", "--data-dir", str(tmp_path), DAOGOU_REDIS_URL="redis://x", DAOGOU_TENANT="a")
    assert told.returncode == 0
    assert told.stderr.splitlines() == [
        "daogou: DAOGOU_REDIS_URL is set, but there is no such setting; did you mean DAOGOU_REDIS? [unknown_setting]"
    ]


def test_a_second_shop_on_one_folder_is_refused_before_anything_starts(tmp_path: Path) -> None:
    with OneShop(tmp_path) as held:
        held.opened("http://127.0.0.1:8000")
        for command in ("up", "worker", "demo"):
            told = daogou(command, "--data-dir", str(tmp_path))
            assert told.returncode == 1
            assert told.stderr.splitlines() == [
                f"daogou: a shop already runs at http://127.0.0.1:8000 (pid {os.getpid()}) on {tmp_path}; "
                "stop it or take another --data-dir [already_running]"
            ]
    assert [file.name for file in tmp_path.iterdir()] == ["shop.lock"]
    with OneShop(tmp_path):
        pass


def test_beyond_loopback_only_with_keys(tmp_path: Path) -> None:
    told = daogou("up", "--data-dir", str(tmp_path), DAOGOU_HOST="0.0.0.0")
    assert told.returncode == 2
    assert "DAOGOU_HOST" in told.stderr
    assert "DAOGOU_SECRET_KEYS" in told.stderr


@pytest.mark.parametrize("command", ["up", "worker", "api"])
def test_redis_away_is_one_sentence_with_the_address(command: str, tmp_path: Path) -> None:
    where = f"127.0.0.1:{free_port()}"
    told = daogou(command, "--data-dir", str(tmp_path), DAOGOU_REDIS=f"redis://:hush@{where}/0")
    assert told.returncode == 1
    [line] = [line for line in told.stderr.splitlines() if line.startswith("daogou: ")]
    assert f"Redis at {where} does not answer" in line
    assert "hush" not in told.stderr + told.stdout
    assert "Traceback" not in told.stderr
    assert "kept" not in told.stdout, "nothing had started"


# Ctrl-C at the import of typer, the first thing that takes long; a shell's background job is born deaf to it.
_PRESSED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finger:
    def find_spec(self, name, path=None, target=None):
        if name == "typer":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finger())
from streams.entry import main
main()
"""


def test_ctrl_c_before_the_command_line_is_there_says_nothing() -> None:
    told = subprocess.run(
        [sys.executable, "-c", _PRESSED], capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert (told.returncode, told.stdout, told.stderr) == (-signal.SIGINT, "", "")


def test_the_command_line_begins_where_ctrl_c_is_safe() -> None:
    told = subprocess.run(
        [sys.executable, "-c", "from streams.entry import main; main()", "topics", "--help"],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert told.returncode == 0
    assert "Create the topics" in told.stdout


@pytest.mark.parametrize("command", [("topics",), ("topics", "create"), ("topics", "check")])
def test_the_embedded_broker_needs_no_topics_made(command: tuple[str, ...], tmp_path: Path) -> None:
    told = daogou(*command, "--data-dir", str(tmp_path))
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.splitlines() == [
        "nothing to do: the embedded broker makes its topics itself (DAOGOU_KAFKA is empty)"
    ]


def test_a_load_says_all_that_is_not_there_before_it_asks_for_a_broker(tmp_path: Path) -> None:
    told = daogou("load", "nofile", "--mapping", "nonsense", "--items", "nowhere.csv", "--data-dir", str(tmp_path))
    assert told.returncode == 2
    assert "there is no mapping 'nonsense'; allowed: completejourney" in told.stderr
    assert "there is no file nofile either; there is no file nowhere.csv" in told.stderr
    told = daogou("load", "nofile", "--mapping", "jsonlines", "--data-dir", str(tmp_path))
    assert (told.returncode, told.stderr.splitlines()) == (
        2,
        ["daogou: there is no file nofile; give the file to load [not_found]"],
    )


def test_the_list_of_no_models_says_so(tmp_path: Path) -> None:
    told = daogou("models", "list", "--data-dir", str(tmp_path))
    assert (told.returncode, "daogou train makes one" in told.stdout) == (0, True)


def test_topics_of_another_count_are_a_clear_error(kafka: str) -> None:
    told = daogou("topics", DAOGOU_KAFKA=kafka, DAOGOU_PARTITIONS="64")
    assert told.returncode == 1
    assert "has 8 partitions, the settings say 64" in told.stderr


def test_topics_are_listed_when_they_are_right(kafka: str) -> None:
    told = daogou("topics", DAOGOU_KAFKA=kafka, DAOGOU_PARTITIONS="8", DAOGOU_EMBEDDED_LOG="embedded-tests")
    assert told.returncode == 0
    assert "shop.events.v1" in told.stdout


def test_doctor_finds_a_sound_environment(settings: Settings) -> None:
    found = list(findings(settings, quick=True))
    assert [one for one in found if one.state == "broken"] == []
    said = {one.what: one.said for one in found}
    assert "8 partitions" in said["topics"]
    assert "append-only" in said["Redis keeps"]


def test_doctor_warns_of_weak_keys(settings: Settings) -> None:
    weak = settings.model_copy(update={"operator_keys": (SecretStr("hush"),)})
    (found,) = [one for one in findings(weak, quick=True) if one.what == "keys"]
    assert found.state == "warning"
    assert "DAOGOU_OPERATOR_KEYS" in found.said
    assert "hush" not in found.said


def test_doctor_says_that_the_shop_is_paused_and_what_its_catalogue_lacks(settings: Settings, empty: Redis) -> None:
    def warned() -> dict[str, str]:
        return {one.what: one.said for one in findings(settings, quick=True) if one.state == "warning"}

    assert warned() == {}
    empty.set(paused(), msgspec.json.encode(Pause(0, "ann", "a new index")))
    archive = CatalogArchive(settings.archive_at)
    archive.write([Facet(1, "load-x", 3, 0, FacetRecord(tenant="default", item_id="tea"))])
    found = warned()
    assert found["workers"].startswith("paused since 1970-01-01T00:00:00Z by ann: a new index: nothing is applied")
    assert "daogou streams resume" in found["workers"]
    assert found["catalogue"].startswith("Redis lacks what the archive holds (load-x): ")
    assert "daogou catalogue rebuild" in found["catalogue"]


def test_doctor_says_what_a_redis_without_an_append_only_file_costs(settings: Settings, empty: Redis) -> None:
    empty.config_set("appendonly", "no")
    try:
        found = [one for one in findings(settings, quick=True) if one.what == "Redis keeps"]
    finally:
        empty.config_set("appendonly", "yes")
    assert found[0].state == "warning"
    assert "daogou catalogue rebuild" in found[0].said
    assert "daogou replay run --source archive" in found[0].said


@pytest.mark.parametrize(
    ("broken", "warnings", "said"),
    [(0, 0, "works."), (0, 1, "works; 1 warning above."), (0, 2, "works; 2 warnings above."), (1, 1, "broken.")],
)
def test_doctor_does_not_call_all_well_over_its_warnings(broken: int, warnings: int, said: str) -> None:
    assert verdict(Counter({"broken": broken, "warning": warnings, "ok": 9})).removesuffix("[/]").endswith(said)


def test_doctor_names_what_is_broken(settings: Settings) -> None:
    where = f"127.0.0.1:{free_port()}"
    away = settings.model_copy(update={"redis": SecretStr(f"redis://:hush@{where}/0"), "partitions": 64})
    broken = {one.what: one.said for one in findings(away, quick=True) if one.state == "broken"}
    assert set(broken) == {"Redis", "Kafka"}
    assert where in broken["Redis"]
    assert "hush" not in broken["Redis"]
    assert "DAOGOU_PARTITIONS=8" in broken["Kafka"]


def test_doctor_tries_the_embedded_ones(tmp_path: Path) -> None:
    embedded = Settings(kafka="", redis=SecretStr(""), data_dir=tmp_path / "not" / "yet")
    found = {one.what: one for one in findings(embedded, quick=True)}
    assert (found["Kafka"].state, found["Redis"].state, found["data folder"].state) == ("ok", "ok", "ok")
    assert not (tmp_path / "not").exists()


def test_doctor_sees_a_folder_that_cannot_be_used() -> None:
    broken = Settings(kafka="", redis=SecretStr(""), data_dir=Path("/proc/x"))
    found = {one.what: one for one in findings(broken, quick=True)}["data folder"]
    assert found.state == "broken"
    assert "/proc/x" in found.said


def test_doctor_tries_the_archive_where_the_setting_puts_it(settings: Settings, new_uri: Callable[[], str]) -> None:
    def found(uri: str) -> tuple[str, str]:
        there = settings.model_copy(update={"archive": uri})
        return next((one.state, one.said) for one in findings(there, quick=True) if one.what == "archive")

    assert not [one for one in findings(settings, quick=True) if one.what == "archive"]
    uri = new_uri()
    at = settings.model_copy(update={"archive": uri}).archive_at
    assert found(uri) == ("ok", f"{at}, listed, written to and read")
    state, said = found("file:///proc/x" if at.folder else uri.replace("://t-", "://no-"))
    assert state == "broken"
    assert said.startswith("DAOGOU_ARCHIVE: ")


def test_doctor_ends_with_status_1_when_something_is_broken() -> None:
    told = daogou("doctor", "--quick", DAOGOU_REDIS=f"redis://127.0.0.1:{free_port()}/0", DAOGOU_PRT="1")
    assert told.returncode == 1
    assert "Something that is needed is broken." in told.stdout
    assert "DAOGOU_PRT" in told.stdout
    sound = daogou("doctor", "--quick")
    assert sound.returncode == 0


def test_a_mapping_without_a_source_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("id,name\n1,tea\n")
    told = daogou("load", "--items", str(file), "--mapping", "jsonlines", "--direct", DAOGOU_DATA_DIR=str(tmp_path))
    assert told.returncode == 2
    assert "--mapping jsonlines says how a SOURCE is read, and there is none" in told.stderr
