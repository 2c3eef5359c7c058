"""Fitting the two towers: sampled softmax with negatives shared by the batch.

A batch is a number of steps of shoppers: each is predicted from what its shopper did before it. Steps of one history
are read in one pass. The negatives are drawn half evenly and half by popularity, and their scores corrected by the
logarithm of how often they are drawn (logQ: Bengio and Senécal, 2008; Yi et al., 2019). What a shopper turned away from
is made less likely (Welleck et al., 2020).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from infra.errors import Refused
from models.batches import Batch, Batches
from models.checkpoint import Saved, about_of
from models.course import Course
from models.examples import Examples
from models.interactions import Ints
from models.ranks import Alone, Ranks
from models.scorer import packed
from models.two_tower import ItemTower, rows_of
from models.user_tower import FACTS, Histories, UserTower

_MASKED: Final = -1e9


@dataclass(frozen=True, slots=True)
class Options:
    """How to fit. The learning rate follows one cycle: up over a tenth of the steps, then down.

    Ids begin with a factorisation of who bought what, so few epochs are needed. In a shop where the same things are
    bought again and again, more than one pass over the orders forgets what they say of items new to a shopper; where
    every step is a new item, ten and more pay. `batch` counts steps, `examples` bounds those that are learned from,
    `candidates` the items that lists are made of; `repeats_kept` is the share of what was met before that is learned
    from, `start_share` how long ids are at the start, `popular_share` how many negatives are drawn by popularity.
    `popular_then`: a step is learned with the popularity of its own day (`models.popular_then`), if times are real.
    """

    width: int = 64
    batch: int = 128
    negatives: int = 2048
    popular_share: float = 0.5
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
    popular_then: bool = True
    seed: int = 1


class Negatives:
    """Draws items, and knows the logarithm of how often each is drawn."""

    def __init__(self, counts: Ints, draws: int, rng: np.random.Generator, popular_share: float = 0.5) -> None:
        share = (1 - popular_share) / len(counts) + popular_share * counts / max(int(counts.sum()), 1)
        self._edges = np.cumsum(share) / share.sum()
        self._draws, self._rng = draws, rng
        self.log_expected = torch.from_numpy(np.log(share / share.sum() * draws).astype(np.float32))

    def draw(self) -> Ints:
        """Rows of items, with repetitions."""
        drawn = np.searchsorted(self._edges, self._rng.random(self._draws))
        return np.minimum(drawn, len(self._edges) - 1).astype(np.int64)


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
    saved: Saved | None = None,
    ranks: Ranks | None = None,
) -> list[float]:
    """Fit both towers in place.

    Args:
        items, users: the towers.
        examples: what to learn from.
        index: item id to row.
        counts: [items] how often each was bought.
        options: how.
        progress: hears how many more steps are done.
        saved: where states of the fit are kept, and gone on from.
        ranks: the processes that fit together; None: this one alone.

    Returns:
        The loss of each step.

    Raises:
        Refused: the loss is no number any more (`training_diverged`), or an end was asked for (`training_stopped`).
        Conflict: what is kept is the state of another training.
    """
    ranks = ranks or Alone()
    ranks.called(lambda: (items, users, examples, index, counts, options))
    histories = packed(examples.known, index)
    about = _about(items, examples, histories, counts, options, ranks) if saved else {}
    state = ranks.told(saved.latest(about) if saved else None)
    if state is not None:
        items.load_state_dict(state["items"])
        users.load_state_dict(state["users"])
    rng = np.random.default_rng(options.seed)
    negatives, batches = (
        Negatives(counts, options.negatives, rng, options.popular_share),
        Batches(examples, histories, options.batch, options.positives, rng),
    )
    steps = steps_of(examples, options)
    with ranks.watched(), ranks.spread(items) as parts:
        items.train().to(ranks.device)
        users.train().to(ranks.device)
        course = Course((items, users), batches, rng, ranks, parts)
        course.begun(options, steps, state)
        progress(len(course.losses))
        while len(course.losses) < steps:
            stopping, due = _step(items, users, negatives, batches, course, saved, ranks)
            progress(1)
            if stopping or due or (len(course.losses) == steps and ranks.told(saved is not None)):
                reached = course.state(about)
                if saved:
                    saved.keep(reached)
            if stopping:
                raise Refused(
                    f"stopped at step {len(course.losses):,} of {steps:,}, as asked; what is done is kept, and the "
                    "same command goes on from there",
                    code="training_stopped",
                )
    items.cpu()
    users.cpu()
    if saved:
        saved.done(course.losses)
    return course.losses


def _step(
    items: ItemTower,
    users: UserTower,
    negatives: Negatives,
    batches: Batches,
    course: Course,
    saved: Saved | None,
    ranks: Ranks,
) -> tuple[bool, bool]:
    """One step; whether an end was asked for, and whether the state is to be kept, by any rank."""
    total, worth = _losses(items, users, next(batches).part(ranks.rank, ranks.size), negatives)
    asked = [float(saved.stopping()), float(saved.due())] if saved else [0.0, 0.0]
    of_all = ranks.summed(torch.cat([torch.stack([total.detach(), worth]), torch.tensor(asked, device=worth.device)]))
    value = float(of_all[0] / of_all[1])
    if not math.isfinite(value):
        raise Refused(
            f"the loss is {value} at step {len(course.losses) + 1}: lower the learning rate, or look for odd prices",
            code="training_diverged",
        )
    course.optimizer.zero_grad()
    (total / of_all[1] * ranks.size).backward()  # type: ignore[no-untyped-call]
    ranks.averaged(list(users.parameters()) + list(items.text.parameters()))
    course.stepped()
    course.losses.append(value)
    return bool(of_all[2]), bool(of_all[3])


def _about(
    items: ItemTower, examples: Examples, histories: Histories, counts: Ints, options: Options, ranks: Ranks
) -> dict[str, str]:
    bought = [np.concatenate([np.zeros(0, np.int64), *examples.bought]), [len(one) for one in examples.bought]]
    buffers = [buffer.numpy(force=True) for buffer in items.buffers()]
    learned = (examples.row, examples.back, examples.worth, examples.facts)
    return about_of(options, ranks.size, ranks.device.type, *histories, *learned, *bought, counts, *buffers)


def _loss(items: ItemTower, users: UserTower, batch: Batch, negatives: Negatives) -> Tensor:
    total, worth = _losses(items, users, batch, negatives)
    return total / worth


def _losses(items: ItemTower, users: UserTower, batch: Batch, negatives: Negatives) -> tuple[Tensor, Tensor]:
    """The sum of what is lost, and of how much it counts."""
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
    wrong = asked @ vectors[second:].T - negatives.log_expected[rows_of(drawn)].to(asked.device)
    for_right, for_wrong = (items.changed_since(batch.at, rows) for rows in (np.maximum(wanted, 0), drawn))
    if for_right is not None and for_wrong is not None:
        right, wrong = right + asked[:, -1:] * for_right, wrong + asked[:, -1:] * for_wrong
    hits = _hits(wanted, len(distinct), places[second:], places[first:second])
    rest = torch.logsumexp(wrong.index_put(hits, torch.tensor(_MASKED)), 1, keepdim=True)
    worth = torch.from_numpy(np.where(wanted >= 0, batch.worth[:, None], 0).astype(np.float32)).to(right.device)
    # Of what is liked the share is to be 1, of what is not it is to be 0.
    missed = torch.logaddexp(right, rest) - torch.where(worth < 0, rest, right)
    return (missed * worth.abs()).sum(), worth.abs().sum()


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
