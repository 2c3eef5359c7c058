"""The techniques that are in the model, each with the fit that leaves it out (`models_ablations`)."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
import numpy as np
import torch
from torch import nn

from models import fitting
from models.examples import Examples, examples_of
from models.fusion import Weights
from models.interactions import Floats, Ints
from models.item_features import ItemFeatures
from models.ranks import Alone
from models.scorer import Fitted
from models.sources import Choice, Tables
from models.states import FoldedStates
from models.training import Means, Prefix, fitted_on
from models.user_tower import UserTower
from tests.benchmarks.models import Said
from tests.benchmarks.models_data import DataSet


@dataclass(frozen=True, slots=True)
class Made:
    """The whole model, and what was chosen for it."""

    fitted: Fitted | None
    choice: Choice
    weights: dict[str, Weights]

    @property
    def whole(self) -> Fitted:
        """The fitted one, once it is fitted."""
        if self.fitted is None:
            raise ValueError("the whole model is fitted first")
        return self.fitted


Fit = Callable[[DataSet, Made, Said], Fitted]


class Prepared(Alone):
    """One process, which changes the user tower before the fit begins."""

    def __init__(self, prepare: Callable[[UserTower], None]) -> None:
        super().__init__()
        self._prepare = prepare

    def called(self, arguments: Callable[[], tuple[Any, ...]]) -> None:
        """The fit begins."""
        _, users, *_ = arguments()
        self._prepare(users)


def refitted(
    change: Callable[[DataSet], DataSet],
    steps: Callable[[Examples], Examples] = lambda all_: all_,
    means: Means | None = None,
) -> Fit:
    """The towers fitted anew on other data, with other options or from another user tower."""

    def fit(data: DataSet, made: Made, said: Said) -> Fitted:
        changed = change(data)
        prefix = Prefix.of(changed.test, changed.features, steps(examples_for(changed)))
        found = fitted_on(prefix, made.choice, changed.options, said, "fitted", means=means)
        return msgspec.structs.replace(found, weights=made.weights)

    return fit


def told(change: Callable[[Made], dict[str, object]]) -> Fit:
    """The same towers with other sources or weights beside them."""
    return lambda data, made, said: msgspec.structs.replace(made.whole, **change(made))


def no_source(name: str) -> Fit:
    """A source that counts nothing."""
    return told(
        lambda made: {
            "weights": {task: msgspec.structs.replace(one, **{name: 0.0}) for task, one in made.weights.items()}
        }
    )


def other_table(name: str) -> Fit:
    """Other neighbours."""

    def fit(data: DataSet, made: Made, said: Said) -> Fitted:
        rows, scores = Tables(data.test.before).packed(name)
        return msgspec.structs.replace(made.whole, neighbours=rows, neighbour_scores=scores)

    return fit


def without_text(data: DataSet) -> DataSet:
    """Items of which only their id is known."""
    items = data.features
    silent: Floats = np.zeros_like(items.text)
    return replace(
        data,
        features=ItemFeatures(items.category, items.brand, items.price, silent, items.categories, items.brands),
    )


def last_alone(all_: Examples) -> Examples:
    """Of each history its last step."""
    last = np.append(np.flatnonzero(np.diff(all_.row)), len(all_.row) - 1)
    return Examples(
        all_.known,
        all_.row[last],
        all_.back[last],
        [all_.bought[step] for step in last.tolist()],
        all_.worth[last],
        all_.facts[last],
        all_.at[last],
    )


def with_options(**changed: float) -> Fit:
    """Other options of the fit."""
    return refitted(lambda data: replace(data, options=replace(data.options, **changed)))


def silent(parts: Callable[[UserTower], Iterable[nn.Parameter]], value: float = 0.0) -> Fit:
    """Parts of the user tower that stay at one value."""

    def prepare(users: UserTower) -> None:
        for part in parts(users):
            nn.init.constant_(part, value)
            part.requires_grad_(False)

    return refitted(lambda same: same, means=Means(ranks=Prepared(prepare)))


def _copy_head(users: UserTower) -> Iterable[nn.Parameter]:
    # The softplus of a gate so low is nothing.
    nn.init.zeros_(users.copy_gate.weight).requires_grad_(False)
    return [users.copy_gate.get_parameter("bias")]


def _far(users: UserTower) -> Iterable[nn.Parameter]:
    return [users.copy_far, *(block.get_parameter("far") for block in users.blocks)]


class Uncorrected(fitting.Negatives):
    """Scores of what is drawn often are not held back."""

    def __init__(self, counts: Ints, draws: int, rng: np.random.Generator, popular_share: float = 0.5) -> None:
        super().__init__(counts, draws, rng, popular_share)
        self.log_expected = torch.full_like(self.log_expected, float(np.log(draws / len(counts))))


def uncorrected(data: DataSet, made: Made, said: Said) -> Fitted:
    """Without logQ. The fit has no option for that, and needs none."""
    with _instead("Negatives", Uncorrected):
        return refitted(lambda same: same)(data, made, said)


@contextmanager
def _instead(name: str, other: object) -> Iterator[None]:
    """In the block the fit uses something else of this name."""
    usual = getattr(fitting, name)
    setattr(fitting, name, other)
    try:
        yield
    finally:
        setattr(fitting, name, usual)


# Those that need no fit come first.
TECHNIQUES: Final[dict[str, Fit]] = {
    "the towers": no_source("tower"),
    "item-to-item scores": no_source("item_to_item"),
    "popularity as a source": no_source("popular"),
    "regression (neighbours by nearness instead)": other_table("near"),
    "recency (0.97 of the next newer one instead)": told(lambda made: {"recency": 0.97}),
    "the attributes of items": refitted(without_text),
    "the factorisation that ids begin with": with_options(start_share=0.0),
    "every step of a history (the last one alone)": refitted(lambda data: data, last_alone),
    "dropout": with_options(dropout=0.0),
    "many negatives (128 instead)": with_options(negatives=128),
    "popular ones among the negatives (all are drawn evenly)": with_options(popular_share=0.0),
    "logQ, the correction of negatives that are drawn often": uncorrected,
    "the copy head": silent(_copy_head, -100.0),
    "how far back a step is (biases)": silent(_far),
    "how long ago a step is (log time gaps)": silent(
        lambda users: [users.gap.get_parameter("weight"), users.ago, users.copy_ago]
    ),
}


def examples_for(data: DataSet, *, validation: bool = False) -> Examples:
    before = (data.validation if validation else data.test).before
    options = data.options
    return examples_of(FoldedStates(before), before, options.seed, options.repeats_kept, options.examples)
