"""The job that has the statistics of items merged every few seconds, by one worker of all.

Whichever worker holds the job does it; two at once, or one that dies half way, do no harm: a snapshot is named by what
it holds, and Feast's rows by the number of the snapshot. The job takes no more than a twentieth of the time, however
much there is to merge: then it comes less often.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from infra import metrics
from infra.errors import Refused
from infra.logs import logger
from infra.metrics import Metrics
from streams.holds import Hold
from streams.patience import patiently

HOLD: Final = "job:statistics"

_SHARE: Final = 20
_HELD_S: Final = 8.0  # a hold is renewed at least so often

_log = logger(__name__)


class MergeFailed(Exception):
    """A pass came to nothing; its text says why and holds no data."""


class Passes(Protocol):
    """Who merges."""

    async def merge(self) -> None:
        """Merge once, if anything was applied since the last time.

        Raises:
            MergeFailed.
        """
        ...

    def forget(self) -> None:
        """The job is somebody else's now."""
        ...


class StatisticsJob:
    """Asks for a pass when one is due. `hold` keeps other workers from doing the same."""

    def __init__(self, hold: Hold, passes: Passes, measured: Metrics, *, every_s: float) -> None:
        self._hold = hold
        self._passes = passes
        self._metrics = measured
        self._every_s = every_s

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
                    self._passes.forget()
                elif (began := monotonic()) >= due:
                    await self._pass()
                    took_s = monotonic() - began
                    self._metrics.observe(metrics.STATISTICS_SECONDS, took_s)
                    due = began + took_s + max(self._every_s, (_SHARE - 1) * took_s)
        finally:
            self._passes.forget()

    async def _pass(self) -> None:
        merging = asyncio.ensure_future(self._passes.merge())
        try:
            while not (await asyncio.wait([merging], timeout=_HELD_S))[0]:
                await patiently("holding the statistics", self._held)
            merging.result()
        except MergeFailed as error:  # what is merged is not worth a worker; the next pass tries again
            _log.error("the statistics of items could not be merged", why=str(error))
        finally:
            merging.cancel()

    async def _held(self) -> bool:
        try:
            await self._hold.take()
        except Refused:
            return False
        return True
