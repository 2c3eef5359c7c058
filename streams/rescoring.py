"""Lists made anew: after a release for everybody, after loaded history for those whom it was about.

It runs behind the micro-batches, in which those who are on the site have their lists made: some shoppers at a
time, those whose rows changed before those whom a sweep comes upon, and neither waits for the other to end. What
is left to do need not be remembered anywhere: a sweep over the rows at each start finds the shelves that are of
another model, or were not made from the row as it is.
"""

import asyncio
from collections.abc import Sequence
from itertools import islice
from typing import Final

import msgspec

from infra import metrics
from infra.logs import logger
from infra.metrics import Metrics
from serving import shelf
from streams.partition import RowRef
from streams.patience import patiently
from streams.pipeline import Pipeline
from streams.standstill import Standstill

_log = logger(__name__)

AT_ONCE: Final = 32
# With more shoppers waiting than this a sweep over all rows is as good as a list of them.
MOST_WAITING: Final = 100_000
_SCAN_COUNT: Final = 500


class Rescoring:
    """Keeps every shelf of the owned partitions as new as its row, and of the model in service."""

    def __init__(
        self,
        pipeline: Pipeline,
        measured: Metrics,
        most_waiting: int = MOST_WAITING,
        beside: Standstill | None = None,
    ) -> None:
        """`beside`: what holds it in a pause."""
        self._pipeline = pipeline
        self._metrics = measured
        self._most_waiting = most_waiting
        self._beside = beside or Standstill()
        self._waiting: dict[RowRef, None] = {}  # in order of arrival; each shopper once, however often changed
        self._cursor: int | None = None  # where the sweep is; None: there is none
        self._found: list[RowRef] = []
        self._made = 0
        self._some = asyncio.Event()

    @property
    def idle(self) -> bool:
        """Whether everything was looked at."""
        return not self._some.is_set()

    def add(self, refs: Sequence[RowRef]) -> None:
        """These shoppers' lists are older than their rows."""
        if not refs:
            return
        self._waiting.update(dict.fromkeys(refs))
        if len(self._waiting) > self._most_waiting:
            self._waiting.clear()
            self.sweep()
        self._some.set()

    def sweep(self) -> None:
        """Look through all rows from the first on: partitions were claimed, or a model released."""
        self._cursor, self._found, self._made = 0, [], 0
        self._some.set()

    async def run(self) -> None:
        """Make lists until cancelled.

        Raises:
            OwnershipLost: the process must end.
            Unavailable: Redis stayed away.
        """
        while True:
            await self._some.wait()
            async with self._beside.passage():
                await self._turn()

    async def _turn(self) -> None:
        if self._pipeline.derived.scorer is None:
            self._waiting.clear()  # the sweep after a release finds them
            self._some.clear()
            return
        if self._waiting:
            await self._rescore(self._next())
        if self._cursor is not None or self._found:
            await self._look_further()
        if not self._waiting and self._cursor is None and not self._found:
            self._some.clear()

    def _next(self) -> list[RowRef]:
        refs = list(islice(self._waiting, AT_ONCE))
        for ref in refs:
            del self._waiting[ref]
        return refs

    async def _look_further(self) -> None:
        """Some of the sweep."""
        cursor = self._cursor
        if not self._found and cursor is not None:
            following, refs = await patiently("looking through the rows", self._scan, cursor)
            if self._cursor == cursor:  # else a new sweep has begun meanwhile
                self._cursor, self._found = following or None, refs
        some, self._found = self._found[:AT_ONCE], self._found[AT_ONCE:]
        self._made += await self._rescore(some)
        if self._cursor is None and not self._found and self._made:
            _log.info("lists made anew", count=self._made)
            self._made = 0

    async def _rescore(self, refs: Sequence[RowRef]) -> int:
        """Those lists of these that are old; between two calls the micro-batches that wait have their turn."""
        old = await patiently("looking at lists", self._old, refs) if refs else []
        made = await patiently("making lists anew", self._pipeline.rescore, old) if old else 0
        self._metrics.count(metrics.SHOPPERS_SCORED, made)
        await asyncio.sleep(0)
        return made

    async def _scan(self, cursor: int) -> tuple[int, list[RowRef]]:
        following, refs = await self._pipeline.store.scan_rows(cursor, _SCAN_COUNT)
        return following, [ref for ref in refs if ref.partition in self._pipeline.owned]

    async def _old(self, refs: Sequence[RowRef]) -> list[RowRef]:
        scorer = self._pipeline.derived.scorer
        if scorer is None:
            return []
        rows, shelves = await self._pipeline.store.rows(refs), await self._pipeline.store.shelves(refs)
        return [
            ref
            for ref, row, on_shelf in zip(refs, rows, shelves, strict=True)
            if row is not None and not _is_fresh(row, on_shelf, scorer.version)
        ]


def _is_fresh(row: bytes, on_shelf: bytes | None, version: str) -> bool:
    if on_shelf is None:
        return False
    try:
        made = shelf.opened(on_shelf)
    except msgspec.DecodeError:
        return False
    return made.model_version == version and made.row_mark == shelf.mark_of(row)
