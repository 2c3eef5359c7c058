"""Items that are in the catalogue and not in the model in service: each gets a vector of what it is, and is a
candidate from then on.

The worker looks which partitions of the catalogue were written, by their count of writes, so that every worker learns
of every item, whoever applies the catalogue. After a start or a release the whole catalogue is looked through once:
nothing is kept but the catalogue itself. All of it runs behind the micro-batches, some items at a time.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Final, Protocol

import msgspec

from features.catalog import Item
from features.catalog_store import CatalogStore
from infra import metrics
from infra.errors import ArtifactBroken, DaogouError
from infra.logs import logger, said
from infra.metrics import Metrics
from infra.redis import told_as_away
from streams.derived import Derived, Scoring

_log = logger(__name__)

POLL_S: Final = 0.5
AT_ONCE: Final = 256
MOST: Final = 50_000  # items beside those of the training; with more of them it is time to train
_MOST_LEFT_OUT: Final = 64
_TOLD_EVERY: Final = 5_000


class Vectors(Protocol):
    """Makes vectors of what items are."""

    def knows(self, scorer: Scoring, item_id: str) -> bool:
        """Whether a model has a vector of the item."""
        ...

    def taken_up(self, scorer: Scoring, items: Sequence[Item]) -> Awaitable[Scoring]:
        """A model of the same version that has these, too.

        Raises:
            ArtifactBroken: the artifact says nothing of items that it does not know.
            DaogouError: not now.
        """
        ...

    def prepare(self, scorer: Scoring) -> Awaitable[None]:
        """Have ready what takes items up; raises as `taken_up`."""
        ...

    def close(self) -> None:
        """Let go of what makes them."""
        ...


class NewItems:
    """Keeps the model in service as wide as the catalogue."""

    def __init__(
        self,
        derived: Derived,
        catalogue: CatalogStore,
        vectors: Vectors,
        tenant: str,
        partitions: int,
        measured: Metrics,
        *,
        most: int = MOST,
        where: str = "Redis",
    ) -> None:
        self._derived = derived
        self._catalogue = catalogue
        self._vectors = vectors
        self._tenant = tenant
        self._partitions = partitions
        self._metrics = measured
        self._most = most
        self._where = where
        self._version: str | None = None
        self._writes: dict[int, bytes | None] = {}
        self._waiting: dict[str, None] = {}
        self._taken = 0
        self._unusable = False
        self._failures = self._left_out = 0
        self._preparing: set[asyncio.Task[None]] = set()

    async def run(self, every_s: float = POLL_S) -> None:
        """Look until cancelled; at once again while items wait."""
        try:
            while True:
                await self.look()
                await asyncio.sleep(0 if self._waiting and not self._left_out else every_s)
        finally:
            for task in self._preparing:
                task.cancel()
            self._vectors.close()

    async def look(self) -> None:
        """Take some of the new items up. What fails is tried again later; a model that cannot take items up is told
        once.
        """
        scorer = self._derived.scorer
        if scorer is None:
            return
        if scorer.version != self._version:
            self._begin(scorer.version)
            # Beside the looks: an encoder takes seconds to start, and the first item is not to wait for all of them.
            task = asyncio.create_task(self._prepare(scorer))
            self._preparing.add(task)
            task.add_done_callback(self._preparing.discard)
        if self._unusable:
            return
        if self._left_out:
            self._left_out -= 1
            return
        try:
            with told_as_away(self._where):
                await self._find(scorer)
                await self._take_up(scorer)
            self._failures = 0
        except ArtifactBroken as error:
            self._unusable = True
            self._waiting.clear()
            _log.error("new items come into no list", version=scorer.version, why=error.message)
        except Exception as error:  # lists of the items that are known go on
            self._left_out = min(2**self._failures, _MOST_LEFT_OUT)
            self._failures = min(self._failures + 1, _MOST_LEFT_OUT)
            why = error.message if isinstance(error, DaogouError) else said(error)
            _log.error("new items wait", count=len(self._waiting), tried_again_after_looks=self._left_out, why=why)
        self._metrics.set(metrics.NEW_ITEMS_WAITING, len(self._waiting))

    def _begin(self, version: str) -> None:
        self._version, self._writes, self._waiting = version, {}, {}
        self._taken, self._unusable, self._failures, self._left_out = 0, False, 0, 0

    async def _prepare(self, scorer: Scoring) -> None:
        try:
            await self._vectors.prepare(scorer)
        except ArtifactBroken:
            return  # told once an item comes
        except Exception as error:  # the first item tries again
            why = error.message if isinstance(error, DaogouError) else said(error)
            _log.error("what encodes new items did not start", version=scorer.version, why=why)

    async def _find(self, scorer: Scoring) -> None:
        """The writes are read first: what comes meanwhile is seen at the next look."""
        wanted = range(self._partitions)
        writes = dict(zip(wanted, await self._catalogue.writes(wanted), strict=True))
        moved = [p for p in wanted if writes[p] is not None and self._writes.get(p) != writes[p]]
        if moved:
            ids = await self._catalogue.ids(self._tenant, moved)
            self._waiting.update(dict.fromkeys(sorted(one for one in ids if not self._vectors.knows(scorer, one))))
        self._writes = writes

    async def _take_up(self, scorer: Scoring) -> None:
        some = list(self._waiting)[:AT_ONCE]
        if not some:
            return
        if self._taken >= self._most:
            _log.error("so many new items that the others wait for a training", taken=self._taken, most=self._most)
            self._metrics.count(metrics.NEW_ITEMS, len(self._waiting), outcome="passed_over")
            self._waiting.clear()
            return
        found = await self._items(some)
        # Without content it is a price or a stock that came before the item: its content is a write, too.
        items = [item for item in found.values() if item.content is not None]
        if items:
            wider = await self._vectors.taken_up(scorer, items)
            if self._derived.scorer is not scorer:
                return  # a model was released meanwhile: it takes up what it does not know
            self._derived.scorer = wider
        for item_id in some:
            self._waiting.pop(item_id, None)
        before, self._taken = self._taken, self._taken + len(items)
        self._metrics.count(metrics.NEW_ITEMS, len(items), outcome="taken_up")
        if items and (not self._waiting or before // _TOLD_EVERY != self._taken // _TOLD_EVERY):
            _log.info("new items are candidates", count=self._taken, waiting=len(self._waiting))

    async def _items(self, item_ids: Sequence[str]) -> Mapping[str, Item]:
        """Those that can be read: one that cannot must not stop the others."""
        try:
            return await self._catalogue.get(self._tenant, item_ids, self._partitions)
        except (msgspec.DecodeError, UnicodeDecodeError):
            found: dict[str, Item] = {}
            for item_id in item_ids:
                try:
                    found |= await self._catalogue.get(self._tenant, [item_id], self._partitions)
                except (msgspec.DecodeError, UnicodeDecodeError):
                    self._metrics.count(metrics.NEW_ITEMS, outcome="unreadable")
            return found
