"""Two models that can be told apart by every item of their lists, and a third one that is broken."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
import torch

from models.artifact import FORMAT, NEIGHBOURS, Manifest, write
from models.fusion import Weights
from models.gate import MODEL
from models.user_tower import UserTower

EACH: Final = 60
WIDTH: Final = 16
A, B, BROKEN, WORSE = "20261101-000000", "20261102-000000", "20261103-000000", "20261104-000000"
LETTER: Final = {A: "a", B: "b", BROKEN: "b", WORSE: "b"}
ITEMS: Final = [f"{letter}{number:02}" for letter in "ab" for number in range(EACH)]
"""Both models know all of them, and each recommends those of its letter."""


def written(models_dir: Path, version: str, seed: int) -> None:
    """An artifact with weights at random, whose candidates, neighbours and popular items are those of its letter."""
    rng = np.random.default_rng(seed)
    mine = np.array([row for row, item in enumerate(ITEMS) if item[0] == LETTER[version]], np.int32)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tower = UserTower(WIDTH)
        for parameter in tower.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    popularity = np.zeros(len(ITEMS), np.float32)
    popularity[mine] = rng.random(EACH) + 1
    neighbours = np.stack([rng.permutation(mine)[:NEIGHBOURS] for _ in ITEMS]).astype(np.int32)
    arrays = {
        "vectors": rng.normal(size=(len(ITEMS), WIDTH + 1)).astype(np.float32),
        "popularity": popularity,
        "neighbours": neighbours,
        "neighbour_scores": np.sort(rng.random(neighbours.shape).astype(np.float32))[:, ::-1].copy(),
        "candidates": mine,
    }
    at = datetime(2026, 11, 1, tzinfo=UTC)
    manifest = Manifest(
        version=version,
        format=FORMAT,
        made_at=at,
        fitted_before=at,
        tested_until=at,
        events=0,
        code="proof",
        seed=seed,
        text_encoder="none",
        weights={task: Weights(1, 1, 1, 0) for task in ("new", "all")},
        metrics={MODEL: {"all/ndcg": 0.0}},
        shape={"items": len(ITEMS), "width": WIDTH},
        checksums={},
    )
    write(models_dir, manifest, arrays, {n: v.detach().numpy() for n, v in tower.state_dict().items()}, ITEMS)


def altered(models_dir: Path, version: str) -> None:
    """A byte of it is another one."""
    file = models_dir / version / "vectors.npy"
    raw = bytearray(file.read_bytes())
    raw[-1] ^= 1
    file.write_bytes(raw)
