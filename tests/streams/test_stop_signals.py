"""Two signals, one after the other: the first unwinds, the second presses for time and never strikes in between."""

import signal
import sys

import pytest

from streams.processes import KeptProcess
from streams.stop_signals import StopSignals


def test_only_the_first_signal_unwinds() -> None:
    pressed = []
    signals = StopSignals()
    signals.hurry = lambda: pressed.append(1)
    with pytest.raises(KeyboardInterrupt):
        signals.heard(signal.SIGINT, None)
    signals.heard(signal.SIGINT, None)
    signals.heard(signal.SIGTERM, None)
    assert pressed == [1, 1]


STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def test_a_child_that_will_not_end_is_ended_by_the_second_signal() -> None:
    """`stop` would wait a minute for it; the signal that comes in the middle kills it, and `stop` goes on."""
    child = KeptProcess("child", [sys.executable, "-c", STUBBORN], {}, print)
    child.start(0.0)
    signals = StopSignals()
    signals.hurry = child.kill
    before = {one: signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)}
    try:
        signals.install()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGALRM, signals.heard)
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        child.stop(60.0)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for one, handler in before.items():
            signal.signal(one, handler)
    assert child.pid == 0
