"""Progress of long work on stderr: bars on a terminal, now and then a plain line elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Final, Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

_EVERY_S: Final = 10.0


class Phases:
    """The phases of one piece of work, each with its bar and its seconds."""

    def __init__(self, console: Console | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._console = console or Console(stderr=True)
        self.monotonic = monotonic
        self._bars: Progress | None = None
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bars = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _RateColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, text: str) -> None:
        """A line between the bars."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def phase(self, name: str, total: int, unit: str, *, done: int = 0) -> Iterator[Callable[[int], None]]:
        """One phase; what it gives is called with how much more is done. `done` was so before it began."""
        begin = self.monotonic()
        bar = (
            _Bar(self._bars, name, total, done) if self._bars else _Lines(self, name, total, unit, self.monotonic, done)
        )
        try:
            yield bar.advance
        finally:
            self.seconds[name] = round(self.monotonic() - begin, 2)
        if self._bars is None:
            self.say(f"{name}: {bar.done:,} {unit} in {self.seconds[name]:.1f} s")


class _RateColumn(ProgressColumn):
    """How much a second, lately."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f}/s")


class _Bar:
    def __init__(self, bars: Progress, name: str, total: int, done: int) -> None:
        self._bars = bars
        self._task = bars.add_task(name, total=total or None, completed=done)  # 0: not known
        self.done = done

    def advance(self, more: int) -> None:
        self.done += more
        self._bars.advance(self._task, more)


class _Lines:
    def __init__(
        self, phases: Phases, name: str, total: int, unit: str, monotonic: Callable[[], float], done: int
    ) -> None:
        self._phases, self._name, self._total, self._unit = phases, name, total, unit
        self._monotonic = monotonic
        self._told = self._begun = monotonic()
        self._before = self.done = done

    def advance(self, more: int) -> None:
        self.done += more
        now = self._monotonic()
        if now - self._told >= _EVERY_S:
            self._told = now
            of = f" of {self._total:,}" if self._total else ""  # 0: not known
            rate = (self.done - self._before) / (now - self._begun)
            left = f", {(self._total - self.done) / rate:,.0f} s left" if self._total > self.done and rate else ""
            self._phases.say(f"{self._name}: {self.done:,}{of} {self._unit}, {rate:,.0f}/s{left}")
