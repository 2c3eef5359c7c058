"""The workers of the proof: real processes, kept running until they are told to leave."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from infra.children import end_child, start_child
from infra.ready import VARIABLE, ReadyListener
from infra.settings import Settings, environment

_AGAIN_AFTER_S: Final = 0.5
_MOST_ENDS_UNREADY: Final = 20


@dataclass
class Member:
    """One worker: its process, and what became of those before it."""

    number: int
    listener: ReadyListener
    process: "subprocess.Popen[bytes]"
    ready: bool = False
    paused: bool = False
    ends_unready: int = 0
    due_s: float = 0.0


@dataclass
class Crew:
    """Starts workers and starts them again when they end; `module` is what runs as `python -m`."""

    settings: Settings
    module: str
    folder: Path
    members: list[Member] = field(default_factory=list)
    ends: Counter[int] = field(default_factory=Counter)
    _count: int = 0

    def join(self) -> Member:
        """One more."""
        self._count += 1
        listener = ReadyListener()
        member = Member(self._count, listener, self._process(self._count, listener))
        self.members.append(member)
        return member

    def leave(self, member: Member, within_s: float) -> tuple[int, float]:
        """SIGTERM; its status and how many seconds it took."""
        self.members.remove(member)
        began = time.monotonic()
        status = end_child(member.process, within_s)
        member.listener.close()
        return status, time.monotonic() - began

    def kill(self, member: Member) -> None:
        """SIGKILL: it is started again by `look`."""
        member.process.send_signal(signal.SIGKILL)
        member.process.wait()

    def pause(self, member: Member) -> None:
        """SIGSTOP."""
        member.paused = True
        member.process.send_signal(signal.SIGSTOP)

    def go_on(self, member: Member) -> None:
        """SIGCONT."""
        member.process.send_signal(signal.SIGCONT)
        member.paused = False

    def look(self) -> None:
        """Hear who is ready, start again who has ended.

        Raises:
            SystemExit: one ends again and again before it is ready.
        """
        now_s = time.monotonic()
        for member in self.members:
            if member.listener.heard(0.0):
                member.ready, member.ends_unready = True, 0
            status = member.process.poll()
            if status is None:
                continue
            if not member.due_s:
                self.ends[status] += 1
                member.ends_unready += not member.ready
                member.ready = False
                member.due_s = now_s + _AGAIN_AFTER_S
                if member.ends_unready > _MOST_ENDS_UNREADY:
                    raise SystemExit(f"worker {member.number} does not come up: {self.last_words(member)}")
            elif now_s >= member.due_s:
                member.due_s = 0.0
                while member.listener.heard(0.0):  # from the one before
                    pass
                member.process = self._process(member.number, member.listener)

    @property
    def ready(self) -> bool:
        """Whether every one runs and has been assigned its partitions."""
        return all(member.ready and not member.due_s for member in self.members)

    def stop(self) -> list[int]:
        """End all; their statuses."""
        for member in self.members:
            if member.paused:
                self.go_on(member)
        return [self.leave(member, within_s=20.0)[0] for member in list(self.members)]

    def last_words(self, member: Member) -> str:
        """The end of what a worker logged."""
        return self._log(member.number).read_text()[-2000:]

    def _log(self, number: int) -> Path:
        return self.folder / f"worker-{number}.log"

    def _process(self, number: int, listener: ReadyListener) -> "subprocess.Popen[bytes]":
        env = {**os.environ, **environment(self.settings), VARIABLE: listener.address}
        with self._log(number).open("ab") as output:
            return start_child([sys.executable, "-m", self.module, "worker"], env=env, output=output)
