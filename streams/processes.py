"""A child process that is kept running: started, heard when it is ready, started again when it ends."""

import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from infra.children import end_child, start_child
from infra.errors import DaogouError
from infra.ready import VARIABLE, ReadyListener

OWNERSHIP_LOST_STATUS: Final = 75
BAD_INPUT_STATUS: Final = 2

_FIRST_DELAY_S: Final = 0.5
_LONGEST_DELAY_S: Final = 15.0
_STEADY_S: Final = 60.0
_TRIES_BEFORE_READY: Final = 5

Say = Callable[[str], None]


class ChildFailed(DaogouError):
    """A child ends again and again before it is ready, or with a mistake that a new start does not mend."""

    code = "child_failed"


class KeptProcess:
    """A command that is kept running, in the environment `env`; each end in a row waits twice as long, up to 15 s.

    `keep_open` are file descriptors that it inherits; its output goes to `log_file`, else where the parent's goes.
    """

    def __init__(
        self,
        name: str,
        argv: Sequence[str],
        env: Mapping[str, str],
        say: Say,
        *,
        keep_open: Sequence[int] = (),
        log_file: Path | None = None,
    ) -> None:
        self.name = name
        self.ready = False
        self._listener = ReadyListener()
        self._argv = tuple(argv)
        self._env = {**env, VARIABLE: self._listener.address}
        self._say = say
        self._keep_open = tuple(keep_open)
        self._log_file = log_file
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = self._due_at = 0.0
        self._failures = 0

    @property
    def pid(self) -> int:
        """The child's process; 0 between two starts."""
        return self._process.pid if self._process else 0

    def start(self, now_s: float) -> None:
        """Start it, at `now_s` of a clock that never goes back."""
        output = None
        if self._log_file is not None:
            self._log_file.parent.mkdir(parents=True, exist_ok=True)
            output = self._log_file.open("ab")
        try:
            self._process = start_child(self._argv, env=self._env, output=output, keep_open=self._keep_open)
        finally:
            if output is not None:
                output.close()
        self._started_at = now_s

    def check(self, now_s: float) -> None:
        """Hear whether it is ready; start it again when it has ended and its delay is over.

        Raises:
            ChildFailed: a new start would not help.
        """
        if self._process is None:
            if now_s >= self._due_at:
                self.start(now_s)
            return
        if self._listener.heard(0.0) and not self.ready:
            self.ready = True
        status = self._process.poll()
        if status is not None:
            end_child(self._process, within_s=0.0)
            self._process = None
            self._ended(status, now_s)

    def stop(self, within_s: float) -> None:
        """End it for good."""
        if self._process is not None:
            end_child(self._process, within_s)
            self._process = None
        self._listener.close()

    def kill(self) -> None:
        """End it at once, also in the middle of `stop`; whoever waits for its end waits no longer."""
        if self._process is not None:
            self._process.kill()

    def _ended(self, status: int, now_s: float) -> None:
        self._failures = 1 if now_s - self._started_at >= _STEADY_S else self._failures + 1
        if status == BAD_INPUT_STATUS:
            raise ChildFailed(f"the {self.name} cannot run as things are; it says why above{self._where()}")
        if not self.ready and self._failures >= _TRIES_BEFORE_READY:
            raise ChildFailed(
                f"the {self.name} ended {self._failures} times before it was ready (last status {status}); "
                f"it says why above{self._where()}"
            )
        delay = min(_FIRST_DELAY_S * 2 ** (self._failures - 1), _LONGEST_DELAY_S)
        why = "it lost what it owned" if status == OWNERSHIP_LOST_STATUS else f"status {status}"
        self._say(f"the {self.name} ended ({why}); starting it again in {delay:g} s")
        self._due_at = now_s + delay

    def _where(self) -> str:
        return f" (in {self._log_file})" if self._log_file else ""
