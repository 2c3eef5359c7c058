"""From states of shoppers to candidates: the user tower, fused with item-to-item, popularity and own repeats.

Needs torch, but neither TorchRec nor Feast: the item vectors are in the artifact.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
import scipy.sparse as sp
import torch

from features.shoppers import State, purchase_weight_at
from models.artifact import Artifact
from models.candidates import Candidate, Source
from models.fusion import Weights, normalised
from models.interactions import Floats, Ints
from models.user_tower import FACTS, KINDS, Histories, UserTower, pack

PARTS: Final[tuple[Source, ...]] = ("tower", "item_to_item", "popular", "repeat")
RECENCY: Final = 0.97
# Shoppers scored together: the scores of more of them fall out of the processor's caches.
_AT_ONCE: Final = 16


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """A fitted model in memory; the arrays are those of `models.artifact`."""

    version: str
    item_ids: list[str]
    vectors: Floats
    popularity: Floats
    neighbours: Any
    neighbour_scores: Floats
    candidates: Any
    weights: dict[str, Weights]
    tower: Mapping[str, Any]


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
        tower=artifact.user_tower(),
    )


class Scorer:
    """A fitted model that scores shoppers. One thread of torch serves best beside other work."""

    def __init__(self, artifact: Fitted) -> None:
        self.version = artifact.version
        self._ids = artifact.item_ids
        self._index = {item_id: row for row, item_id in enumerate(self._ids)}
        self.candidate_rows = self._rows = np.asarray(artifact.candidates)
        self._vectors = torch.from_numpy(np.array(artifact.vectors))
        self._candidate_vectors = self._vectors[torch.from_numpy(self._rows.astype(np.int64))]
        self._popularity = np.asarray(artifact.popularity, np.float32)[self._rows]
        self._place = np.full(len(self._ids), -1, dtype=np.int64)
        self._place[self._rows] = np.arange(len(self._rows))
        self._neighbours = self._neighbour_matrix(artifact)
        counts = [msgspec.structs.asdict(artifact.weights[task]) for task in ("new", "all")]
        self._counts = np.array([[count[name] for name in PARTS] for count in counts], np.float32)
        self._tower = UserTower(self._vectors.shape[1] - 1)
        self._tower.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in artifact.tower.items()})
        self._tower.eval()

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[list[Candidate]]:
        """Candidates of each shopper, best first: the k best by `score` and the k best by `repeat_score`.

        Args:
            states: of the shoppers.
            k: how many of each.
            at_ms: the time that decays are taken at.
        """
        found: list[list[Candidate]] = []
        for begin in range(0, len(states), _AT_ONCE):
            found += self._scored(states[begin : begin + _AT_ONCE], k, at_ms)
        return found

    def _scored(self, states: Sequence[State], k: int, at_ms: int) -> list[list[Candidate]]:
        parts = self.parts(states, at_ms)
        shares = np.empty((len(states), len(PARTS), len(self._rows)), np.float32)
        for row, name in enumerate(PARTS):
            shares[:, row] = normalised(parts[name])
        fused = np.matmul(self._counts, shares)
        return [
            self._listed(state, share, new, again, k)
            for state, share, (new, again) in zip(states, shares, fused, strict=True)
        ]

    def parts(self, states: Sequence[State], at_ms: int) -> dict[str, Floats]:
        """The scores of each source: [shoppers, candidates]."""
        shape = (len(states), len(self._rows))
        return {
            "tower": self._towers(states),
            "item_to_item": np.asarray((self._recent(states) @ self._neighbours).toarray(), np.float32),
            "popular": np.broadcast_to(self._popularity, shape).astype(np.float32),
            "repeat": self._repeats(states, at_ms),
        }

    def vectors(self, states: Sequence[State]) -> Floats:
        """The user tower's output: [shoppers, width + 1]."""
        shoppers = packed(states, self._index)
        with torch.inference_mode():
            out = self._tower(self._vectors[torch.from_numpy(shoppers.items)], shoppers)
        return np.asarray(out.numpy(), np.float32)

    def _towers(self, states: Sequence[State]) -> Floats:
        with torch.inference_mode():
            scores = torch.from_numpy(self.vectors(states)) @ self._candidate_vectors.T
        return np.asarray(scores.numpy(), np.float32)

    def _recent(self, states: Sequence[State]) -> sp.csr_matrix:
        """[shoppers, items]: the recency of each shopper's interactions."""
        rows, columns, weights = [], [], []
        for row, state in enumerate(states):
            for back, met in enumerate(reversed(state.interactions)):
                column = self._index.get(met.item_id)
                if column is not None:
                    rows.append(row)
                    columns.append(column)
                    weights.append(RECENCY**back)
        shape = (len(states), len(self._ids))
        return sp.csr_matrix((np.array(weights, np.float32), (rows, columns)), shape=shape)

    def _repeats(self, states: Sequence[State], at_ms: int) -> Floats:
        scores = np.zeros((len(states), len(self._rows)), np.float32)
        for row, state in enumerate(states):
            for item_id, bought in state.purchased.items():
                at = self._place[self._index[item_id]] if item_id in self._index else -1
                if at >= 0:
                    scores[row, at] = purchase_weight_at(bought, max(at_ms, bought.last_at))
        return scores

    def _neighbour_matrix(self, artifact: Fitted) -> sp.csr_matrix:
        """[items, candidates]."""
        others = np.asarray(artifact.neighbours)
        places = np.where(others >= 0, self._place[np.maximum(others, 0)], -1)
        row, column = np.nonzero(places >= 0)
        values = np.asarray(artifact.neighbour_scores)[row, column]
        return sp.csr_matrix((values, (row, places[row, column])), shape=(len(self._ids), len(self._rows)))

    def _listed(self, state: State, shares: Floats, new: Floats, again: Floats, k: int) -> list[Candidate]:
        chosen = np.union1d(_best(new, k), _best(again, k))
        chosen = chosen[np.lexsort((chosen, -new[chosen]))]
        loudest = (self._counts[0][:, None] * shares[:, chosen]).argmax(0)
        return [
            Candidate(self._ids[row], score, repeat_score, PARTS[loud], because)
            for row, score, repeat_score, loud, because in zip(
                self._rows[chosen].tolist(),
                new[chosen].tolist(),
                again[chosen].tolist(),
                loudest.tolist(),
                self._because(state, chosen),
                strict=True,
            )
        ]

    def _because(self, state: State, chosen: Ints) -> list[str | None]:
        """For each chosen candidate the interaction whose item spoke most for it, the newest where several did."""
        told: list[str | None] = [None] * len(chosen)
        met = [one.item_id for one in reversed(state.interactions) if one.item_id in self._index]
        if not met:
            return told
        matrix, rows = self._neighbours, np.array([self._index[item_id] for item_id in met])
        begins, counts = matrix.indptr[rows], matrix.indptr[rows + 1] - matrix.indptr[rows]
        who = np.repeat(np.arange(len(met)), counts)
        at = np.arange(len(who)) + np.repeat(begins - np.cumsum(counts) + counts, counts)
        asked = np.full(len(self._rows), -1, np.int32)
        asked[chosen] = np.arange(len(chosen))
        place = asked[matrix.indices[at]]
        heard = np.flatnonzero(place >= 0)
        place, who = place[heard], who[heard]
        spoke = matrix.data[at[heard]] * RECENCY**who
        for row in np.lexsort((-who, spoke)).tolist():  # what is said loudest is said last
            if spoke[row] > 0:
                told[place[row]] = met[who[row]]
        return told


def packed(states: Sequence[State], index: Mapping[str, int]) -> Histories:
    """Shoppers as the user tower reads them; items without a row are passed over."""
    rows = [
        [
            (index[met.item_id], KINDS[met.kind], met.at)
            for met in state.interactions
            if met.item_id in index and met.kind in KINDS
        ]
        for state in states
    ]
    return pack(rows, np.array([facts_of(state) for state in states], np.float32).reshape(-1, FACTS))


def facts_of(state: State) -> tuple[float, float, float]:
    """What the tower is told beside the interactions: log orders, log views, mean log price."""
    weight = state.log_price_weight.value
    mean = state.log_price_sum.value / weight if weight > 1e-9 else 0.0
    return float(np.log1p(state.orders)), float(np.log1p(state.views)), mean


def _best(scores: Floats, k: int) -> Ints:
    if len(scores) <= k:
        return np.arange(len(scores))
    return np.argpartition(-scores, k)[:k]
