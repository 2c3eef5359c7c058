"""The towers' arithmetic stays on the device that they are on: torch's `meta` refuses to mix devices."""

import numpy as np
import pytest
import torch
from torch import nn

from models.batches import Batches
from models.fitting import Negatives, _losses
from models.interactions import Ints
from models.scorer import packed
from models.user_tower import UserTower
from tests.models.shops import SIDE
from tests.models.small_fit import WIDTH, learned_from

EXAMPLES = learned_from()
HISTORIES = packed(EXAMPLES.known, {f"i{row}": row for row in range(SIDE)})


class Elsewhere(nn.Module):
    """Stands for an item tower that is not on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(SIDE, WIDTH + 1, device="meta")

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.table(rows.to("meta"))
        return out

    def changed_since(self, at: Ints, rows: Ints) -> torch.Tensor:
        """Popularity of the time, where the tower is."""
        return torch.empty((len(at), rows.shape[-1]), device="meta")


def test_a_loss_is_counted_where_the_towers_are() -> None:
    rng = np.random.default_rng(1)
    batch = next(Batches(EXAMPLES, HISTORIES, 8, 2, rng))
    negatives = Negatives(np.ones(SIDE, np.int64), 16, rng)
    total, worth = _losses(Elsewhere(), UserTower(WIDTH).to("meta"), batch, negatives)
    assert (total.device.type, worth.device.type) == ("meta", "meta")


def test_both_ways_to_read_a_history_stay_there() -> None:
    users = UserTower(WIDTH).to("meta")
    vectors = torch.empty((*HISTORIES.items.shape, WIDTH + 1), device="meta")
    assert users(vectors, HISTORIES).device.type == "meta"
    facts = torch.zeros(len(HISTORIES.length), HISTORIES.items.shape[1] + 1, HISTORIES.facts.shape[1])
    assert users.everywhere(vectors, HISTORIES, facts).device.type == "meta"


def test_meta_refuses_to_mix_devices() -> None:
    with pytest.raises(RuntimeError):
        torch.ones(3, device="meta") + torch.ones(3)
