"""The merged statistics of items in this process: what is popular and what goes together, seconds after it happened.

The pages' lists come from the released model; where it knows nothing (there is none yet, or the item is newer than it),
they come from here.
"""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from features.item_partials import ORDER_TREND
from features.item_snapshot import Floats, Snapshot, decode
from features.snapshot_store import SnapshotStore
from infra.errors import DaogouError
from infra.logs import logger
from infra.redis import told_as_away
from serving.best import BestOfCategories
from serving.model import Known, ModelInService

NO_STATISTICS: Final = "none"
_LOOK_EVERY_S: Final = 2.0
_NONE_KNOWN: Final[Mapping[str, float]] = {}

_log = logger(__name__)


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A snapshot, ready to be asked."""

    version: str
    snapshot: Snapshot
    places: Mapping[str, int]
    popular: Sequence[tuple[str, float]]
    popularity: Mapping[str, float] = field(repr=False)
    trending: Sequence[tuple[str, float]] = field(repr=False)
    trends: Mapping[str, float] = field(repr=False)


class StatisticsReader:
    """Follows the newest snapshot; before the first nothing is known."""

    def __init__(self, redis: Redis, tenant: str, *, where: str = "Redis") -> None:
        self._store = SnapshotStore(redis, tenant)
        self._where = where
        self._loaded: _Loaded | None = None
        self._unknown = ""
        self._trouble = ""

    @property
    def version(self) -> str:
        """Of the snapshot in service; `none` before the first."""
        return self._loaded.version if self._loaded else NO_STATISTICS

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that are looked at or bought with it, best first."""
        loaded = self._loaded
        place = loaded.places.get(item_id) if loaded else None
        if loaded is None or place is None:
            return ()
        scores: dict[int, float] = {}
        for other, score in (*loaded.snapshot.seen.of(place), *loaded.snapshot.bought.of(place)):
            scores[other] = scores.get(other, 0.0) + score
        best = sorted(scores.items(), key=lambda one: (-one[1], one[0]))[:k]
        return [(loaded.snapshot.item_ids[other], score) for other, score in best]

    def bought_with(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that are bought with it, best first."""
        loaded = self._loaded
        place = loaded.places.get(item_id) if loaded else None
        if loaded is None or place is None:
            return ()
        return [(loaded.snapshot.item_ids[other], score) for other, score in loaded.snapshot.bought.of(place)[:k]]

    def trending(self) -> Sequence[tuple[str, float]]:
        """Items that are met in the last days, best first."""
        return self._loaded.trending if self._loaded else ()

    def trend(self, item_id: str) -> float:
        """How much an item is met in the last days; 0 for one that is not."""
        return self._loaded.trends.get(item_id, 0.0) if self._loaded else 0.0

    def popular(self) -> Sequence[tuple[str, float]]:
        """All items of some popularity, best first: decayed views, and orders that count as five."""
        return self._loaded.popular if self._loaded else ()

    def popularity(self, item_id: str) -> float:
        """Decayed; 0 for what nobody bought or looked at."""
        return self._loaded.popularity.get(item_id, 0.0) if self._loaded else 0.0

    @property
    def popularities(self) -> Mapping[str, float]:
        """Of all items of some popularity."""
        return self._loaded.popularity if self._loaded else _NONE_KNOWN

    async def look(self) -> bool:
        """Take over the newest snapshot if it is another one; whether it was.

        Raises:
            RedisAway: the one in service stays.
        """
        with told_as_away(self._where):
            newest = await self._store.newest()
            if newest is None or newest.version in (self.version, self._unknown):
                return False
            raw = await self._store.load(newest.version)
        if raw is None:
            return False  # there is a newer one by now
        loaded = await asyncio.to_thread(_loaded, newest.version, raw)
        if loaded is None:
            self._unknown, self._trouble = newest.version, "the newest statistics were made by a newer version"
            return False
        self._loaded, self._trouble = loaded, ""
        return True

    async def try_to_look(self) -> None:
        """The same; what fails leaves the snapshot in service, and the log says why, once."""
        try:
            await self.look()
        except (DaogouError, RedisError) as error:
            self._failed(str(error))
        except Exception as error:  # an edge: lists go on without the newest statistics
            self._failed(f"{type(error).__name__}: {error}")

    async def follow(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self.try_to_look()

    def _failed(self, why: str) -> None:
        if why != self._trouble:
            _log.error("the statistics of items cannot be followed", in_service=self.version, why=why)
        self._trouble = why


class ItemKnowledge:
    """What the released model knows of items, and where it knows nothing, what the statistics do."""

    def __init__(self, model: ModelInService | Known, statistics: StatisticsReader, best: BestOfCategories) -> None:
        """`best` keeps the best items of categories, of whichever version."""
        self._model = model
        self._statistics = statistics
        self._best = best

    def of(self, version: str) -> "ItemKnowledge":
        """With what this version of the model knows, and no other."""
        model = self._model
        if not isinstance(model, ModelInService):
            return self
        return ItemKnowledge(model.known_of(version), self._statistics, self._best)

    @property
    def version(self) -> str:
        """The model's."""
        return self._model.version

    @property
    def statistics_version(self) -> str:
        """The statistics'."""
        return self._statistics.version

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that go with it, best first."""
        return self._model.similar(item_id, k) or self._statistics.similar(item_id, k)

    def bought_with(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that are bought with it, best first; before the stream has seen such orders, what goes with it."""
        return self._statistics.bought_with(item_id, k) or self.similar(item_id, k)

    def trending(self) -> Sequence[tuple[str, float]]:
        """Items that are met in the last days, best first; before there are statistics, the popular ones."""
        return self._statistics.trending() or self._model.popular()

    def popular_in(self, category: str, item_ids: Collection[str]) -> Sequence[tuple[str, float]]:
        """The most popular of a category, whose items are given, best first; some may be hidden by now."""
        of_model, of_stream = self._model.popularities, self._statistics.popularities
        name = ("popular", self.version, category)
        return self._best.of(
            name, self.statistics_version, item_ids, lambda one: of_model.get(one) or of_stream.get(one, 0.0)
        )

    def trending_in(self, category: str, item_ids: Collection[str]) -> Sequence[tuple[str, float]]:
        """The same, those that are met in the last days."""
        return self._best.of(("trending", "", category), self.statistics_version, item_ids, self._statistics.trend)

    def likeness(self, item_ids: Sequence[str]) -> Any:
        """[items, items]: cosines of the model's vectors; None before the first model."""
        return self._model.likeness(item_ids)

    def popular(self) -> Sequence[tuple[str, float]]:
        """All items of some popularity, best first."""
        return self._model.popular() or self._statistics.popular()

    def popularity(self, item_id: str) -> float:
        """Above 0 for items that are bought or looked at of late."""
        return self._model.popularity(item_id) or self._statistics.popularity(item_id)

    def unmet(self, item_ids: Iterable[str]) -> list[str]:
        """Those of no popularity, in their order."""
        of_model, of_stream = self._model.popularities.get, self._statistics.popularities.get
        return [one for one in item_ids if not (of_model(one) or of_stream(one))]


def _loaded(version: str, raw: bytes) -> _Loaded | None:
    snapshot = decode(raw)
    if snapshot is None:
        return None
    popular = _best_first(snapshot, snapshot.column("views") + ORDER_TREND * snapshot.column("purchases"))
    trending = _best_first(snapshot, snapshot.column("trend"))
    places = {i: n for n, i in enumerate(snapshot.item_ids)}
    return _Loaded(version, snapshot, places, popular, dict(popular), trending, dict(trending))


def _best_first(snapshot: Snapshot, worth: Floats) -> list[tuple[str, float]]:
    known = [(i, score) for i, score in zip(snapshot.item_ids, worth.tolist(), strict=True) if score > 0]
    return sorted(known, key=lambda one: (-one[1], one[0]))
