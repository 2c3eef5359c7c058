"""From states of shoppers to candidates: the user tower, fused with item-to-item, popularity and own repeats.

Needs torch, but neither TorchRec nor Feast: the item vectors are in the artifact.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from math import log1p
from threading import Lock
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import torch

from features.shoppers import State
from models.artifact import Artifact
from models.candidates import Candidates
from models.choosing import PARTS, Chooser, Speech
from models.cold_neighbours import Spoken, told_of
from models.dense import Dense, quickened
from models.fusion import Weights
from models.interactions import Floats, Ints
from models.item_to_item import RECENCY, ItemToItem
from models.own import FORMS, Repeats, form_name, left_of
from models.user_tower import FACTS, KINDS, Histories, UserTower, pack

# Shoppers scored together: the scores of more of them fall out of the processor's caches.
_AT_ONCE: Final = 32


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted model in memory; the arrays are those of `models.artifact`.

    `cold` is what the vector of an item without a history is made of (`models.cold`); only a training has it here.
    `told` and `told_scores` [items, 50 or fewer] are neighbours that came after the training, as `neighbours`.
    """

    version: str
    item_ids: list[str]
    vectors: Floats
    popularity: Floats
    neighbours: Any
    neighbour_scores: Floats
    candidates: Any
    weights: dict[str, Weights]
    recency: float = RECENCY
    tower: Mapping[str, Any]
    cold: Mapping[str, Any] | None = None
    told: Any = None
    told_scores: Any = None


def opened(artifact: Artifact) -> Fitted:
    """An artifact from disk, ready to score with."""
    return Fitted(
        version=artifact.version,
        item_ids=artifact.item_ids,
        vectors=artifact.vectors,
        popularity=artifact.popularity,
        neighbours=artifact.neighbours,
        neighbour_scores=artifact.neighbour_scores,
        candidates=artifact.candidates,
        weights=artifact.manifest.weights,
        recency=artifact.manifest.recency,
        tower=artifact.user_tower(),
    )


def extended(fitted: Fitted, item_ids: Sequence[str], vectors: Floats, spoken: Spoken | None = None) -> Fitted:
    """With more items, which are candidates, and which nobody bought yet.

    Args:
        fitted: a model that knows none of them.
        item_ids: the items.
        vectors: [items, width + 1].
        spoken: who speaks for them; None: nobody.
    """
    before, more = len(fitted.item_ids), len(item_ids)
    nobody = np.full((more, np.shape(fitted.neighbours)[1]), -1, np.int32)
    told, told_scores = told_of((fitted.told, fitted.told_scores), spoken, before, before + more)
    return msgspec.structs.replace(
        fitted,
        item_ids=[*fitted.item_ids, *item_ids],
        vectors=np.concatenate([fitted.vectors, np.asarray(vectors, np.float32)]),
        popularity=np.concatenate([fitted.popularity, np.zeros(more, np.asarray(fitted.popularity).dtype)]),
        neighbours=np.concatenate([fitted.neighbours, nobody]),
        neighbour_scores=np.concatenate([fitted.neighbour_scores, np.zeros(nobody.shape, np.float32)]),
        candidates=np.concatenate([fitted.candidates, np.arange(before, before + more, dtype=np.int32)]),
        told=told,
        told_scores=told_scores,
    )


class Scorer:
    """A fitted model that scores shoppers, for one caller at a time. One thread of torch serves best beside other
    work.
    """

    def __init__(self, artifact: Fitted) -> None:
        self.version = artifact.version
        self.fitted = artifact
        ids = artifact.item_ids
        self._index = {item_id: row for row, item_id in enumerate(ids)}
        self.candidate_rows = rows = np.asarray(artifact.candidates)
        self._place_of = {ids[row]: place for place, row in enumerate(rows.tolist())}
        self._vectors = torch.from_numpy(np.array(artifact.vectors))
        candidates = np.asarray(artifact.vectors)[rows]
        self._product = Dense(torch.from_numpy(candidates))
        self._alone = Lock()
        self._moments = _Moments(candidates)
        self._popularity = np.asarray(artifact.popularity, np.float32)[rows]
        place = np.full(len(ids), -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        neighbours, scores = artifact.neighbours, artifact.neighbour_scores
        if artifact.told is not None:
            neighbours = np.concatenate([neighbours, artifact.told], 1)
            scores = np.concatenate([scores, artifact.told_scores], 1)
        self._item_to_item = ItemToItem(neighbours, scores, place, len(rows), artifact.recency)
        self._repeats = artifact.weights["all"].repeats or Repeats()
        undecided = not any(one.repeat or one.repeats for one in artifact.weights.values())
        self._tried = {form_name(form): form for form in FORMS} if undecided else {}
        weights = [msgspec.structs.asdict(artifact.weights[task]) for task in ("new", "all")]
        counts = np.array([[weight[name] for name in PARTS] for weight in weights])
        self._chooser = Chooser([*self._place_of], self._popularity, counts)
        self._tower = UserTower(self._vectors.shape[1] - 1)
        self._tower.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in artifact.tower.items()})
        quickened(self._tower)

    def knows(self, item_id: str) -> bool:
        """Whether the item has a vector."""
        return item_id in self._index

    def with_items(self, item_ids: Sequence[str], vectors: Floats, spoken: Spoken | None = None) -> "Scorer":
        """Another scorer, of this version, that knows more items (`extended`): it takes this one's place in one step,
        and who is scoring now is not disturbed.
        """
        return Scorer(extended(self.fitted, item_ids, vectors, spoken))

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[Candidates]:
        """Candidates of each shopper, best first: the k best by `score` and the k best by `repeat_score`.

        Args:
            states: of the shoppers.
            k: how many of each.
            at_ms: the time that decays are taken at.
        """
        # Those of like histories go together: the tower reads as far as the longest of them.
        order = sorted(range(len(states)), key=lambda row: len(states[row].interactions))
        some = [states[row] for row in order]
        with self._alone:
            found = {
                row: self._chooser.chosen(speech, [one.item_id for one in reversed(state.interactions)], k)
                for row, state, speech in zip(order, some, self._speeches(some, at_ms), strict=True)
            }
        return [found[row] for row in range(len(states))]

    def parts(self, states: Sequence[State], at_ms: int) -> dict[str, Floats]:
        """The scores of each source: [shoppers, candidates].

        Of a model for which nobody decided how own repeats are counted, also those of each of `FORMS`, as `form_name`.
        """
        shape = (len(states), len(self.candidate_rows))
        parts: dict[str, Floats] = {name: np.zeros(shape, np.float32) for name in (*PARTS, *self._tried)}
        parts["popular"][:] = self._popularity
        with self._alone:
            for row, speech in enumerate(self._speeches(states, at_ms)):
                parts["tower"][row] = speech.tower
                parts["repeat"][row, speech.owned] = speech.weights
                parts["item_to_item"][row] = speech.said.summed(shape[1])
        for name, form in self._tried.items():
            for row, state in enumerate(states):
                places, weights = self._owned(state, form, at_ms)
                parts[name][row, places] = weights
        return parts

    def vectors(self, states: Sequence[State]) -> Floats:
        """The user tower's output: [shoppers, width + 1]."""
        return self._read(_columns(states, self._index), states)

    def _speeches(self, states: Sequence[State], at_ms: int) -> Iterator[Speech]:
        """What is said for each shopper; it holds until the next is asked for."""
        for begin in range(0, len(states), _AT_ONCE):
            some = states[begin : begin + _AT_ONCE]
            columns = _columns(some, self._index)
            vectors = self._read(columns, some)
            with torch.inference_mode():
                scores = self._product(torch.from_numpy(vectors)).numpy()
            means, spreads = self._moments.of(vectors)
            bounds = pairwise([0, *np.cumsum(columns.lengths).tolist()])
            for state, line, mean, spread, (first, end) in zip(some, scores, means, spreads, bounds, strict=True):
                said = self._item_to_item.said(columns.items[first:end][::-1])
                yield Speech(line, mean, spread, *self._owned(state, self._repeats, at_ms), said)

    def _read(self, columns: "_Columns", states: Sequence[State]) -> Floats:
        shoppers = _packed(columns, states)
        with torch.inference_mode():
            out = self._tower(self._vectors[torch.from_numpy(shoppers.items)], shoppers)
        return np.asarray(out.numpy(), np.float32)

    def _owned(self, state: State, repeats: Repeats, at_ms: int) -> tuple[Ints, Floats]:
        """Which of the candidates are a shopper's own, and how much of that is left."""
        places, weights = [], []
        for item_id, left in left_of(state, repeats, at_ms).items():
            place = self._place_of.get(item_id)
            if place is not None:
                places.append(place)
                weights.append(left)
        return np.array(places, np.int64), np.array(weights, np.float32)


class _Moments:
    """Mean and deviation of the products of any vector with these, without looking at each."""

    def __init__(self, vectors: Floats) -> None:
        self._mean: Any = vectors.mean(0, dtype=np.float64)
        apart = vectors - self._mean
        self._covariance: Any = apart.T @ apart / max(len(vectors), 1)

    def of(self, vectors: Floats) -> tuple[list[float], list[float]]:
        exact = vectors.astype(np.float64)
        squares = (exact @ self._covariance * exact).sum(1)
        return (exact @ self._mean).tolist(), np.sqrt(np.maximum(squares, 0)).tolist()


class _Columns(NamedTuple):
    """The interactions of shoppers, one behind the other: rows of items and of kinds (-1: none), ms."""

    lengths: Ints
    items: Ints
    kinds: Ints
    times: Ints


def packed(states: Sequence[State], index: Mapping[str, int]) -> Histories:
    """Shoppers as the user tower reads them; items without a row are passed over."""
    return _packed(_columns(states, index), states)


def _columns(states: Sequence[State], index: Mapping[str, int]) -> _Columns:
    met = [one for state in states for one in state.interactions]
    return _Columns(
        np.array([len(state.interactions) for state in states], np.int64),
        np.array([index.get(one.item_id, -1) for one in met], np.int64),
        np.array([KINDS.get(one.kind, -1) for one in met], np.int64),
        np.array([one.at for one in met], np.int64),
    )


def _packed(columns: _Columns, states: Sequence[State]) -> Histories:
    facts = np.array([facts_of(state) for state in states], np.float32).reshape(-1, FACTS)
    lengths, items, kinds, times = columns
    known = (items >= 0) & (kinds >= 0)
    if not known.all():
        whose = np.repeat(np.arange(len(lengths)), lengths)
        lengths = np.bincount(whose[known], minlength=len(lengths))
        items, kinds, times = items[known], kinds[known], times[known]
    return pack(lengths, items, kinds, times, facts)


def facts_of(state: State) -> tuple[float, float, float]:
    """What the tower is told beside the interactions: log orders, log views, mean log price."""
    weight = state.log_price_weight.value
    mean = state.log_price_sum.value / weight if weight > 1e-9 else 0.0
    return log1p(state.orders), log1p(state.views), mean
