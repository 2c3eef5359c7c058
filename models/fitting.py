"""Fitting the two towers: sampled softmax with negatives shared by the batch.

A batch is a number of orders; each is predicted from what its shopper did before it. The negatives are drawn half
evenly and half by popularity, and their scores corrected by the logarithm of how often they are drawn (logQ: Bengio
and Senécal, 2008; Yi et al., 2019).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from features.shoppers import State
from infra.errors import Refused
from models.interactions import Ints
from models.scorer import packed
from models.two_tower import ItemTower, rows_of
from models.user_tower import Histories, UserTower

_EVEN_SHARE: Final = 0.5
_MASKED: Final = -1e9


@dataclass(frozen=True, slots=True)
class Options:
    """How to fit. The learning rate follows one cycle: up over a tenth of the steps, then down.

    Ids begin with a factorisation of who bought what: more than one pass over the orders of a small shop forgets what
    they say of items new to a shopper.
    """

    width: int = 64
    batch: int = 256
    negatives: int = 2048
    positives: int = 8
    epochs: float = 0.6
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    id_dropout: float = 0.3
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Examples:
    """Orders to learn from: the shopper just before each, the rows of the items bought, and when, in ms."""

    known: Sequence[State]
    bought: Sequence[Ints]
    at: Ints

    def before(self, at_ms: int) -> "Examples":
        """The orders before a moment."""
        chosen = np.flatnonzero(self.at < at_ms).tolist()
        return Examples([self.known[row] for row in chosen], [self.bought[row] for row in chosen], self.at[chosen])


class Negatives:
    """Draws items, and knows the logarithm of how often each is drawn."""

    def __init__(self, counts: Ints, draws: int, rng: np.random.Generator) -> None:
        share = _EVEN_SHARE / len(counts) + (1 - _EVEN_SHARE) * counts / max(int(counts.sum()), 1)
        self._edges = np.cumsum(share) / share.sum()
        self._draws, self._rng = draws, rng
        self.log_expected = torch.from_numpy(np.log(share / share.sum() * draws).astype(np.float32))

    def draw(self) -> Ints:
        """Rows of items, with repetitions."""
        drawn = np.searchsorted(self._edges, self._rng.random(self._draws))
        return np.minimum(drawn, len(self._edges) - 1).astype(np.int64)


def steps_of(examples: Examples, options: Options) -> int:
    """How many steps a fit takes."""
    return max(1, math.ceil(options.epochs * len(examples.bought) / options.batch))


def fit(
    items: ItemTower,
    users: UserTower,
    examples: Examples,
    index: dict[str, int],
    counts: Ints,
    options: Options,
    progress: Callable[[int], None],
) -> None:
    """Fit both towers in place.

    Args:
        items, users: the towers.
        examples: what to learn from.
        index: item id to row.
        counts: [items] how often each was bought.
        options: how.
        progress: hears how many more steps are done.

    Raises:
        Refused: the loss is no number any more (`training_diverged`).
    """
    rng = np.random.default_rng(options.seed)
    histories = packed(examples.known, index)
    negatives = Negatives(counts, options.negatives, rng)
    steps = steps_of(examples, options)
    parameters = [*items.parameters(), *users.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps + 1, pct_start=0.1
    )
    items.train()
    users.train()
    order: list[int] = []
    for step in range(1, steps + 1):
        while len(order) < options.batch:
            order += rng.permutation(len(examples.bought)).tolist()
        batch, order = np.array(order[: options.batch]), order[options.batch :]
        positives = np.stack([_some(examples.bought[at], options.positives, rng) for at in batch])
        shoppers = Histories(*(part[batch] for part in histories))
        loss = _loss(items, users, shoppers, positives, negatives)
        if not math.isfinite(value := float(loss.detach())):
            raise Refused(
                f"the loss is {value} at step {step}: lower the learning rate, or look for odd prices",
                code="training_diverged",
            )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        progress(1)


def _loss(items: ItemTower, users: UserTower, shoppers: Histories, positives: Ints, negatives: Negatives) -> Tensor:
    drawn = negatives.draw()
    wanted = np.concatenate([shoppers.items.ravel(), np.maximum(positives, 0).ravel(), drawn])
    distinct, places = np.unique(wanted, return_inverse=True)
    vectors = items(rows_of(distinct))[rows_of(places)]
    first, second = shoppers.items.size, shoppers.items.size + positives.size
    width = vectors.shape[1]
    asked = users(vectors[:first].view(*shoppers.items.shape, width), shoppers)
    right = (asked[:, None] * vectors[first:second].view(*positives.shape, width)).sum(-1)
    wrong = asked @ vectors[second:].T - negatives.log_expected[rows_of(drawn)]
    hits = (torch.from_numpy(positives)[:, :, None] == torch.from_numpy(drawn)).any(1)
    rest = torch.logsumexp(wrong.masked_fill(hits, _MASKED), 1, keepdim=True)
    real = torch.from_numpy((positives >= 0).astype(np.float32))
    loss: Tensor = ((torch.logaddexp(right, rest) - right) * real).sum() / real.sum()
    return loss


def _some(bought: Ints, most: int, rng: np.random.Generator) -> Ints:
    """At most so many of an order's items, filled up with -1."""
    out = np.full(most, -1, dtype=np.int64)
    chosen = bought if len(bought) <= most else rng.choice(bought, most, replace=False)
    out[: len(chosen)] = chosen
    return out
