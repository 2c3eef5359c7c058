"""Artifacts of a few items, written by hand and released."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from models import artifact, release
from models.artifact import NEIGHBOURS, Manifest

THEN = datetime(2026, 11, 1, tzinfo=UTC)
WIDTH = 4

Neighbours = Mapping[str, Sequence[tuple[str, float]]]


def released(models_dir: Path, version: str, similar: Neighbours, popularity: Mapping[str, float]) -> None:
    """Write an artifact that knows these neighbours and popularities, and put it into service."""
    ids = sorted(popularity.keys() | similar.keys() | {other for pairs in similar.values() for other, _ in pairs})
    rows = {item_id: row for row, item_id in enumerate(ids)}
    neighbours = np.full((len(ids), NEIGHBOURS), -1, np.int32)
    scores = np.zeros((len(ids), NEIGHBOURS), np.float32)
    for item_id, pairs in similar.items():
        for place, (other, score) in enumerate(pairs):
            neighbours[rows[item_id], place] = rows[other]
            scores[rows[item_id], place] = score
    arrays = {
        "vectors": np.eye(len(ids), WIDTH, dtype=np.float32) + 1,
        "popularity": np.array([popularity.get(item_id, 0.0) for item_id in ids], np.float32),
        "neighbours": neighbours,
        "neighbour_scores": scores,
        "candidates": np.arange(len(ids), dtype=np.int32),
    }
    artifact.write(models_dir, _manifest(version), arrays, {}, ids)
    release.release(models_dir, version, THEN, None, force="made by hand")


def _manifest(version: str) -> Manifest:
    return Manifest(
        version=version,
        format=artifact.FORMAT,
        made_at=THEN,
        fitted_before=THEN,
        tested_until=THEN,
        events=0,
        code="",
        seed=0,
        text_encoder="",
        weights={},
        metrics={"fused": {"all/ndcg": 0.5}},
        shape={},
        checksums={},
    )
