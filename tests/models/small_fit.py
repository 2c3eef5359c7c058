"""A fit of a second: shoppers of a checkerboard, several steps of each. As a program it keeps checkpoints."""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from features.shoppers import Interaction, State
from models.checkpoint import Checkpoints, Saved
from models.examples import Examples
from models.fitting import Options, fit
from models.item_features import ItemFeatures
from models.ranks import Ranks
from models.two_tower import ItemTower
from models.user_tower import UserTower
from tests.models.shops import DAY_MS, SIDE, colour_of

WIDTH = 8
STEPS = 15
OPTIONS = Options(width=WIDTH, batch=8, negatives=16, epochs=1.2, learning_rate=1e-2)


def options_of(dropout: str) -> Options:
    """The options; `none`: nothing is left out by chance, so that several processes do what one does."""
    return replace(OPTIONS, dropout=0.0, id_dropout=0.0) if dropout == "none" else OPTIONS


@dataclass
class Towers:
    """Two towers, and how they learned."""

    items: ItemTower
    users: UserTower
    losses: list[float]

    def same_as(self, other: "Towers") -> bool:
        """To the bit."""
        mine, theirs = ({**one.items.state_dict(), **one.users.state_dict()} for one in (self, other))
        same = all(torch.equal(value, theirs[name]) for name, value in mine.items())
        return same and self.losses == other.losses


def learned_from(seed: int = 1) -> Examples:
    """Five steps of each shopper, a purchase each, after different histories."""
    rng = np.random.default_rng(seed)
    known, bought, at = [], [], []
    for shopper in range(SIDE):
        met = rng.permutation(colour_of(shopper)).tolist()
        for step in range(5):
            known.append(
                State(
                    interactions=[Interaction(f"i{i}", "purchase", d * DAY_MS) for d, i in enumerate(met[: step + 1])]
                )
            )
            bought.append(np.array(met[step + 1 : step + 3], np.int64))
            at.append((step + 1) * DAY_MS)
    return Examples.apart(known, bought, np.array(at, np.int64))


def small_fit(
    progress: Callable[[int], None] = lambda more: None,
    saved: Saved | None = None,
    ranks: Ranks | None = None,
    options: Options = OPTIONS,
    examples: Examples | None = None,
) -> Towers:
    """Fit from the same beginning."""
    torch.manual_seed(options.seed)
    rows = np.arange(SIDE, dtype=np.int64)
    text = np.random.default_rng(1).normal(size=(SIDE, 6)).astype(np.float32)
    told = ItemFeatures(rows % 3, rows % 4, rows % 5, text, 3, 4)
    items = ItemTower(told, np.zeros(SIDE, np.float32), np.ones(SIDE), WIDTH, options.id_dropout)
    users = UserTower(WIDTH, options.dropout)
    index = {f"i{row}": row for row in range(SIDE)}
    counts = np.arange(SIDE, dtype=np.int64)
    losses = fit(items, users, examples or learned_from(), index, counts, options, progress, saved, ranks)
    return Towers(items, users, losses)


def main(folder: str) -> None:
    """Fit with a checkpoint after every second step; each step is a line, then the loss curve."""
    kept = Checkpoints(Path(folder), lambda: 0.0, lambda line: print(line, flush=True), every_steps=2)
    small_fit(lambda more: print(f"steps {more}", flush=True), kept.of("fitted"))
    print(kept.curve(), end="", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
