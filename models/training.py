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
from models.baselines import NEIGHBOURS, Ranker, decayed_counts, item_neighbours
from models.beside import quick
from models.dataset import HISTORY, Sources, states_before
from models.evaluation import TASKS, Evaluation, Truth, evaluate, merged
from models.fitting import Examples, Options, fit, steps_of
from models.fusion import Weights, fuse
from models.fusion_weights import learn
from models.interactions import Floats, Interactions, Ints
from models.item_features import ItemFeatures
from models.scorer import Fitted, Scorer
from models.splits import Split, temporal
from models.two_tower import ItemTower, all_vectors, factorised
from models.user_tower import UserTower

TEST_DAYS: Final = 28
POPULAR_HALF_LIFE_DAYS: Final = 30.0
MAX_EXAMPLES: Final = 40_000
MAX_CANDIDATES: Final = 20_000
REPEATS_KEPT: Final = 0.3
"""Share of the repeat purchases that are learned from: all of them would drown what is new to a shopper."""

PartsOf = Callable[[Ints], Mapping[str, Floats]]


class Phases(Protocol):
    """Who hears how far a training is."""

    def phase(self, name: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
        """One phase; what it gives is called with how much more is done."""
        ...


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
    """What a training reads: where shoppers are read as they were known, every purchase, the items' features."""

    sources: Sources
    bought: Interactions
    items: ItemFeatures


def train(data: Data, options: Options, phases: Phases) -> Trained:
    """The whole training.

    Raises:
        BadInput: too little history for two splits (`window_too_short`), or no shopper in it who came back
            (`nobody_came_back`).
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
        examples = _examples(data.sources, bought.before(test), options.seed)
        advance(len(examples.bought))
    earlier = examples.before(validation)
    if not earlier.bought:
        raise BadInput(
            f"no shopper ordered a second time more than {2 * TEST_DAYS} days before the last purchase, so there is "
            "nothing to learn from; load more history",
            code="nobody_came_back",
        )
    early = _fit(data, validation, earlier, options, phases, "fitted for the weights")
    with phases.phase("fusion weights learned", len(TASKS), "tasks") as advance:
        weights = _learned(data, early, (validation, test), options.seed, advance)
    final = _fit(data, test, examples, options, phases, "fitted")
    final = msgspec.structs.replace(final, weights=weights)
    evaluations = table_of(data.sources, final, bought, (test, end), phases)
    return Trained(final, evaluations, test, end, len(np.unique(bought.order)))


def table_of(
    sources: Sources,
    fitted: Fitted,
    bought: Interactions,
    weeks: tuple[int, int],
    phases: Phases,
    split: Split | None = None,
    beside: Sequence[Ranker] | None = None,
) -> list[Evaluation]:
    """The model beside the baselines on [begin, end) in ms; the baselines are fitted on what came before.

    Args:
        sources: where shoppers are read as they were known at the begin.
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
    parts_of = _parts(sources, Scorer(fitted), bought, begin)
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


def _fit(data: Data, at_ms: int, examples: Examples, options: Options, phases: Phases, name: str) -> Fitted:
    """Both towers and the item-to-item scores, from what happened before `at_ms`."""
    torch.manual_seed(options.seed)
    bought = data.bought.before(at_ms)
    index = {item_id: row for row, item_id in enumerate(bought.items)}
    counts = np.bincount(bought.item, minlength=len(bought.items))
    popular = decayed_counts(bought, at_ms, POPULAR_HALF_LIFE_DAYS)
    tower = ItemTower(data.items, _log_popularity(popular), counts > 0, options.width, options.id_dropout)
    tower.start_ids(factorised(bought, at_ms, options.width))
    users = UserTower(options.width)
    with phases.phase(name, steps_of(examples, options), "steps") as advance:
        fit(tower, users, examples, index, counts, options, advance)
    with phases.phase("item-to-item scores", len(bought.items), "items") as advance:
        neighbours, scores = _packed_neighbours(item_neighbours(bought))
        advance(len(bought.items))
    return Fitted(
        version="in training",
        item_ids=list(bought.items),
        vectors=all_vectors(tower, len(bought.items)),
        popularity=popular,
        neighbours=neighbours,
        neighbour_scores=scores,
        candidates=_candidates(popular, counts),
        weights={task: Weights() for task in TASKS},
        tower={name: value.detach().numpy() for name, value in users.state_dict().items()},
    )


def _examples(sources: Sources, bought: Interactions, seed: int) -> Examples:
    """Orders of shoppers who had a history before; as many as the bound allows, drawn evenly."""
    starts = np.flatnonzero(np.diff(bought.order, prepend=-1))
    first = np.searchsorted(bought.shopper, bought.shopper[starts])
    chosen = np.flatnonzero(starts > first)
    rng = np.random.default_rng(seed)
    if len(chosen) > MAX_EXAMPLES:
        chosen = np.sort(rng.choice(chosen, MAX_EXAMPLES, replace=False))
    ends = np.append(starts[1:], len(bought))
    kept = _first_time(bought) | (rng.random(len(bought)) < REPEATS_KEPT)
    spans = [slice(starts[one], ends[one]) for one in chosen.tolist() if kept[starts[one] : ends[one]].any()]
    if not spans:
        return Examples([], [], np.empty(0, np.int64))
    begins = np.array([span.start for span in spans], np.int64)
    shoppers = [bought.shoppers[row] for row in bought.shopper[begins].tolist()]
    known = states_before(sources, shoppers, bought.at[begins].tolist(), HISTORY)
    return Examples(known, [bought.item[span][kept[span]] for span in spans], bought.at[begins])


def _first_time(bought: Interactions) -> Any:
    """[rows]: whether the shopper had not bought the item before."""
    _, first = np.unique(bought.shopper * len(bought.items) + bought.item, return_index=True)
    new = np.zeros(len(bought), bool)
    new[first] = True
    return new


def _learned(
    data: Data, early: Fitted, weeks: tuple[int, int], seed: int, progress: Callable[[int], None]
) -> dict[str, Weights]:
    truth = Truth(data.bought.between(*weeks), data.bought.before(weeks[0]))
    parts_of = _parts(data.sources, Scorer(early), data.bought, weeks[0])
    weights = {}
    for task in TASKS:
        weights[task] = learn(parts_of, truth, task, seed)
        progress(1)
    return weights


def _parts(sources: Sources, scorer: Scorer, bought: Interactions, at_ms: int) -> PartsOf:
    """The sources' scores over all items, of shoppers as they were known at a moment; no candidate, no score.

    The last answer is kept: several models are made of the same parts.
    """
    states = states_before(sources, bought.shoppers, [at_ms] * len(bought.shoppers))
    rows, size = scorer.candidate_rows, len(bought.items)
    kept: dict[bytes, Mapping[str, Floats]] = {}

    def parts_of(shoppers: Ints) -> Mapping[str, Floats]:
        asked = shoppers.tobytes()
        if asked not in kept:
            narrow = scorer.parts([states[shopper] for shopper in shoppers.tolist()], at_ms)
            kept.clear()
            kept[asked] = {name: _spread(part, rows, size) for name, part in narrow.items()}
        return kept[asked]

    return parts_of


def _spread(part: Floats, rows: Ints, size: int) -> Floats:
    """[shoppers, candidates] → [shoppers, items]; what is no candidate gets the least."""
    full = np.repeat(part.min(1, keepdims=True), size, axis=1).astype(np.float32)
    full[:, rows] = part
    return full


def _log_popularity(popular: Floats) -> Floats:
    sold = popular[popular > 0]
    floor = 0.5 * float(np.percentile(sold, 5)) if len(sold) else 1.0
    logs = np.log(popular + floor)
    return np.asarray(logs - logs.mean(), np.float32)


def _candidates(popular: Floats, counts: Ints) -> Any:
    """The items sold in the window, the most popular ones where they are too many."""
    sold = np.flatnonzero(counts > 0)
    best = sold[np.argsort(-popular[sold], kind="stable")[:MAX_CANDIDATES]]
    return np.sort(best).astype(np.int32)


def _packed_neighbours(table: Any) -> tuple[Any, Floats]:
    """[items, 50] rows and scores, best first, -1 where there are no more."""
    size = table.shape[0]
    rows = np.full((size, NEIGHBOURS), -1, np.int32)
    scores = np.zeros((size, NEIGHBOURS), np.float32)
    row = np.repeat(np.arange(size), np.diff(table.indptr))
    order = np.lexsort((table.indices, -table.data, row))
    place = np.arange(len(order)) - table.indptr[row[order]]
    rows[row[order], place], scores[row[order], place] = table.indices[order], table.data[order]
    return rows, scores
