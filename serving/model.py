"""The released model in this process: what it knows of items. A new release is taken over while pages are
answered.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from infra.errors import ArtifactBroken, DaogouError
from infra.logs import logger
from infra.metrics import MODEL_RELEASED, MODEL_WAITS, Metrics

NO_MODEL: Final = "none"
MAX_SIMILAR: Final = 250
SIMILAR_KEPT: Final = 5_000  # items whose neighbours are kept
KEPT_EACH: Final = 100  # neighbours of each, twice what a page asks for; MAX_SIMILAR where a list asked for more
_LOOK_EVERY_S: Final = 1.0
_WARMED_WITH: Final = 20

_log = logger(__name__)


class Knowledge(Protocol):
    """What an artifact knows of items (`models.artifact.Artifact`)."""

    @property
    def version(self) -> str:
        """Its name."""
        ...

    @property
    def item_ids(self) -> Sequence[str]:
        """The items, in the order of `popularity`."""
        ...

    @property
    def popularity(self) -> Any:
        """Decayed, one number per item."""
        ...

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that go with it, best first."""
        ...

    def likeness(self, item_ids: Sequence[str]) -> Any:
        """[items, items]: cosines of their vectors."""
        ...


class Known:
    """Item-to-item neighbours and popularity of one artifact; of none: nothing."""

    def __init__(self, artifact: Knowledge | None = None, popular: Sequence[tuple[str, float]] = ()) -> None:
        """`popular`: all items of some popularity, best first."""
        self._artifact = artifact
        self._popular = popular
        self._popularity = dict(popular)
        self._similar: dict[str, tuple[int, Sequence[tuple[str, float]]]] = {}  # how many at most, and they

    @property
    def version(self) -> str:
        """Of the artifact; `none` where there is none."""
        return self._artifact.version if self._artifact else NO_MODEL

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """Items that go with it, best first."""
        if self._artifact is None:
            return ()
        most = KEPT_EACH if k <= KEPT_EACH else MAX_SIMILAR
        kept, found = self._similar.get(item_id, (0, ()))
        if kept < most:
            # Items of no neighbours are compared with all others, which takes milliseconds: once, not at each
            # page.
            if kept == 0 and len(self._similar) == SIMILAR_KEPT:
                self._similar.pop(next(iter(self._similar)))
            found = self._artifact.similar(item_id, most)
            self._similar[item_id] = most, found
        return found[:k]

    def likeness(self, item_ids: Sequence[str]) -> Any:
        """[items, items]: cosines of their vectors; None where there is no artifact."""
        return self._artifact.likeness(item_ids) if self._artifact else None

    def popular(self) -> Sequence[tuple[str, float]]:
        """All items of some popularity, best first."""
        return self._popular

    def popularity(self, item_id: str) -> float:
        """Decayed; 0 for what nobody bought or looked at."""
        return self._popularity.get(item_id, 0.0)

    @property
    def popularities(self) -> Mapping[str, float]:
        """Of all items of some popularity."""
        return self._popularity


_NOTHING: Final = Known()


class ModelInService:
    """What the release knows of items; nothing is known before the first one. The release before it is kept, for the
    shelves that are still of it.
    """

    def __init__(
        self,
        released: Callable[[], Path | None],
        open_artifact: Callable[[Path], Knowledge],
        metrics: Metrics,
    ) -> None:
        """`released` tells where the released artifact is, `open_artifact` reads it."""
        self._released = released
        self._open = open_artifact
        self._metrics = metrics
        self._path: Path | None = None  # in service
        self._broken: Path | None = None
        self._failed: tuple[Path | None, str] | None = None
        self._now = self._before = _NOTHING

    @property
    def version(self) -> str:
        """Of the release in service; `none` before the first."""
        return self._now.version

    def known_of(self, version: str) -> Known:
        """What one version knows. Of one that is neither in service nor was just before, nothing is known here: a
        worker may be faster than this process, and two models in one list would be worse than a list of one and a half.
        """
        return next((one for one in (self._now, self._before) if one.version == version), _NOTHING)

    @property
    def wanted(self) -> str | None:
        """The release that could not be taken into service; None when the one in service is the one wanted."""
        return None if self._failed is None else (self._failed[0].name if self._failed[0] else "unknown")

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        """As `Known.similar`, of the release in service."""
        return self._now.similar(item_id, k)

    def likeness(self, item_ids: Sequence[str]) -> Any:
        """As `Known.likeness`."""
        return self._now.likeness(item_ids)

    def popular(self) -> Sequence[tuple[str, float]]:
        """As `Known.popular`."""
        return self._now.popular()

    def popularity(self, item_id: str) -> float:
        """As `Known.popularity`."""
        return self._now.popularity(item_id)

    @property
    def popularities(self) -> Mapping[str, float]:
        """As `Known.popularities`."""
        return self._now.popularities

    async def look(self) -> bool:
        """Take over the release if it is another one; whether it was.

        Raises:
            ArtifactBroken: it is incomplete or altered; this one is not tried again.
            DaogouError, OSError: it cannot be read at the moment.
        """
        path: Path | None = None
        try:
            path = await asyncio.to_thread(self._released)
            if path == self._broken and path is not None:
                return False
            self._broken = None
            if path is None or path == self._path:
                self._note(None)
                return False
            await self._take_over(path)
        except Exception as error:
            if isinstance(error, ArtifactBroken):
                self._broken = path
            self._note((path, f"{type(error).__name__}: {error}"))
            raise
        self._note(None)
        return True

    async def try_to_look(self) -> None:
        """The same; a release that cannot be opened leaves the one before in service, and the log says why."""
        failed_before = self._failed
        try:
            await self.look()
        except (DaogouError, OSError) as error:
            if self._failed != failed_before:  # once, not each second
                _log.error("the released model cannot be opened", wanted=self.wanted, why=str(error))
        except Exception:  # an edge of the process: this loop has nobody above it
            if self._failed != failed_before:
                _log.exception("the released model cannot be opened", wanted=self.wanted)

    async def follow(self) -> None:
        """Look again and again until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            await self.try_to_look()

    async def _take_over(self, path: Path) -> None:
        before = self.version
        self._before, self._now = self._now, await asyncio.to_thread(self._take, path)
        self._path = path
        if before != NO_MODEL:
            self._metrics.set(MODEL_RELEASED, 0, version=before)
        self._metrics.set(MODEL_RELEASED, 1, version=self.version)
        _log.info("a model is in service", version=self.version)

    def _note(self, failed: tuple[Path | None, str] | None) -> None:
        self._failed = failed
        self._metrics.set(MODEL_WAITS, 0 if failed is None else 1)

    def _take(self, path: Path) -> Known:
        """In a thread: open it, and have it make what it makes at its first use."""
        artifact = self._open(path)
        for item_id in artifact.item_ids[:_WARMED_WITH]:
            artifact.similar(item_id, 1)
        scores = [float(score) for score in artifact.popularity]
        known = [(i, score) for i, score in zip(artifact.item_ids, scores, strict=True) if score > 0]
        return Known(artifact, sorted(known, key=lambda one: (-one[1], one[0])))
