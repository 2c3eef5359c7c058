"""What every command says of itself, on a terminal of eighty columns."""

from collections.abc import Iterator
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from streams.cli import app


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All of them, groups too, and what follows `daogou` to call them."""
    yield path, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*path, name))


ALL = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize(("path", "command"), ALL, ids=[" ".join(path) or "daogou" for path, _ in ALL])
def test_help_can_be_read_in_full_on_eighty_columns(path: tuple[str, ...], command: Any) -> None:
    told = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "80", "TERMINAL_WIDTH": "80"}, terminal_width=80)
    lines = [line for line in told.output.splitlines() if not line.startswith("Usage: ")]
    assert told.exit_code == 0
    assert [line for line in lines if line.rstrip().endswith(("...", "…")) or len(line) > 80] == []
    words = "".join(told.output.split())
    for parameter in command.params:
        assert "".join((getattr(parameter, "help", None) or "").split()) in words, parameter.name
    for name, one in getattr(command, "commands", {}).items():
        said = one.help.partition("\n\n")[0].partition(". ")[0].removesuffix(".")
        assert one.hidden or "".join(said.split()) in words, name


SAID_BY_THEIR_GROUP = {("topics", "create"), ("topics", "list"), ("models", "list")}
LEAVES = [path for path, command in ALL if not hasattr(command, "commands") and not command.hidden]
CALLED = [("topics",), *(path for path in LEAVES if path not in SAID_BY_THEIR_GROUP)]


@pytest.mark.parametrize("path", CALLED, ids=" ".join)
def test_each_command_has_an_example(path: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*path, "--help"])
    example = " ".join(told.output.partition("Example: ")[2].split())
    assert f"daogou {' '.join(path)}" in example


def test_all_commands_are_looked_at() -> None:
    assert {("train",), ("models", "shadow"), ("text", "tune-copy"), ("dead-letters", "requeue")} <= dict(ALL).keys()
