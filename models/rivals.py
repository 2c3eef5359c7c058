"""A model of another training beside a candidate: over the candidate's items, so that both are asked the same."""

from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from infra.errors import ArtifactBroken
from models.artifact import Artifact
from models.scorer import Fitted, Scorer, opened

_UNLIKE: Final = (KeyError, IndexError, RuntimeError, TypeError, ValueError)
"""What numpy and torch raise when arrays or parameters are not those that this version asks for."""


def usable(artifact: Artifact) -> Fitted:
    """An artifact as this version scores with it.

    Raises:
        ArtifactBroken: its arrays or its tower are of another version's kind.
    """
    try:
        fitted = opened(artifact)
        Scorer(fitted)
    except (OSError, *_UNLIKE) as error:
        raise ArtifactBroken(
            f"{artifact.version} cannot be scored with by this version ({type(error).__name__}: {error}); train again"
        ) from None
    return fitted


def over(fitted: Fitted, items: Sequence[str]) -> Fitted:
    """A model with its arrays in the order of other items.

    Items that it does not know it never recommends; those that are not among `items` are gone from it.
    """
    place = {item_id: row for row, item_id in enumerate(items)}
    moved = np.array([place.get(item_id, -1) for item_id in fitted.item_ids], np.int64)
    old = np.flatnonzero(moved >= 0)
    new = moved[old]
    vectors = np.zeros((len(items), np.shape(fitted.vectors)[1]), np.float32)
    vectors[new] = np.asarray(fitted.vectors)[old]
    popularity = np.zeros(len(items), np.float32)
    popularity[new] = np.asarray(fitted.popularity)[old]
    width = np.shape(fitted.neighbours)[1]
    neighbours = np.full((len(items), width), -1, np.int32)
    others = np.asarray(fitted.neighbours)[old]
    neighbours[new] = np.where(others >= 0, moved[np.maximum(others, 0)], -1)
    scores = np.zeros((len(items), width), np.float32)
    scores[new] = np.where(neighbours[new] >= 0, np.asarray(fitted.neighbour_scores)[old], 0)
    candidates = moved[np.asarray(fitted.candidates, np.int64)]
    return msgspec.structs.replace(
        fitted,
        item_ids=list(items),
        vectors=vectors,
        popularity=popularity,
        neighbours=neighbours,
        neighbour_scores=scores,
        candidates=np.sort(candidates[candidates >= 0]).astype(np.int32),
    )
