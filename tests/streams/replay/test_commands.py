"""`daogou replay` as it is typed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from infra.settings import Settings, environment
from tests.streams.replay.past import archive, made


class Typed:
    """Types commands, each as a process of its own: one here would set up the logs of all tests."""

    def __init__(self, settings: Settings) -> None:
        self._environment = {**os.environ, **environment(settings)}

    def __call__(self, *words: str, answer: str = "") -> tuple[int, str]:
        """Status and output of `daogou replay`."""
        command = [sys.executable, "-m", "streams.cli", "replay", *words]
        done = subprocess.run(
            command, env=self._environment, input=answer, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout


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
