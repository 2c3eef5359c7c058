"""Children that are kept running, with a clock that the test moves."""

import os
import sys
from pathlib import Path

import pytest

from streams.processes import ChildFailed, KeptProcess

READY = "from infra.ready import tell_ready; tell_ready(); "


class Heard(list[str]):
    """What was said, and a child to say it about; its own code ends it."""

    def child(self, code: str, log_file: Path | None = None) -> KeptProcess:
        return KeptProcess("worker", [sys.executable, "-c", code], dict(os.environ), self.append, log_file=log_file)


def ended(child: KeptProcess) -> None:
    """Waits until the child's process has ended, without collecting it."""
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)


def test_one_that_lost_what_it_owned_is_started_again_after_its_delay() -> None:
    heard = Heard()
    child = heard.child("raise SystemExit(75)")
    child.start(100.0)
    ended(child)
    child.check(101.0)
    assert heard == ["the worker ended (it lost what it owned); starting it again in 0.5 s"]
    child.check(101.4)
    assert child.pid == 0
    child.check(101.5)
    assert child.pid != 0
    child.stop(5.0)


def test_the_delay_doubles_up_to_a_bound_and_begins_anew_after_a_steady_minute() -> None:
    heard, now = Heard(), 0.0
    child = heard.child(READY + "raise SystemExit(1)")
    child.start(now)
    for lived_s in [1.0] * 7 + [60.0]:
        ended(child)
        now += lived_s
        child.check(now)  # sees the end
        now += 15.0
        child.check(now)  # starts it again
    child.stop(5.0)
    delays = [line.rpartition(" in ")[2] for line in heard]
    assert delays == ["0.5 s", "1 s", "2 s", "4 s", "8 s", "15 s", "15 s", "0.5 s"]


def test_a_mistake_in_what_was_given_is_not_tried_again() -> None:
    heard = Heard()
    child = heard.child("raise SystemExit(2)")
    child.start(0.0)
    ended(child)
    with pytest.raises(ChildFailed, match="worker"):
        child.check(1.0)
    child.stop(0.0)


def test_one_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    heard, log = Heard(), tmp_path / "logs" / "worker.log"
    child = heard.child("raise SystemExit('no ground')", log)
    now = 0.0
    child.start(now)
    for _ in range(4):
        ended(child)
        child.check(now)
        now += 15.0
        child.check(now)
    ended(child)
    with pytest.raises(ChildFailed, match=r"5 times before it was ready.*worker\.log"):
        child.check(now)
    child.stop(0.0)
    assert log.read_text().splitlines() == ["no ground"] * 5


def test_ready_is_heard() -> None:
    child = Heard().child(READY + "import signal; signal.pause()")
    child.start(0.0)
    assert not child.ready
    while not child.ready:
        child.check(1.0)
    pid = child.pid
    child.stop(5.0)
    assert child.pid == 0
    assert not Path(f"/proc/{pid}").exists()


def test_one_that_does_not_end_when_asked_is_made_to() -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + READY + "signal.pause()"
    child = Heard().child(code)
    child.start(0.0)
    while not child.ready:
        child.check(1.0)
    pid = child.pid
    child.stop(0.05)
    assert not Path(f"/proc/{pid}").exists()
