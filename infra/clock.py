"""The one way to ask for the time. Event time comes from events, never from here."""

import time
from pathlib import Path
from typing import Final, Protocol

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS


class Clock(Protocol):
    """Wall-clock time as an argument."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC."""
        return time.time_ns() // 1_000_000


class ManualClock:
    """A clock that stands until it is moved: for tests."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms

    def now_ms(self) -> int:
        """The instant it was last moved to."""
        return self._now_ms

    def move_ms(self, by: int) -> None:
        """Move it by so many milliseconds, back if negative."""
        self._now_ms += by


class ShiftedClock:
    """The machine's clock moved by the whole seconds that a file holds, looked up at each reading.

    The demo moves a running worker's time on with it; a missing file is no shift.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC, shifted."""
        try:
            shift_s = int(self._file.read_text().strip() or "0")
        except FileNotFoundError:
            shift_s = 0
        return time.time_ns() // 1_000_000 + shift_s * 1000


def clock_from(shift_file: Path | None) -> Clock:
    """The clock that the settings ask for."""
    return ShiftedClock(shift_file) if shift_file else SystemClock()
