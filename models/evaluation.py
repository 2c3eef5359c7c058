"""Full ranking on a temporal split: every item is ranked for every shopper, ties counted half."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from rich.table import Table

from models.baselines import Ranker
from models.interactions import Floats, Interactions, Ints

BATCH: Final = 64
K: Final = 20
TASKS: Final = ("all", "new")
METRICS: Final = ("ndcg", "recall", "mrr")
_NOTHING: Final = np.empty(0, np.int64)
_Line = tuple[float, float, float]


class Evaluation(msgspec.Struct, frozen=True):
    """One model: for each task the metrics of each shopper, [shoppers, 3] as `METRICS`.

    `all`: every purchase after the split. `new`: those of items the shopper had not bought before; bought ones are
    taken out of the ranking.
    """

    name: str
    per_shopper: dict[str, Any]

    def mean(self, task: str, metric: str) -> float:
        """Over shoppers; 0 where there are none."""
        values = self.per_shopper[task]
        return float(values[:, METRICS.index(metric)].mean()) if len(values) else 0.0

    def means(self) -> dict[str, float]:
        """By `task/metric`."""
        return {f"{task}/{metric}": round(self.mean(task, metric), 5) for task in TASKS for metric in METRICS}


class Truth:
    """What the shoppers bought after the split, and what they had bought before."""

    def __init__(self, after: Interactions, before: Interactions) -> None:
        self.shoppers: Ints = np.unique(after.shopper)
        self.bought = _items_of(after)
        self.seen = _items_of(before)

    def wanted(self, shopper: int, task: str) -> Ints:
        """What is to be found for a shopper."""
        return self.bought[shopper] if task == "all" else np.setdiff1d(self.bought[shopper], self.barred(shopper, task))

    def barred(self, shopper: int, task: str) -> Ints:
        """What is taken out of the ranking."""
        return _NOTHING if task == "all" else self.seen.get(shopper, _NOTHING)


def evaluate(rankers: Sequence[Ranker], truth: Truth, progress: Callable[[int], None], k: int = K) -> list[Evaluation]:
    """Rank every item for every shopper of the truth, with every model.

    Args:
        rankers: the models.
        truth: what is to be found.
        progress: hears how many more shoppers are done.
        k: length of the list.
    """
    found: list[dict[str, list[_Line]]] = [{task: [] for task in TASKS} for _ in rankers]
    for begin in range(0, len(truth.shoppers), BATCH):
        shoppers = truth.shoppers[begin : begin + BATCH]
        for ranker, lines in zip(rankers, found, strict=True):
            _measure(ranker.score(shoppers), shoppers, truth, lines, k)
        progress(len(shoppers))
    return [
        Evaluation(ranker.name, {task: np.array(rows).reshape(-1, len(METRICS)) for task, rows in lines.items()})
        for ranker, lines in zip(rankers, found, strict=True)
    ]


def _measure(scores: Floats, shoppers: Ints, truth: Truth, lines: dict[str, list[_Line]], k: int) -> None:
    for shopper, row in zip(shoppers.tolist(), scores, strict=True):
        for task in TASKS:
            wanted = truth.wanted(shopper, task)
            if len(wanted):
                left = np.array(row, np.float32)
                left[truth.barred(shopper, task)] = -np.inf
                lines[task].append(_metrics(left, wanted, k))


def ranks(scores: Floats, items: Ints) -> Any:
    """0-based ranks of items, best 0; items of one score share the middle of their places."""
    ascending = np.sort(scores)
    above = len(ascending) - np.searchsorted(ascending, scores[items], side="right")
    through = len(ascending) - np.searchsorted(ascending, scores[items], side="left")
    return np.sort((above + through - 1) / 2)


def interval(evaluation: Evaluation, task: str, metric: str, seed: int, draws: int = 1000) -> tuple[float, float]:
    """A 95 % bootstrap interval of the mean, over shoppers."""
    values = evaluation.per_shopper[task][:, METRICS.index(metric)]
    if not len(values):
        return 0.0, 0.0
    chosen = np.random.default_rng(seed).integers(0, len(values), (draws, len(values)))
    low, high = np.percentile(values[chosen].mean(1), (2.5, 97.5))
    return float(low), float(high)


def table(evaluations: Sequence[Evaluation], task: str, seed: int = 0) -> Table:
    """The models beside each other at one task, with 95 % of bootstrap draws over shoppers in brackets."""
    count = len(evaluations[0].per_shopper[task])
    what = "all purchases" if task == "all" else "items new to the shopper"
    title = f"{what}: {count:,} shoppers, full ranking, top {K}, ties counted half"
    shown = Table(title=title, title_justify="left", title_style="")
    shown.add_column("model")
    for heading in ("NDCG", "", "recall", "MRR"):
        shown.add_column(heading, justify="right")
    for one in evaluations:
        low, high = interval(one, task, "ndcg", seed)
        means = [f"{one.mean(task, metric):.4f}" for metric in METRICS]
        shown.add_row(one.name, means[0], f"({low:.4f} to {high:.4f})", *means[1:])
    return shown


def _metrics(scores: Floats, bought: Ints, k: int) -> _Line:
    places = ranks(scores, bought)
    within = places[places < k][:k]  # a long tie lies within with more than the list can hold
    ideal = (1 / np.log2(np.arange(min(k, len(bought))) + 2)).sum()
    gained = (1 / np.log2(within + 2)).sum()
    return float(gained / ideal), len(within) / len(bought), float(1 / (places[0] + 1))


def _items_of(bought: Interactions) -> dict[int, Ints]:
    order = np.argsort(bought.shopper, kind="stable")
    shoppers, starts = np.unique(bought.shopper[order], return_index=True)
    parts = np.split(bought.item[order], starts)[1:]  # before the first start is nothing
    return {shopper: np.unique(part) for shopper, part in zip(shoppers.tolist(), parts, strict=True)}
