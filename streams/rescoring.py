"""Lists made anew: after a release for everybody, after loaded history for those whom it was about.

It runs behind the micro-batches, some shoppers at a time. What is left to do need not be remembered
anywhere: a sweep over the rows at each start finds the shelves that are of another model, or older than
their row.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from redis.asyncio import Redis

from features.shoppers import decode_state
from infra import metrics
from infra.errors import ArtifactBroken
from infra.keys import LIVE, split_row_key
from infra.logs import logger
from infra.metrics import Metrics
from infra.redis import told_as_away
from serving import shelf
from streams.commit import RowRef
from streams.derived import Scoring
from streams.patience import patiently
from streams.pipeline import Pipeline

_log = logger(__name__)

AT_ONCE: Final = 32
POLL_S: Final = 1.0
_SCAN_COUNT: Final = 500


@dataclass(frozen=True, slots=True)
class Releases:
    """Where models come from: the artifact released now, and how one is loaded. Both run in threads."""

    released: Callable[[], Path | None]
    load: Callable[[Path], Scoring]


class Rescoring:
    """Follows the release pointer and keeps every shelf of the owned partitions as new as its row."""

    def __init__(self, pipeline: Pipeline, redis: Redis, releases: Releases, measured: Metrics) -> None:
        self._pipeline = pipeline
        self._redis = redis
        self._releases = releases
        self._metrics = measured
        self._artifact: Path | None = None
        self._waiting: deque[RowRef] = deque()
        self._sweep = False
        self._some = asyncio.Event()

    def add(self, refs: Sequence[RowRef]) -> None:
        """These shoppers' lists are older than their rows."""
        if refs:
            self._waiting.extend(refs)
            self._some.set()

    def sweep(self) -> None:
        """Look through all rows: partitions were claimed, or a model released."""
        self._sweep = True
        self._some.set()

    async def follow_releases(self, every_s: float = POLL_S) -> None:
        """Take the released model over whenever it changes, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        """Load the released model if it is another one. One that cannot be loaded is passed over."""
        artifact = await asyncio.to_thread(self._releases.released)
        if artifact is None or artifact == self._artifact:
            return
        self._artifact = artifact
        try:
            scorer = await asyncio.to_thread(self._releases.load, artifact)
        except ArtifactBroken as error:
            _log.error("the released model cannot be used", why=error.message)
        except Exception:  # the model in service is better than a worker that starts again and again
            _log.exception("the released model cannot be loaded", artifact=artifact.name)
        else:
            self._pipeline.derived.scorer = scorer
            self._metrics.set(metrics.MODEL_RELEASED, 1, version=scorer.version)
            _log.info("scoring with a released model", version=scorer.version)
            self.sweep()

    async def run(self) -> None:
        """Make lists until cancelled.

        Raises:
            OwnershipLost: the process must end.
            Unavailable: Redis stayed away.
        """
        while True:
            await self._some.wait()
            self._some.clear()
            if self._pipeline.derived.scorer is None:
                self._waiting.clear()  # the sweep after a release finds them
                continue
            if self._sweep:
                self._sweep = False
                await self._look_through()
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(AT_ONCE, len(self._waiting)))]
                await self._rescore(list(dict.fromkeys(some)))

    async def _look_through(self) -> None:
        """Make anew the shelves that are not what the released model would make of the row."""
        made, cursor = 0, 0
        while True:
            cursor, refs = await patiently("looking through the rows", self._scan, cursor)
            for some in (refs[i : i + AT_ONCE] for i in range(0, len(refs), AT_ONCE)):
                old = await patiently("looking through the rows", self._stale, some)
                made += await self._rescore(old)
            if cursor == 0:
                break
        if made:
            _log.info("lists made anew", count=made)

    async def _rescore(self, refs: Sequence[RowRef]) -> int:
        """Some lists; between two calls the micro-batches that wait have their turn."""
        if not refs:
            return 0
        made = await patiently("making lists anew", self._pipeline.rescore, refs)
        self._metrics.count(metrics.SHOPPERS_SCORED, made)
        await asyncio.sleep(0)
        return made

    async def _scan(self, cursor: int) -> tuple[int, list[RowRef]]:
        pipe = self._redis.pipeline(transaction=False)
        pipe.scan(cursor, match=f"daogou:{{p*}}:{LIVE}:*:row:*", count=_SCAN_COUNT)
        with told_as_away(self._pipeline.store.where):
            [(following, keys)] = await pipe.execute()
        refs = [_ref(key.decode()) for key in keys]
        return following, [ref for ref in refs if ref.partition in self._pipeline.owned]

    async def _stale(self, refs: Sequence[RowRef]) -> list[RowRef]:
        scorer = self._pipeline.derived.scorer
        rows, shelves = await self._pipeline.store.rows(refs), await self._pipeline.store.shelves(refs)
        return [
            ref
            for ref, row, on_shelf in zip(refs, rows, shelves, strict=True)
            if row is not None and not _is_fresh(row, on_shelf, scorer)
        ]


def _ref(row_key: str) -> RowRef:
    tenant, shopper_id = split_row_key(row_key)
    return RowRef(int(row_key.split("{p", 1)[1].split("}", 1)[0]), tenant, shopper_id)


def _is_fresh(row: bytes, on_shelf: bytes | None, scorer: Scoring | None) -> bool:
    if on_shelf is None or scorer is None:
        return False
    try:
        made, newest = shelf.decode(on_shelf), decode_state(row).newest
    except msgspec.DecodeError:
        return False
    return made.model_version == scorer.version and made.scored_at == newest
