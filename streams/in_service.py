"""Which model scores: the worker follows the release pointer, and keeps the model it has where the new one cannot
be used.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from infra import metrics
from infra.errors import ArtifactBroken
from infra.logs import logger
from infra.metrics import Metrics
from streams.derived import Derived, Scoring

_log = logger(__name__)

POLL_S: Final = 1.0
# After a failure the next looks are left out, twice as many each time up to these: loading takes seconds.
_MOST_LEFT_OUT: Final = 64


@dataclass(frozen=True, slots=True)
class Releases:
    """Where models come from: the artifact released now, and how one is loaded. Both run in threads."""

    released: Callable[[], Path | None]
    load: Callable[[Path], Scoring]


class ReleaseFollower:
    """Puts the released model into service; `changed` is called after each change."""

    def __init__(self, derived: Derived, releases: Releases, changed: Callable[[], None], measured: Metrics) -> None:
        self._derived = derived
        self._releases = releases
        self._changed = changed
        self._metrics = measured
        self._in_service: Path | None = None
        self._broken: Path | None = None
        self._failures = 0
        self._left_out = 0

    async def run(self, every_s: float = POLL_S) -> None:
        """Take the released model over whenever it changes, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(every_s)

    async def look(self) -> None:
        """Load the released model if it is another one. One that cannot be loaded now is tried again later; an
        artifact that is broken stays so until another is released.
        """
        if self._left_out:
            self._left_out -= 1
            return
        try:
            artifact = await asyncio.to_thread(self._releases.released)
        except (ArtifactBroken, OSError) as error:
            self._failed("the release pointer cannot be read", error)
            return
        if artifact is None or artifact == self._in_service:
            self._broken, self._failures = None, 0
            self._metrics.set(metrics.MODEL_WAITS, 0)
        elif artifact != self._broken:
            await self._take_over(artifact)

    async def _take_over(self, artifact: Path) -> None:
        try:
            scorer = await asyncio.to_thread(self._releases.load, artifact)
        except ArtifactBroken as error:
            self._broken, self._failures = artifact, 0
            self._metrics.set(metrics.MODEL_WAITS, 1)
            _log.error("the released model cannot be used", artifact=artifact.name, why=error.message)
        except Exception as error:  # the model in service is better than a worker that starts again and again
            self._failed("the released model cannot be loaded", error)
        else:
            if self._derived.scorer is not None:
                self._metrics.set(metrics.MODEL_RELEASED, 0, version=self._derived.scorer.version)
            self._derived.scorer = scorer
            self._in_service, self._broken, self._failures = artifact, None, 0
            self._metrics.set(metrics.MODEL_WAITS, 0)
            self._metrics.set(metrics.MODEL_RELEASED, 1, version=scorer.version)
            _log.info("scoring with a released model", version=scorer.version)
            self._changed()

    def _failed(self, what: str, error: Exception) -> None:
        self._metrics.set(metrics.MODEL_WAITS, 1)
        self._left_out = min(2**self._failures - 1, _MOST_LEFT_OUT)
        self._failures = min(self._failures + 1, _MOST_LEFT_OUT)
        expected = isinstance(error, ArtifactBroken | OSError)
        why = f"{type(error).__name__}: {error}"
        _log.error(what, tried_again_after_looks=self._left_out + 1, why=why, exc_info=None if expected else error)
