"""The worker follows the order to try a candidate: loads it beside the model in service, tells what became of it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from infra import metrics
from infra.errors import ArtifactBroken, DaogouError
from infra.logs import logger, said
from infra.metrics import Metrics
from models.shadow import Order
from streams.derived import Scoring, Spent
from streams.pipeline import Pipeline
from streams.shadow import Shadow
from streams.shadow_counts import ByModel, Counts, ShadowCounts

_log = logger(__name__)

POLL_S: Final = 1.0
FLUSH_LOOKS: Final = 3  # figures are told at each of so many looks


@dataclass(frozen=True, slots=True)
class Trials:
    """Where candidates come from: the order that stands, and how its artifact is loaded. Both run in threads."""

    ordered: Callable[[], Order | None]
    load: Callable[[str], Scoring]


class ShadowFollower:
    """Keeps one candidate beside the model in service while an order says so."""

    def __init__(self, pipeline: Pipeline, trials: Trials, counts: ShadowCounts, measured: Metrics) -> None:
        self._pipeline = pipeline
        self._trials = trials
        self._kept = counts
        self._metrics = measured
        self._order: Order | None = None  # that was looked at last, whatever became of it
        self._shadow: Shadow | None = None
        self._spent = Spent()
        self._untold = ByModel()
        self._looks = 0
        self._unreadable = False

    async def run(self, every_s: float = POLL_S) -> None:
        """Follow the order until cancelled; a candidate is ended then."""
        try:
            while True:
                await self.look()
                self._looks += 1
                if self._looks % FLUSH_LOOKS == 0:
                    await self.tell()
                await asyncio.sleep(every_s)
        finally:
            self._end()

    async def look(self) -> None:
        """Begin or end, if the order is another one, or its candidate is in service now."""
        try:
            order = await asyncio.to_thread(self._trials.ordered)
            self._unreadable = False
        except (ArtifactBroken, OSError) as error:
            if not self._unreadable:
                _log.error("the order to try a candidate cannot be read", why=said(error))
            self._unreadable = True
            return
        live = self._pipeline.derived.scorer
        if self._shadow is not None and live is not None and live.version == self._shadow.version:
            _log.info("the candidate that was tried is in service", version=live.version)
            await self._over()
        if order != self._order:
            await self._over()
            self._order = order
            if order is not None:
                await self._begin(order)

    async def tell(self) -> None:
        """Add what was counted to the metrics and to Redis; where Redis is away it waits there for the next time."""
        if self._shadow is not None:
            spent, live = self._pipeline.derived.spent, self._pipeline.derived.scorer
            if live is not None and spent.lists > self._spent.lists:
                more, seconds = spent.lists - self._spent.lists, spent.processor_s - self._spent.processor_s
                self._shadow.spent(live.version, more, seconds)
            self._spent = Spent(spent.lists, spent.processor_s)
            taken = self._shadow.taken()
            self._measure(taken)
            self._untold.add(taken)
        if self._order is None or not self._untold.of:
            return
        untold, self._untold = self._untold, ByModel()
        try:
            await self._kept.add(self._order.name, untold.of)
        except DaogouError as error:
            _log.warning("figures of the candidate wait for Redis", why=said(error))
            self._untold.add(untold.of)

    async def _begin(self, order: Order) -> None:
        live = self._pipeline.derived.scorer
        if live is not None and live.version == order.version:
            return
        try:
            scorer = await asyncio.to_thread(self._trials.load, order.version)
        except Exception as error:  # a candidate is never worth a worker
            why = error.message if isinstance(error, DaogouError) else said(error)
            _log.error("the candidate cannot be tried; order it again when it can", version=order.version, why=why)
            return
        spent = self._pipeline.derived.spent
        self._spent = Spent(spent.lists, spent.processor_s)
        self._shadow = self._pipeline.shadow = Shadow(scorer, order.share)
        _log.info("a candidate is tried", version=order.version, share=order.share)

    async def _over(self) -> None:
        """The candidate goes, its figures stay; those that Redis does not take now are lost."""
        if self._shadow is not None:
            await asyncio.to_thread(self._end)
            await self.tell()
            _log.info("a candidate is tried no more", version=self._shadow.version)
        self._shadow, self._untold = None, ByModel()

    def _end(self) -> None:
        self._pipeline.shadow = None
        if self._shadow is not None:
            self._shadow.end()

    def _measure(self, taken: dict[str, Counts]) -> None:
        for of_it in taken.values():
            count = self._metrics.count
            for outcome in ("made", "passed_over", "failed"):
                lists = of_it.lists if outcome == "made" else getattr(of_it, outcome)
                count(metrics.SHADOW_LISTS, lists, outcome=outcome)
            count(metrics.SHADOW_ITEMS, of_it.shared, which="shared")
            count(metrics.SHADOW_ITEMS, of_it.places, which="places")
            none = of_it.judged - of_it.both - of_it.live_alone - of_it.shadow_alone
            said_by = {"both": of_it.both, "live": of_it.live_alone, "shadow": of_it.shadow_alone, "none": none}
            for among, items in said_by.items():
                count(metrics.SHADOW_NEXT_ITEMS, items, among=among)
            count(metrics.SHADOW_CPU_SECONDS, of_it.live_cpu_s, model="live")
            count(metrics.SHADOW_CPU_SECONDS, of_it.cpu_s, model="shadow")
