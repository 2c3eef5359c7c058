"""The job that has the statistics of items merged every few seconds, by one worker of all.

Whichever worker holds the job does it; two at once, or one that dies half way, do no harm: a snapshot is named by what
it holds, and Feast's rows by the number of the snapshot. The job takes no more than a twentieth of the time, however
much there is to merge: then it comes less often.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from infra import metrics
from infra.errors import Refused
from infra.logs import logger
from infra.metrics import Metrics
from streams.holds import Hold
from streams.patience import patiently
from streams.standstill import Standstill

HOLD: Final = "job:statistics"

_SHARE: Final = 20
_HELD_S: Final = 8.0  # a hold is renewed at least so often
_LONGEST_PAUSE_S: Final = 60.0  # after a pass that failed, however long it took to fail

_log = logger(__name__)


class MergeFailed(Exception):
    """A pass came to nothing; its text says why and holds no data."""


class Passes(Protocol):
    """Who merges."""

    async def merge(self) -> None:
        """Merge once.

        Raises:
            MergeFailed.
        """
        ...

    def forget(self) -> None:
        """The job is somebody else's now."""
        ...


class StatisticsJob:
    """Asks for a pass when one is due and something was applied since the last one.

    `hold` keeps other workers from doing the same; `reached` says how far the partitions are: an answer that differs
    from the one before means that there is something to merge. `beside` holds passes in a pause.
    """

    def __init__(
        self,
        hold: Hold,
        passes: Passes,
        reached: Callable[[], Awaitable[object]],
        measured: Metrics,
        *,
        every_s: float,
        beside: Standstill | None = None,
    ) -> None:
        self._hold = hold
        self._passes = passes
        self._reached = reached
        self._merged_at: object = None
        self._trouble = ""
        self._metrics = measured
        self._every_s = every_s
        self._beside = beside or Standstill()

    async def run(self, monotonic: Callable[[], float]) -> None:
        """Merge every few seconds until cancelled.

        Raises:
            RedisAway: it stayed away.
        """
        due = monotonic()
        try:
            while True:
                await asyncio.sleep(min(self._every_s, _HELD_S))
                if not await patiently("holding the statistics", self._held):
                    self._let_go()
                elif monotonic() >= due and not self._beside.held:
                    async with self._beside.passage():
                        due = await self._pass(monotonic)
        finally:
            self._let_go()

    async def _pass(self, monotonic: Callable[[], float]) -> float:
        """Merge if there is something to merge; when the next pass is due."""
        at = await patiently("looking for what was applied", self._reached)
        began = monotonic()
        if at == self._merged_at:
            return began + self._every_s
        try:
            await self._merge()
        except MergeFailed as error:  # what is merged is not worth a worker; the next pass tries again
            if str(error) != self._trouble:
                self._trouble = str(error)
                _log.error("the statistics of items could not be merged", why=self._trouble)
            ended = monotonic()
            return ended + max(self._every_s, min((_SHARE - 1) * (ended - began), _LONGEST_PAUSE_S))
        self._merged_at, self._trouble = at, ""
        ended = monotonic()
        self._metrics.observe(metrics.STATISTICS_SECONDS, ended - began)
        return ended + max(self._every_s, (_SHARE - 1) * (ended - began))

    async def _merge(self) -> None:
        merging = asyncio.ensure_future(self._passes.merge())
        try:
            while not (await asyncio.wait([merging], timeout=_HELD_S))[0]:
                await patiently("holding the statistics", self._held)
        except BaseException:
            merging.cancel()
            await asyncio.wait([merging])  # it must have left the socket before that is closed
            raise
        merging.result()

    def _let_go(self) -> None:
        """The job may be somebody else's now, who merges in the meantime."""
        self._merged_at = None
        self._passes.forget()

    async def _held(self) -> bool:
        try:
            await self._hold.take()
        except Refused:
            return False
        return True
