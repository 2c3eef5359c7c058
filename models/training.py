"""One training: fit on what came before, learn the fusion on the weeks after, fit again, test on the last weeks.

The order in time is: fitted | validation weeks (fusion weights) | test weeks (the table). The baselines of the table
are fitted on the same prefix as the model that is tested, and nothing looks at the test weeks.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import msgspec
import numpy as np
import torch

from infra.clock import DAY_MS
from infra.errors import BadInput
from models.baselines import Ranker
from models.beside import quick
from models.checkpoint import Checkpoints
from models.evaluation import TASKS, Evaluation, evaluate, merged
from models.examples import Examples, examples_of
from models.fitting import Options, fit, steps_of
from models.fusion import Weights, fuse
from models.fusion_weights import learn
from models.interactions import Floats, Interactions, Ints
from models.item_features import ItemFeatures
from models.popular_then import log_popularity, popular_then
from models.ranks import Ranks
from models.scorer import Fitted, Scorer
from models.sound import check_facts
from models.sources import Choice, Tables, chosen_on
from models.splits import Split, temporal
from models.states import StatesAt
from models.two_tower import ItemTower, all_vectors, factorised, without_history
from models.user_tower import UserTower

TEST_DAYS: Final = 28

PartsOf = Callable[[Ints], Mapping[str, Floats]]


class Phases(Protocol):
    """Who hears how far a training is."""

    def phase(self, name: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        """One phase; what it gives is called with how much more is done."""
        ...


@dataclass(frozen=True, slots=True)
class Means:
    """What a training is done with: where it keeps how far it is, and the processes that fit; None: nowhere, alone."""

    saved: Checkpoints | None = None
    ranks: Ranks | None = None


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves: the fitted model, the table, and the time that lies between the two."""

    fitted: Fitted
    evaluations: Sequence[Evaluation]
    fitted_before_ms: int
    tested_until_ms: int
    orders: int


@dataclass(frozen=True, slots=True)
class Data:
    """What a training reads: where shoppers are read as they were known, every purchase, the items' features.

    `happened` is what the towers learn from, of all kinds; None: purchases alone.
    """

    sources: StatesAt
    bought: Interactions
    items: ItemFeatures
    happened: Interactions | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """What a model is fitted on: the tables of what happened before a moment, the items, what the towers learn from.

    Ages are counted from the moment.
    """

    tables: Tables
    at_ms: int
    items: ItemFeatures
    examples: Examples

    @classmethod
    def of(cls, split: Split, items: ItemFeatures, examples: Examples) -> "Prefix":
        """That of a split; the examples are to be of it, too."""
        return cls(Tables(split.before), split.at_ms, items, examples)


def train(data: Data, options: Options, phases: Phases, means: Means | None = None) -> Trained:
    """The whole training.

    Raises:
        BadInput: too little history for two splits (`window_too_short`), or no shopper in it who came back
            (`nobody_came_back`), or a feature is no number (`feature_not_finite`).
    """
    bought = data.bought
    end = int(bought.at.max()) + 1
    test, validation = end - TEST_DAYS * DAY_MS, end - 2 * TEST_DAYS * DAY_MS
    if int(bought.at.min()) >= validation - TEST_DAYS * DAY_MS:
        raise BadInput(
            f"the archive holds less than {3 * TEST_DAYS} days of purchases: two splits and something to fit on need "
            "more; load more history",
            code="window_too_short",
        )
    with phases.phase("features joined", 0, "orders") as advance:
        steps = (data.happened or bought).before(test)
        examples = examples_of(data.sources, steps, options.seed, options.repeats_kept, options.examples)
        advance(len(examples.bought))
    check_facts(examples.facts)
    earlier = examples.before(validation)
    if not earlier.bought:
        raise BadInput(
            f"no shopper ordered a second time more than {2 * TEST_DAYS} days before the last purchase, so there is "
            "nothing to learn from; load more history",
            code="nobody_came_back",
        )
    early = temporal(bought, validation, test)
    choice, weights = learned(data.sources, early, data.items, earlier, options, phases, means=means)
    split = temporal(bought, test, end)
    prefix = Prefix.of(split, data.items, examples)
    final = fitted_on(prefix, choice, options, phases, "fitted", means)
    final = msgspec.structs.replace(final, weights=weights)
    evaluations = table_of(data.sources, final, bought, (test, end), phases)
    return Trained(final, evaluations, test, end, len(np.unique(bought.order)))


def learned(
    states: StatesAt,
    split: Split,
    items: ItemFeatures,
    examples: Examples,
    options: Options,
    phases: Phases,
    tasks: Sequence[str] = TASKS,
    means: Means | None = None,
) -> tuple[Choice, dict[str, Weights]]:
    """How the sources are made and how much each counts, learned on a validation split.

    Args:
        states: what was known of the shoppers at the split.
        split: the sources are fitted on its prefix and tried on what is to be found.
        items: their features.
        examples: of the prefix.
        options: how to fit.
        phases: who hears how far it is.
        tasks: for the others the weights of the first count.
        means: with what.
    """
    truth, prefix = split.truth, Prefix.of(split, items, examples)
    with phases.phase("sources chosen", 2, "sources") as advance:
        choice = chosen_on(prefix.tables, truth, split, options.seed, tasks, advance)
    fitted = fitted_on(prefix, choice, options, phases, "fitted for the weights", means)
    weights = {}
    with phases.phase("fusion weights learned", len(tasks), "tasks") as advance:
        parts_of = parts_at(states, Scorer(fitted), split.before, split.at_ms)
        for task in tasks:
            weights[task] = learn(parts_of, truth, task, options.seed, split.k)
            advance(1)
    return choice, {task: weights.get(task, weights[tasks[0]]) for task in TASKS}


def table_of(
    states: StatesAt,
    fitted: Fitted,
    bought: Interactions,
    weeks: tuple[int, int],
    phases: Phases,
    split: Split | None = None,
    beside: Sequence[Ranker] | None = None,
) -> list[Evaluation]:
    """The model beside the baselines on [begin, end) in ms; the baselines are fitted on what came before.

    Args:
        states: where shoppers are read as they were known at the begin.
        fitted: the model, fitted before the begin.
        bought: every purchase.
        weeks: begin and end.
        phases: who hears how far it is.
        split: whose prefix ends with the begin; None: the temporal one.
        beside: the baselines, fitted on the prefix; None: the quick ones.
    """
    begin = weeks[0]
    split = split or temporal(bought, *weeks)
    truth = split.truth
    parts_of = parts_at(states, Scorer(fitted), bought, begin)
    rankers = [
        *(quick(split.before, begin) if beside is None else beside),
        Ranker("tower alone", lambda shoppers: parts_of(shoppers)["tower"]),
        *(
            Ranker(task, lambda shoppers, task=task: fuse(parts_of(shoppers), fitted.weights[task]))  # type: ignore[misc]
            for task in TASKS
        ),
    ]
    with phases.phase("tested", len(truth.shoppers), "shoppers") as advance:
        *rows, every, new = evaluate(rankers, truth, advance, split.k)
    return [*rows, merged("fused", {"all": every, "new": new})]


def fitted_on(
    prefix: Prefix, choice: Choice, options: Options, phases: Phases, name: str, means: Means | None = None
) -> Fitted:
    """Both towers and the item-to-item scores; the tower alone counts.

    Args:
        prefix: what it is fitted on.
        choice: how the other sources are made.
        options: how to fit.
        phases: who hears how far it is.
        name: of the phase.
        means: with what.
    """
    torch.manual_seed(options.seed)
    tables, before, at_ms, examples = prefix.tables, prefix.tables.before, prefix.at_ms, prefix.examples
    index = {item_id: row for row, item_id in enumerate(before.items)}
    counts = np.bincount(before.item, minlength=len(before.items))
    popular = tables.popular(at_ms, choice.popular_half_life_days)
    then = popular_then(before, at_ms) if options.popular_then else None
    logs = then.logs[-1] if then else log_popularity(popular)
    tower = ItemTower(prefix.items, logs, counts > 0, options.width, options.id_dropout, then)
    tower.start_ids(factorised(before, at_ms, options.width, options.start_share))
    users = UserTower(options.width, options.dropout)
    with phases.phase(name, steps_of(examples, options), "steps") as advance:
        saved = means.saved.of(name) if means and means.saved else None
        fit(tower, users, examples, index, counts, options, advance, saved, means.ranks if means else None)
    with phases.phase("item-to-item scores", len(before.items), "items") as advance:
        neighbours, scores = tables.packed(choice.table)
        advance(len(before.items))
    return Fitted(
        version="in training",
        item_ids=list(before.items),
        vectors=all_vectors(tower, len(before.items)),
        popularity=popular,
        neighbours=neighbours,
        neighbour_scores=scores,
        candidates=_candidates(popular, counts, options.candidates),
        weights={task: Weights() for task in TASKS},
        recency=choice.recency,
        tower={name: value.detach().numpy() for name, value in users.state_dict().items()},
        cold=without_history(tower),
    )


def parts_at(states: StatesAt, scorer: Scorer, bought: Interactions, at_ms: int) -> PartsOf:
    """The sources' scores over all items, of shoppers as they were known at a moment; no candidate, no score.

    The last answer is kept: several models are made of the same parts.
    """
    known = states.at(bought.shoppers, [at_ms] * len(bought.shoppers))
    rows, size = scorer.candidate_rows, len(bought.items)
    kept: dict[bytes, Mapping[str, Floats]] = {}

    def parts_of(shoppers: Ints) -> Mapping[str, Floats]:
        asked = shoppers.tobytes()
        if asked not in kept:
            narrow = scorer.parts([known[shopper] for shopper in shoppers.tolist()], at_ms)
            kept.clear()
            kept[asked] = {name: _spread(part, rows, size) for name, part in narrow.items()}
        return kept[asked]

    return parts_of


def _spread(part: Floats, rows: Ints, size: int) -> Floats:
    """[shoppers, candidates] → [shoppers, items]; what is no candidate gets the least."""
    full = np.repeat(part.min(1, keepdims=True), size, axis=1).astype(np.float32)
    full[:, rows] = part
    return full


def _candidates(popular: Floats, counts: Ints, most: int) -> Any:
    """The items sold in the window, the most popular ones where they are too many."""
    sold = np.flatnonzero(counts > 0)
    best = sold[np.argsort(-popular[sold], kind="stable")[:most]]
    return np.sort(best).astype(np.int32)
