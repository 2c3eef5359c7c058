"""How much a process takes upon itself: beyond that a request is refused before any work is done for it, so that those
that were taken are answered in time.

Three things are bounded: the requests under way, for the sake of memory; those of them that are worked on, and do not
wait for a log, because each waits for the others' turns; and the lag of the event loop, whatever it comes from. One
long turn of the loop is no overload, two in a row are.
"""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Final

from infra.errors import Unavailable
from infra.metrics import LOOP_LAG_SECONDS, REQUESTS_REFUSED, Metrics

_LOOK_EVERY_S: Final = 0.01


class Overloaded(Unavailable):
    """This process has as much to do as it can do in time; the call may be repeated."""

    code = "overloaded"


class Admission:
    """Counts what is under way and looks how far the loop is behind. `busy` and `working` are kept by whoever serves,
    and count the request that is asked about, too.
    """

    def __init__(self, requests_max: int, working_max: int, lag_max_s: float, metrics: Metrics) -> None:
        self.busy = 0
        self.working = 0
        self._requests_max = requests_max
        self._working_max = working_max
        self._lag_max_s = lag_max_s
        self._metrics = metrics
        self._behind = 0  # looks in a row

    def check(self) -> None:
        """That a request may be taken at this moment.

        Raises:
            Overloaded.
        """
        if self._behind > 1:
            why = "lag"
        elif self.busy > self._requests_max:
            why = "busy"
        elif self.working > self._working_max:
            why = "working"
        else:
            return
        self._metrics.count(REQUESTS_REFUSED, why=why)
        raise Overloaded("There is more to do here than can be done in time; try again.")

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """While a request waits for a log, it keeps nobody from work."""
        self.working -= 1
        try:
            yield
        finally:
            self.working += 1

    def looked(self, lag_s: float) -> None:
        """The loop was found so far behind."""
        self._behind = self._behind + 1 if lag_s > self._lag_max_s else 0
        self._metrics.set(LOOP_LAG_SECONDS, lag_s)

    async def watch(self) -> None:
        """Look at the loop until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _LOOK_EVERY_S
            await asyncio.sleep(_LOOK_EVERY_S)
            self.looked(max(0.0, loop.time() - due))
