"""`daogou replay` as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from features.archive_order import ArchiveOrder
from infra.settings import Settings, environment
from tests.streams.replay.past import archive, made


class Typed:
    """Types commands, each as a process of its own: one here would set up the logs of all tests."""

    def __init__(self, settings: Settings) -> None:
        self._environment = {**os.environ, **environment(settings)}

    def __call__(self, *words: str, answer: str = "") -> tuple[int, str]:
        """Status and output of `daogou replay`."""
        done = self.done(*words, answer=answer)
        return done.returncode, done.stdout

    def done(self, *words: str, answer: str = "") -> "subprocess.CompletedProcess[str]":
        """All of it."""
        command = [sys.executable, "-m", "streams.cli", "replay", *words]
        return subprocess.run(
            command, env=self._environment, input=answer, capture_output=True, text=True, timeout=60, check=False
        )


@pytest.fixture
def typed(settings: Settings, empty: Redis) -> Typed:
    archive(settings, made(1, 120))
    return Typed(settings)


def test_from_the_first_run_to_the_drop(typed: Typed, tmp_path: Path, empty: Redis) -> None:
    assert typed("status") == (0, "live    live\nno replay; make one: daogou replay run --into NAME\n")
    for name in ("one", "two"):
        status, said = typed("run", "--into", name, "--code-label", "v2", "--json", str(tmp_path / "r.json"))
        assert status == 0
        assert "events/s" in said
        assert "no lists" in said
    assert json.loads((tmp_path / "r.json").read_bytes())["counted"] == 129
    status, said = typed("status", "--memory")
    assert status == 0
    for words in ("one: done", "code v2", "0 behind live", "not_json 1", "bytes a row"):
        assert words in said
    status, said = typed("diff", "one", "two", "--json", str(tmp_path / "d.json"))
    assert (status, said.splitlines()[-1]) == (0, "equal")
    assert json.loads((tmp_path / "d.json").read_bytes())["rows_equal"] == 12
    [key, *_] = sorted(empty.keys("daogou:{p*}:one:default:row:*"))
    empty.setrange(key, 9, b"\xff")
    status, said = typed("diff", "one", "two", "--examples", "1")
    assert (status, said.splitlines()[-1]) == (1, "different")
    assert "example" in said
    assert typed("drop", "one", "--yes")[0] == 0
    assert not empty.keys("daogou:{p*}:one:*")
    assert "one: " not in typed("status")[1]


def test_a_drop_asks_first(typed: Typed, empty: Redis) -> None:
    typed("run", "--into", "one", "--no-score")
    assert typed("drop", "one", answer="n\n")[0] == 1
    assert empty.keys("daogou:{p*}:one:*")


def test_a_damaged_file_is_named_and_the_replay_is_not_told_to_run(
    typed: Typed, settings: Settings, empty: Redis
) -> None:
    file = max(settings.archive_dir.rglob("day=*/*.parquet"), key=lambda one: one.stat().st_size)
    raw = bytearray(file.read_bytes())
    raw[len(raw) // 4 : len(raw) // 2] = b"\xff" * (len(raw) // 2 - len(raw) // 4)
    file.write_bytes(raw)
    done = typed.done("run", "--into", "one", "--no-score")
    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("daogou: ")
    assert file.name in said
    assert "`daogou archive verify`" in said
    assert said.endswith("[archive_damaged]")
    assert "Traceback" not in done.stderr
    told = typed("status")[1]
    assert "one: running" not in told
    if "one: " in told:
        assert "one: stopped while running (" in told


def test_status_says_what_promote_would_say(typed: Typed, settings: Settings) -> None:
    typed("run", "--into", "part", "--from", "offset:2", "--no-score")
    told = typed("status")[1]
    assert "promote would refuse it: the replay 'part' does not begin at the beginning" in told


def test_records_of_a_load_that_the_order_files_know_of_are_missed(typed: Typed, settings: Settings) -> None:
    ArchiveOrder(settings.archive_at).begin("embedded-x", {3: {"load-y": 6}})
    typed("run", "--into", "one", "--no-score")
    told = typed("status")[1]
    assert "7 offsets of it are missing in the archive" in told


def test_what_is_no_source_and_no_replay_is_answered_with_what_is(typed: Typed) -> None:
    run = typed.done("run", "--into", "one", "--source", "log")
    assert run.returncode == 2
    assert "--source 'log': it is `archive`, `kafka`, or a file (with --mapping), and there is no such" in run.stderr
    promote = typed.done("promote", "live")
    assert promote.returncode == 2
    assert "daogou replay rollback" in promote.stderr
