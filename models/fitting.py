"""Fitting the two towers: sampled softmax with negatives shared by the batch.

A batch is a number of steps of shoppers: each is predicted from what its shopper did before it. Steps of one history
are read in one pass. The negatives are drawn half evenly and half by popularity, and their scores corrected by the
logarithm of how often they are drawn (logQ: Bengio and Senécal, 2008; Yi et al., 2019). What a shopper turned away from
is made less likely (Welleck et al., 2020).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from infra.errors import Refused
from models.examples import Examples
from models.interactions import Ints
from models.scorer import packed
from models.two_tower import ItemTower, rows_of
from models.user_tower import FACTS, Histories, UserTower

_EVEN_SHARE: Final = 0.5
_MASKED: Final = -1e9
_SORTED: Final = 16  # batches that are cut from histories sorted by length: little is padded


@dataclass(frozen=True, slots=True)
class Options:
    """How to fit. The learning rate follows one cycle: up over a tenth of the steps, then down.

    Ids begin with a factorisation of who bought what, so few epochs are needed. In a shop where the same things are
    bought again and again, more than one pass over the orders forgets what they say of items new to a shopper; where
    every step is a new item, ten and more pay. `batch` counts steps, `examples` bounds those that are learned from,
    `candidates` the items that lists are made of; `repeats_kept` is the share of what was met before that is learned
    from, `start_share` how long ids are at the start.
    """

    width: int = 64
    batch: int = 256
    negatives: int = 2048
    positives: int = 8
    epochs: float = 0.6
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    id_dropout: float = 0.3
    dropout: float = 0.1
    repeats_kept: float = 0.3
    examples: int = 40_000
    candidates: int = 20_000
    start_share: float = 0.15
    seed: int = 1


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


@dataclass(frozen=True, slots=True)
class Batch:
    """Some histories, and for steps of them what is asked: [steps, ...]; -1 in `wanted` is none."""

    shoppers: Histories
    row: Ints
    place: Ints
    facts: Any
    wanted: Ints
    worth: Any


def steps_of(examples: Examples, options: Options) -> int:
    """How many steps of the optimizer a fit takes."""
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
    negatives = Negatives(counts, options.negatives, rng)
    steps = steps_of(examples, options)
    parameters = [*items.parameters(), *users.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=options.learning_rate, weight_decay=options.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.learning_rate, total_steps=steps + 1, pct_start=0.1
    )
    items.train()
    users.train()
    batches = _batches(examples, packed(examples.known, index), options, rng)
    for step in range(1, steps + 1):
        loss = _loss(items, users, next(batches), negatives)
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


def _batches(examples: Examples, histories: Histories, options: Options, rng: np.random.Generator) -> Iterator[Batch]:
    """Without end: the histories in another order each time, those of like lengths together."""
    order = np.argsort(examples.row, kind="stable")
    ends = np.cumsum(np.bincount(examples.row, minlength=len(histories.length)))
    begins = np.append(0, ends)[:-1]
    group = max(1, round(options.batch * len(histories.length) / len(order)))
    while True:
        shuffled = rng.permutation(len(histories.length))
        chosen = []
        for begin in range(0, len(shuffled), group * _SORTED):
            some = shuffled[begin : begin + group * _SORTED]
            some = some[np.argsort(histories.length[some], kind="stable")]
            chosen += [some[at : at + group] for at in range(0, len(some), group)]
        for number in rng.permutation(len(chosen)).tolist():
            rows = chosen[number]
            steps = np.concatenate([order[begins[row] : ends[row]] for row in rows.tolist()])
            yield _batch(examples, histories, rows, steps, options, rng)


def _batch(
    examples: Examples, histories: Histories, rows: Ints, steps: Ints, options: Options, rng: np.random.Generator
) -> Batch:
    length = histories.length[rows]
    width = int(length.max(initial=0))
    items, kinds, ages = (part[rows, :width] for part in histories[:3])
    where = np.searchsorted(np.sort(rows), examples.row[steps])
    row = np.argsort(rows)[where]
    place = np.maximum(length[row] - examples.back[steps], 0)
    wanted = np.stack([_some(examples.bought[step], options.positives, rng) for step in steps.tolist()])
    shoppers = Histories(items, kinds, ages, length, histories.facts[rows])
    return Batch(shoppers, row, place, examples.facts[steps], wanted, examples.worth[steps])


def _loss(items: ItemTower, users: UserTower, batch: Batch, negatives: Negatives) -> Tensor:
    drawn, wanted = negatives.draw(), batch.wanted
    read = batch.shoppers.items
    distinct, places = np.unique(
        np.concatenate([read.ravel(), np.maximum(wanted, 0).ravel(), drawn]), return_inverse=True
    )
    vectors = items(rows_of(distinct))[rows_of(places)]
    first, second = read.size, read.size + wanted.size
    width = vectors.shape[1]
    asked = _asked(users, vectors[:first].view(*read.shape, width), batch)
    right = (asked[:, None] * vectors[first:second].view(*wanted.shape, width)).sum(-1)
    wrong = asked @ vectors[second:].T - negatives.log_expected[rows_of(drawn)]
    hits = _hits(wanted, len(distinct), places[second:], places[first:second])
    rest = torch.logsumexp(wrong.index_put(hits, torch.tensor(_MASKED)), 1, keepdim=True)
    worth = torch.from_numpy(np.where(wanted >= 0, batch.worth[:, None], 0).astype(np.float32))
    # Of what is liked the share is to be 1, of what is not it is to be 0.
    missed = torch.logaddexp(right, rest) - torch.where(worth < 0, rest, right)
    loss: Tensor = (missed * worth.abs()).sum() / worth.abs().sum()
    return loss


def _asked(users: UserTower, vectors: Tensor, batch: Batch) -> Tensor:
    """[steps, width + 1]"""
    shoppers = batch.shoppers
    if (batch.place == shoppers.length[batch.row]).all() and len(batch.row) == len(shoppers.length):
        back = np.argsort(batch.row)
        told = shoppers._replace(facts=batch.facts[back])
        return users(vectors, told)[rows_of(batch.row)]  # type: ignore[no-any-return]
    facts = np.zeros((*shoppers.items.shape, FACTS), np.float32)
    facts = np.concatenate([facts, facts[:, :1] if facts.shape[1] else np.zeros((len(facts), 1, FACTS), np.float32)], 1)
    facts[batch.row, batch.place] = batch.facts
    everywhere = users.everywhere(vectors, shoppers, torch.from_numpy(facts))
    return everywhere[rows_of(batch.row), rows_of(batch.place)]


def _hits(wanted: Ints, distinct: int, drawn_at: Ints, wanted_at: Ints) -> tuple[Tensor, Tensor]:
    """Where what was drawn is wanted: rows of steps, places of draws."""
    order = np.argsort(drawn_at, kind="stable")
    counts = np.bincount(drawn_at, minlength=distinct)
    begins = np.cumsum(counts) - counts
    real = wanted.ravel() >= 0
    rows = np.repeat(np.arange(len(wanted)), wanted.shape[1])[real]
    asked = wanted_at[real]
    many = counts[asked]
    within = np.arange(int(many.sum())) - np.repeat(np.cumsum(many) - many, many)
    return rows_of(np.repeat(rows, many)), rows_of(order[np.repeat(begins[asked], many) + within])


def _some(bought: Ints, most: int, rng: np.random.Generator) -> Ints:
    """At most so many of an order's items, filled up with -1."""
    out = np.full(most, -1, dtype=np.int64)
    chosen = bought if len(bought) <= most else rng.choice(bought, most, replace=False)
    out[: len(chosen)] = chosen
    return out
