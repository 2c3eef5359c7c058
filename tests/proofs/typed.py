"""Commands of `daogou replay`, and others, each as a process of its own, as an operator types them."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from infra.children import end_child, start_child
from infra.settings import Settings, environment

_WITHIN_S: Final = 600


class Typed:
    """Types commands; what they print goes to a file in the folder. `more` are variables beside the settings."""

    def __init__(self, settings: Settings, folder: Path, more: Mapping[str, str] = MappingProxyType({})) -> None:
        self._settings = settings
        self._folder = folder
        self._more = more
        self._said = folder / "replay.log"

    @property
    def said(self) -> str:
        """What the last command printed."""
        return self._said.read_text()

    def by(self, more: Mapping[str, str]) -> "Typed":
        """The same with other variables."""
        return Typed(self._settings, self._folder, more)

    def daogou(self, *words: str) -> None:
        """Any command to its end.

        Raises:
            SystemExit: its status is not 0.
        """
        process = self._start(words)
        try:
            status = process.wait(_WITHIN_S)
        finally:
            end_child(process, within_s=5.0)
        if status:
            raise SystemExit(f"daogou {' '.join(words)}: status {status}: {self.said[-2000:]}")

    def run(self, *words: str, allowed: tuple[int, ...] = (0,)) -> int:
        """One command to its end; its status.

        Raises:
            SystemExit: another status than is allowed.
        """
        process = self.start(*words)
        try:
            status = process.wait(_WITHIN_S)
        finally:
            end_child(process, within_s=5.0)
        if status not in allowed:
            raise SystemExit(f"daogou replay {' '.join(words)}: status {status}: {self.said[-2000:]}")
        return status

    def start(self, *words: str) -> "subprocess.Popen[bytes]":
        """One command, which goes on."""
        return self._start(("replay", *words))

    def _start(self, words: Sequence[str]) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "streams.cli", *words]
        env = {**os.environ, **environment(self._settings), **self._more}
        with self._said.open("wb") as output:
            return start_child(command, env=env, output=output)

    def told(self, *words: str) -> dict[str, Any]:
        """What a command writes as JSON."""
        file = self._folder / "told.json"
        self.run(*words, "--json", str(file))
        found: dict[str, Any] = json.loads(file.read_bytes())
        return found

    def diff(self, one: str, other: str, *words: str) -> tuple[int, dict[str, Any]]:
        """Status and outcome of a comparison."""
        file = self._folder / "diff.json"
        status = self.run("diff", one, other, "--json", str(file), *words, allowed=(0, 1))
        found: dict[str, Any] = json.loads(file.read_bytes())
        said = "equal" if found["equal"] else "different"
        print(f"diff {one} {other}: {said}, {found['both']:,} shoppers", flush=True)
        return status, found
