"""A load that was ended in its middle goes on, whatever ended it."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from redis import Redis
from rich.console import Console

from infra.settings import Settings
from streams.progress import Phases
from tests.streams.loads import direct, rows, run


class PlugPulledError(Exception):
    """Somebody pulled the plug."""


def pull() -> None:
    raise PlugPulledError


class Plug(Phases):
    """Is pulled when a phase has come so far."""

    def __init__(self, phase: str, after: int, pulled: Callable[[], None] = pull) -> None:
        super().__init__(Console(file=StringIO()))
        self._pulled_in, self._after, self._pull = phase, after, pulled

    @contextmanager
    def phase(self, name: str, total: int, unit: str, *, done: int = 0) -> Iterator[Callable[[int], None]]:
        with super().phase(name, total, unit, done=done) as advance:

            def advanced(more: int) -> None:
                nonlocal done
                done += more
                advance(more)
                if name == self._pulled_in and done >= self._after:
                    self._pull()

            yield advanced


@pytest.mark.parametrize(
    ("phase", "after"), [("read", 1), ("archived", 1), ("catalogue", 3), ("applied", 1), ("applied", 20)]
)
def test_a_load_that_was_interrupted_goes_on(
    phase: str, after: int, settings: Settings, empty: Redis, retail: Path
) -> None:
    run(settings.model_copy(update={"data_dir": settings.data_dir / "whole"}), direct(retail))
    whole = rows(empty)
    empty.flushall()
    with pytest.raises(PlugPulledError):
        run(settings, direct(retail), Plug(phase, after))
    report = run(settings, direct(retail))
    assert rows(empty) == whole
    applied = report.applied
    assert applied["applied"] + applied["applied before"] == 40


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """What Ctrl-C does, also where whoever started the tests has switched it off."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("phase", ["read", "archived", "catalogue", "applied"])
def test_ctrl_c_ends_a_load_that_goes_on_later(
    phase: str, ctrl_c: Callable[[], None], settings: Settings, empty: Redis, retail: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(settings, direct(retail), Plug(phase, 1, ctrl_c))
    applied = run(settings, direct(retail)).applied
    assert applied["applied"] + applied["applied before"] == 40
