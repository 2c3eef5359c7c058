"""From states of shoppers to candidates: the user tower, fused with item-to-item, popularity and own repeats.

Needs torch, but neither TorchRec nor Feast: the item vectors are in the artifact.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import scipy.sparse as sp
import torch

from features.shoppers import State, purchase_weight_at
from models.artifact import Artifact
from models.candidates import Candidate, Source
from models.fusion import fuse
from models.interactions import Floats
from models.user_tower import FACTS, KINDS, Histories, UserTower, pack

PARTS: Final[tuple[Source, ...]] = ("tower", "item_to_item", "popular", "repeat")
RECENCY: Final = 0.97


class Scorer:
    """A released artifact, ready to score. One thread of torch serves best beside other work."""

    def __init__(self, artifact: Artifact) -> None:
        self.version = artifact.version
        self._index = artifact.index
        self._ids = artifact.item_ids
        self._rows = np.asarray(artifact.candidates)
        self._vectors = torch.from_numpy(np.array(artifact.vectors))
        self._candidate_vectors = self._vectors[torch.from_numpy(self._rows.astype(np.int64))]
        self._popularity = np.asarray(artifact.popularity)[self._rows]
        self._place = np.full(len(self._ids), -1, dtype=np.int64)
        self._place[self._rows] = np.arange(len(self._rows))
        self._neighbours = self._neighbour_matrix(artifact)
        self._weights = artifact.manifest.weights
        self._tower = UserTower(self._vectors.shape[1] - 1)
        self._tower.load_state_dict({name: torch.from_numpy(value) for name, value in artifact.user_tower().items()})
        self._tower.eval()

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[list[Candidate]]:
        """Candidates of each shopper, best first: the k best by `score` and the k best by `repeat_score`.

        Args:
            states: of the shoppers.
            k: how many of each.
            at_ms: the time that decays are taken at.
        """
        parts = self.parts(states, at_ms)
        new = fuse(parts, self._weights["new"])
        again = fuse(parts, self._weights["all"])
        return [self._listed(states[i], {n: p[i] for n, p in parts.items()}, new[i], again[i], k) for i in range(len(states))]

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
        shoppers = self._histories(states)
        with torch.inference_mode():
            out = self._tower(self._vectors[torch.from_numpy(shoppers.items)], shoppers)
        return np.asarray(out.numpy(), np.float32)

    def _towers(self, states: Sequence[State]) -> Floats:
        with torch.inference_mode():
            scores = torch.from_numpy(self.vectors(states)) @ self._candidate_vectors.T
        return np.asarray(scores.numpy(), np.float32)

    def _histories(self, states: Sequence[State]) -> Histories:
        rows = [
            [
                (self._index[met.item_id], KINDS[met.kind], met.at)
                for met in state.interactions
                if met.item_id in self._index and met.kind in KINDS
            ]
            for state in states
        ]
        return pack(rows, np.array([facts_of(state) for state in states], np.float32).reshape(-1, FACTS))

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

    def _neighbour_matrix(self, artifact: Artifact) -> sp.csr_matrix:
        """[items, candidates]."""
        others = np.asarray(artifact.neighbours)
        places = np.where(others >= 0, self._place[np.maximum(others, 0)], -1)
        row, column = np.nonzero(places >= 0)
        values = np.asarray(artifact.neighbour_scores)[row, column]
        return sp.csr_matrix((values, (row, places[row, column])), shape=(len(self._ids), len(self._rows)))

    def _listed(
        self, state: State, parts: dict[str, Floats], new: Floats, again: Floats, k: int
    ) -> list[Candidate]:
        chosen = np.union1d(_best(new, k), _best(again, k))
        chosen = chosen[np.lexsort((chosen, -new[chosen]))]
        weights = self._weights["new"]
        shares = np.stack([np.asarray(fuse({name: part[None]}, weights)[0])[chosen] for name, part in parts.items()])
        loudest = shares.argmax(0)
        names = tuple(parts)
        return [
            Candidate(
                self._ids[self._rows[at]],
                float(new[at]),
                float(again[at]),
                _source(names[loudest[i]]),
                self._because(state, int(at)) if parts["item_to_item"][at] > 0 else None,
            )
            for i, at in enumerate(chosen.tolist())
        ]

    def _because(self, state: State, at: int) -> str | None:
        """The interaction whose item spoke most for a candidate."""
        best, because = 0.0, None
        for back, met in enumerate(reversed(state.interactions)):
            row = self._index.get(met.item_id)
            if row is None:
                continue
            others = self._neighbours.indices[self._neighbours.indptr[row] : self._neighbours.indptr[row + 1]]
            where = np.flatnonzero(others == at)
            if len(where):
                spoke = RECENCY**back * float(self._neighbours.data[self._neighbours.indptr[row] + where[0]])
                if spoke > best:
                    best, because = spoke, met.item_id
        return because


def facts_of(state: State) -> tuple[float, float, float]:
    """What the tower is told beside the interactions: log orders, log views, mean log price."""
    weight = state.log_price_weight.value
    mean = state.log_price_sum.value / weight if weight > 1e-9 else 0.0
    return float(np.log1p(state.orders)), float(np.log1p(state.views)), mean


def _best(scores: Floats, k: int) -> np.ndarray:
    if len(scores) <= k:
        return np.arange(len(scores))
    return np.argpartition(-scores, k)[:k]


def _source(name: str) -> Source:
    return next(source for source in PARTS if source == name)
