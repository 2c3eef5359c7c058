"""The models' part of a worker: what is released scores, what is tried runs beside it, new items get vectors, and lists
are made anew.
"""

from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from features.catalog_store import CatalogStore
from infra.metrics import Metrics
from infra.redis import address
from infra.settings import Settings
from models.release import released
from models.shadow import shadowed
from streams.derived import Scoring
from streams.in_service import ReleaseFollower, Releases
from streams.new_item_vectors import ArtifactVectors
from streams.new_items import NewItems
from streams.pipeline import Pipeline
from streams.rescoring import Rescoring
from streams.shadow_counts import ShadowCounts
from streams.shadowing import ShadowFollower, Trials
from streams.standstill import Standstill


class ModelSide:
    """Everything of one worker that depends on a model; `rescoring` makes the lists behind the live batches."""

    def __init__(
        self,
        settings: Settings,
        pipeline: Pipeline,
        redis: Redis,
        store: CatalogStore,
        vectors: ArtifactVectors,
        measured: Metrics,
        beside: Standstill,
    ) -> None:
        """`store` has the items, `vectors` makes those of new ones, `beside` holds the lists up in a pause."""
        models, where = settings.models_dir, address(settings.redis)
        self.rescoring = Rescoring(pipeline, measured, beside=beside)
        self._releases = ReleaseFollower(
            pipeline.derived, Releases(lambda: released(models), _load), self.rescoring.sweep, measured
        )
        self._new_items = NewItems(
            pipeline.derived, store, vectors, settings.tenant, settings.partition_count, measured, where=where
        )
        self._shadowing = ShadowFollower(
            pipeline,
            Trials(lambda: shadowed(models), lambda version: _load(models / version)),
            ShadowCounts(redis, where),
            measured,
        )

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What runs until the worker ends; each ends only by failing."""
        return self._releases.run(), self._shadowing.run(), self._new_items.run(), self.rescoring.run()

    async def load(self) -> None:
        """Before anything is read: events that are applied without the model would leave lists older than rows."""
        await self._releases.look()


def _load(artifact: Path) -> Scoring:
    # torch takes seconds to import: a worker that scores nothing yet does without it.
    import torch

    from models.artifact import Artifact
    from models.scorer import Scorer, opened

    torch.set_num_threads(1)  # a worker is for one core; threads that wait for each other take what others need
    scorer: Scoring = Scorer(opened(Artifact.open(artifact)))
    return scorer
