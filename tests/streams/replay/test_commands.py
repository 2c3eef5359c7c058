"""`daogou replay` as it is typed."""

import json
from pathlib import Path

import pytest
from redis import Redis
from typer.testing import CliRunner

from infra.settings import Settings, environment
from streams import cli
from tests.streams.replay.past import archive, made


@pytest.fixture
def typed(settings: Settings, empty: Redis) -> CliRunner:
    archive(settings, made(1, 120))
    return CliRunner(env=environment(settings))


def run(typed: CliRunner, *words: str) -> tuple[int, str]:
    done = typed.invoke(cli.app, ["replay", *words])
    return done.exit_code, done.output


def test_from_the_first_run_to_the_drop(typed: CliRunner, tmp_path: Path, empty: Redis) -> None:
    assert run(typed, "status") == (0, "live    live\nno replay; make one: daogou replay run --into NAME\n")
    for name in ("one", "two"):
        status, said = run(typed, "run", "--into", name, "--code-label", "v2", "--json", str(tmp_path / "r.json"))
        assert status == 0
        assert "events/s" in said
        assert "no lists" in said
    assert json.loads((tmp_path / "r.json").read_bytes())["counted"] == 129
    status, said = run(typed, "status", "--memory")
    assert status == 0
    for words in ("one: done", "code v2", "0 behind live", "not_json 1", "bytes a row"):
        assert words in said
    status, said = run(typed, "diff", "one", "two", "--json", str(tmp_path / "d.json"))
    assert (status, said.splitlines()[-1]) == (0, "equal")
    assert json.loads((tmp_path / "d.json").read_bytes())["rows_equal"] == 12
    [key, *_] = sorted(empty.keys("daogou:{p*}:one:default:row:*"))
    empty.setrange(key, 9, b"\xff")
    status, said = run(typed, "diff", "one", "two", "--examples", "1")
    assert (status, said.splitlines()[-1]) == (1, "different")
    assert "example" in said
    assert run(typed, "drop", "one", "--yes")[0] == 0
    assert not empty.keys("daogou:{p*}:one:*")
    assert "one: " not in run(typed, "status")[1]


def test_a_drop_asks_first(typed: CliRunner, empty: Redis) -> None:
    run(typed, "run", "--into", "one", "--no-score")
    done = typed.invoke(cli.app, ["replay", "drop", "one"], input="n\n")
    assert done.exit_code == 1
    assert empty.keys("daogou:{p*}:one:*")
