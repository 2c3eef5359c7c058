"""Full ranking: every item is ranked for every shopper of a split, ties counted half."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from rich.table import Table

from infra.errors import BadInput
from models.baselines import Ranker
from models.bootstrap import DRAWS, Difference, bounds, difference, draws_of
from models.interactions import Floats, Interactions, Ints
from models.ranking import Found, lines_of, places_of, top

BATCH: Final = 64
K: Final = 20
TASKS: Final = ("all", "new")
METRICS: Final = ("ndcg", "recall", "mrr")
_NOTHING: Final = np.empty(0, np.int64)
_Line = tuple[int, Ints, Floats, Ints]  # shopper, wanted, their places, the list


class Evaluation(msgspec.Struct, frozen=True):
    """One model: for each task the metrics of each shopper, [shoppers, 3] as `METRICS`.

    `all`: every purchase after the split. `new`: those of items the shopper had not bought before; bought ones are
    taken out of the ranking.

    Args:
        name: of the model.
        per_shopper: by task.
        found: by task, who was asked, the places of what was wanted, the lists; {}: not kept.
        k: length of the list.
        seed: of the model's fit; None: nothing is drawn in it.
        note: what a reader has to know.
    """

    name: str
    per_shopper: dict[str, Any]
    found: dict[str, Found] = {}
    k: int = K
    seed: int | None = None
    note: str = ""

    def mean(self, task: str, metric: str) -> float:
        """Over shoppers; 0 where there are none."""
        values = self.per_shopper[task]
        return float(values[:, METRICS.index(metric)].mean()) if len(values) else 0.0

    def means(self) -> dict[str, float]:
        """By `task/metric`, of the tasks that it was tested at."""
        tasks = [task for task in TASKS if task in self.per_shopper]
        return {f"{task}/{metric}": round(self.mean(task, metric), 5) for task in tasks for metric in METRICS}


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


def evaluate(
    rankers: Sequence[Ranker],
    truth: Truth,
    progress: Callable[[int], None],
    k: int = K,
    tasks: Sequence[str] = TASKS,
) -> list[Evaluation]:
    """Rank every item for every shopper of the truth, with every model.

    Args:
        rankers: the models.
        truth: what is to be found.
        progress: hears how many more shoppers are done.
        k: length of the list.
        tasks: of `TASKS`, those wanted.

    Raises:
        BadInput: a model gives a score that is no number (`score_not_a_number`).
    """
    asked: list[dict[str, list[_Line]]] = [{task: [] for task in tasks} for _ in rankers]
    for begin in range(0, len(truth.shoppers), BATCH):
        shoppers = truth.shoppers[begin : begin + BATCH]
        for ranker, lines in zip(rankers, asked, strict=True):
            _rank(_numbers(ranker, shoppers), shoppers, truth, lines, k)
        progress(len(shoppers))
    return [_evaluation(ranker, lines, k) for ranker, lines in zip(rankers, asked, strict=True)]


def merged(name: str, by_task: dict[str, Evaluation]) -> Evaluation:
    """One model that ranks each task in a way of its own, from the evaluation of each way."""
    some = next(iter(by_task.values()))
    return Evaluation(
        name,
        {task: one.per_shopper[task] for task, one in by_task.items()},
        {task: one.found[task] for task, one in by_task.items() if task in one.found},
        some.k,
        some.seed,
        some.note,
    )


def _numbers(ranker: Ranker, shoppers: Ints) -> Floats:
    scores = ranker.score(shoppers)
    if np.isnan(scores).any():
        raise BadInput(
            f"{ranker.name} gives scores that are no numbers, so nothing can be ranked by it: look for NaN in what it "
            "was fitted on",
            path=ranker.name,
            code="score_not_a_number",
        )
    return scores


def _rank(scores: Floats, shoppers: Ints, truth: Truth, lines: dict[str, list[_Line]], k: int) -> None:
    for shopper, row in zip(shoppers.tolist(), scores, strict=True):
        for task, told in lines.items():
            wanted = truth.wanted(shopper, task)
            if len(wanted):
                left = np.array(row, np.float32)
                silent = left.min()
                left[truth.barred(shopper, task)] = -np.inf
                told.append((shopper, wanted, places_of(left, wanted), top(left, k, silent)))


def _evaluation(ranker: Ranker, lines: dict[str, list[_Line]], k: int) -> Evaluation:
    found = {task: Found.of(told, k) for task, told in lines.items()}
    metrics = {task: lines_of(one, k) for task, one in found.items()}
    return Evaluation(ranker.name, metrics, found, k, ranker.seed, ranker.note)


def ranks(scores: Floats, items: Ints) -> Any:
    """0-based ranks of items, best 0 and in this order; items of one score share the middle of their places."""
    return np.sort(places_of(scores, items))


def interval(evaluation: Evaluation, task: str, metric: str, seed: int, draws: int = DRAWS) -> tuple[float, float]:
    """A 95 % bootstrap interval of the mean, over shoppers."""
    return bounds(draws_of(evaluation.per_shopper[task][:, [METRICS.index(metric)]], seed, draws)[:, 0])


def paired(one: Evaluation, other: Evaluation, task: str, metric: str, seed: int, draws: int = DRAWS) -> Difference:
    """one − other at the same shoppers: both have to come from one truth."""
    column = METRICS.index(metric)
    return difference(one.per_shopper[task][:, column], other.per_shopper[task][:, column], seed, draws)


def table(evaluations: Sequence[Evaluation], task: str, seed: int = 0) -> Table:
    """The models beside each other at one task, with 95 % of bootstrap draws over shoppers in brackets."""
    count = len(evaluations[0].per_shopper[task])
    what, barred = ("all purchases", "nothing") if task == "all" else ("items new to the shopper", "bought ones")
    title = f"{what}: {count:,} shoppers, full ranking, top {evaluations[0].k}, ties counted half, {barred} filtered"
    shown = Table(title=title, title_justify="left", title_style="")
    shown.add_column("model")
    for heading in ("NDCG", "", "recall", "MRR"):
        shown.add_column(heading, justify="right")
    for one in evaluations:
        low, high = interval(one, task, "ndcg", seed)
        means = [f"{one.mean(task, metric):.4f}" for metric in METRICS]
        shown.add_row(one.name, means[0], f"({low:.4f} to {high:.4f})", *means[1:])
    return shown


def _items_of(bought: Interactions) -> dict[int, Ints]:
    order = np.argsort(bought.shopper, kind="stable")
    shoppers, starts = np.unique(bought.shopper[order], return_index=True)
    parts = np.split(bought.item[order], starts)[1:]  # before the first start is nothing
    return {shopper: np.unique(part) for shopper, part in zip(shoppers.tolist(), parts, strict=True)}
