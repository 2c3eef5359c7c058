"""What Redis holds of a shopper and nobody can read: counted each time, logged now and then, never with who it is."""

import time
from collections.abc import Callable
from typing import Final

from infra.logs import logger
from infra.metrics import SHOPPER_UNREADABLE, Metrics

_LOGGED_EVERY_S: Final = 10.0
_log = logger(__name__)


class Unread:
    """Hears of each. Without `metrics` it logs only."""

    def __init__(self, metrics: Metrics | None = None, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._monotonic = monotonic
        self._logged: dict[str, float] = {}

    def note(self, what: str, partition: int) -> None:
        """A shopper's `what` (row, shelf, link), or the partition's (fence, live), could not be read."""
        if self._metrics is not None:
            self._metrics.count(SHOPPER_UNREADABLE, what=what)
        now_s = self._monotonic()
        if now_s - self._logged.get(what, -_LOGGED_EVERY_S) >= _LOGGED_EVERY_S:
            self._logged[what] = now_s
            _log.warning("what Redis holds for a page cannot be read", what=what, partition=partition)
