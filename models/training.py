"""One training: fit on what came before, learn the fusion on the weeks after, fit again, test on the last weeks.

The order in time is: fitted | validation weeks (fusion weights) | test weeks (the table). The baselines of the table
are fitted on the same prefix as the model that is tested, and nothing looks at the test weeks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
import torch

from features.shoppers import State
from infra.errors import BadInput
from models.baselines import (
    DAY_MS,
    NEIGHBOURS,
    Ranker,
    decayed_counts,
    decayed_popularity,
    item_neighbours,
    own_repeats,
    popularity,
    recency_item_knn,
)
from models.dataset import Sources, states_before
from models.evaluation import Evaluation, Truth, evaluate
from models.fitting import Examples, Options, fit
from models.fusion import Weights, fuse, learn
from models.interactions import Floats, Interactions, Ints
from models.item_features import ItemFeatures
from models.scorer import Fitted, Scorer
from models.two_tower import ItemTower, all_vectors, factorised
from models.user_tower import UserTower

TEST_DAYS: Final = 28
POPULAR_HALF_LIFE_DAYS: Final = 30.0
MAX_EXAMPLES: Final = 40_000
MAX_CANDIDATES: Final = 40_000


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training leaves: the arrays of the artifact, the fusion weights by task, the table."""

    fitted: Fitted
    evaluations: Sequence[Evaluation]
    fitted_before_ms: int
    tested_until_ms: int
    events: int


class Steps(msgspec.Struct, frozen=True):
    """Who hears how far a training is: `stage` begins one, `step` is (done, of all, loss)."""

    stage: Callable[[str], None]
    step: Callable[[int, int, float], None]


def train(sources: Sources, bought: Interactions, items: ItemFeatures, options: Options, steps: Steps) -> Trained:
    """The whole training.

    Args:
        sources: where shoppers are read as they were known.
        bought: every purchase.
        items: features of the items of `bought`.
        options: how to fit, and the seed.
        steps: who hears.

    Raises:
        BadInput: too little history for two splits (`window_too_short`).
    """
    end = int(bought.at.max()) + 1
    test, validation = end - TEST_DAYS * DAY_MS, end - 2 * TEST_DAYS * DAY_MS
    if int(bought.at.min()) >= validation - TEST_DAYS * DAY_MS:
        raise BadInput(
            f"the archive holds less than {3 * TEST_DAYS} days of purchases: two splits and something to fit on need "
            "more; load more history",
            code="window_too_short",
        )
    steps.stage("fit for the fusion weights")
    early = _fit(sources, bought.before(validation), items, validation, options, steps)
    steps.stage("learn the fusion weights")
    weights = _learned(sources, early, bought, validation, test, options.seed)
    steps.stage("fit")
    final = msgspec.structs.replace(_fit(sources, bought.before(test), items, test, options, steps), weights=weights)
    steps.stage("test")
    evaluations = _table(sources, final, bought, test, end)
    return Trained(final, evaluations, test, end, len(np.unique(bought.order)))


def _fit(
    sources: Sources, bought: Interactions, items: ItemFeatures, at_ms: int, options: Options, steps: Steps
) -> Fitted:
    """Both towers and the item-to-item scores, from what happened before `at_ms`."""
    torch.manual_seed(options.seed)
    index = {item_id: row for row, item_id in enumerate(bought.items)}
    counts = np.bincount(bought.item, minlength=len(bought.items))
    popular = decayed_counts(bought, at_ms, POPULAR_HALF_LIFE_DAYS)
    log_popular = _log_popularity(popular)
    tower = ItemTower(items, log_popular, counts > 0, options.width, options.id_dropout)
    tower.start_ids(factorised(bought, at_ms, options.width))
    users = UserTower(options.width)
    examples = _examples(sources, bought, options.seed)
    fit(tower, users, examples, index, counts, options, steps.step)
    neighbours, scores = _packed_neighbours(item_neighbours(bought))
    return Fitted(
        version="in training",
        item_ids=list(bought.items),
        vectors=all_vectors(tower, len(bought.items)),
        popularity=popular,
        neighbours=neighbours,
        neighbour_scores=scores,
        candidates=_candidates(popular, counts),
        weights={"all": Weights(), "new": Weights()},
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
    shoppers = [bought.shoppers[row] for row in bought.shopper[starts[chosen]].tolist()]
    before = states_before(sources, shoppers, bought.at[starts[chosen]].tolist())
    return Examples(before, [bought.item[starts[one] : ends[one]] for one in chosen.tolist()])


def _learned(
    sources: Sources, early: Fitted, bought: Interactions, begin: int, end: int, seed: int
) -> dict[str, Weights]:
    truth = Truth(bought.between(begin, end), bought.before(begin))
    parts_of = _parts(sources, Scorer(early), bought, begin)
    return {task: learn(parts_of, truth, task, seed) for task in ("all", "new")}


def _table(sources: Sources, final: Fitted, bought: Interactions, begin: int, end: int) -> list[Evaluation]:
    before = bought.before(begin)
    truth = Truth(bought.between(begin, end), before)
    parts_of = _parts(sources, Scorer(final), bought, begin)
    rankers = [
        popularity(before),
        decayed_popularity(before, begin),
        own_repeats(before, begin),
        recency_item_knn(before),
        Ranker("tower alone", lambda shoppers: parts_of(shoppers)["tower"]),
    ]
    rows = [evaluate(ranker.name, ranker.score, truth) for ranker in rankers]
    by_task = {
        task: evaluate("fused", lambda shoppers, w=weights: fuse(parts_of(shoppers), w), truth)
        for task, weights in final.weights.items()
    }
    fused = Evaluation("fused", {task: by_task[task].per_shopper[task] for task in by_task})
    return [*rows, fused]


def _parts(
    sources: Sources, scorer: Scorer, bought: Interactions, at_ms: int
) -> Callable[[Ints], Mapping[str, Floats]]:
    """The sources' scores over all items, of shoppers as they were known at a moment; no candidate, no score."""
    known: dict[int, State] = {}
    rows, size = scorer.candidate_rows, len(bought.items)

    def parts_of(shoppers: Ints) -> Mapping[str, Floats]:
        missing = [shopper for shopper in shoppers.tolist() if shopper not in known]
        if missing:
            names = [bought.shoppers[shopper] for shopper in range(len(bought.shoppers))]
            found = states_before(sources, names, [at_ms] * len(names))
            known.update(enumerate(found))
        narrow = scorer.parts([known[shopper] for shopper in shoppers.tolist()], at_ms)
        wide = {}
        for name, part in narrow.items():
            full = np.repeat(part.min(1, keepdims=True), size, axis=1).astype(np.float32)
            full[:, rows] = part
            wide[name] = full
        return wide

    return parts_of


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
