"""What an item without a history borrows of those with one that its text is most like, in numpy.

Its vector is the mean of theirs, ids included, and it is spoken for as they are. Texts lead to vectors of what was
bought by neighbours, not by a learned map (Gantner et al., "Learning Attribute-to-Feature Mappings for Cold-Start
Recommendations", 2010, compare both). Beside that, items speak for it by how alike their texts are.
"""

from typing import Any, Final, NamedTuple, Self

import numpy as np

from models.artifact import NEIGHBOURS
from models.interactions import Floats, Ints

LENDERS: Final = 20
SHARPNESS: Final = 3
"""How often a cosine is multiplied with itself before it weighs: the nearest count more."""
LIKE: Final = 100
OWN: Final = 0.3
"""What a text that is the same says, of what the loudest neighbour says in the mean."""
SPEAKERS: Final = 200
_AT_ONCE: Final = 64
_TINY: Final = 1e-9


class Spoken(NamedTuple):
    """Who speaks for new items: rows of items, best first, -1 for none, and how loud, as item-to-item scores."""

    speakers: Ints  # [new items, n]
    shares: Floats  # [new items, n]


def told_of(before: tuple[Any, Any], spoken: Spoken | None, first: int, size: int) -> tuple[Any, Any]:
    """What each item says of those that came after the training: the 50 of which it says most, as
    `models.scorer.Fitted.told`.

    Args:
        before: what they said until now, rows and scores; None and None: nothing.
        spoken: who speaks for the items that come.
        first: the row of the first of these.
        size: how many items there are then.
    """
    parts = [np.zeros((3, 0), np.float64)]
    for rows, scores, begin in [(*before, None), (*(spoken or (None, None)), first)]:
        if rows is not None:
            row, place = np.nonzero(rows >= 0)
            pair = (row, rows[row, place]) if begin is None else (rows[row, place], row + begin)
            parts.append(np.stack([*pair, scores[row, place]]))
    row, other, share = np.concatenate(parts, 1)
    if not len(row):
        return None, None
    order = np.lexsort((other, -share, row))
    row, other, share = row[order].astype(np.int64), other[order].astype(np.int32), share[order]
    place = np.arange(len(row)) - np.searchsorted(row, row)
    row, other, share, place = (column[place < NEIGHBOURS] for column in (row, other, share, place))
    shape = (size, int(place.max()) + 1)
    told, told_scores = np.full(shape, -1, np.int32), np.zeros(shape, np.float32)
    told[row, place], told_scores[row, place] = other, share
    return told, told_scores


class Borrowed(NamedTuple):
    """What is lent to new items; `lent` tells who got anything."""

    vectors: Floats  # [new items, width + 1]
    lent: Any  # [new items]
    speakers: Ints  # [new items, SPEAKERS]
    shares: Floats  # [new items, SPEAKERS]


class Lenders:
    """The items of a model that have a history, with the directions of their texts."""

    def __init__(self, texts: Any, candidates: Any, vectors: Any, neighbours: Any, scores: Any) -> None:
        """Args: whitened texts [items, 64]; the other arrays as in `models.artifact`."""
        self._rows = np.asarray(candidates, np.int64)
        self._directions = _unit(np.asarray(texts, np.float32)[self._rows])
        self._vectors = np.asarray(vectors, np.float32)
        best = np.asarray(scores, np.float32).max(1, initial=0)
        self._loudest = float(best[best > 0].mean()) if (best > 0).any() else 0.0
        self._told = _Told.of(neighbours, scores)

    def lend(self, texts: Floats) -> Borrowed:
        """Args: whitened texts of new items, [new items, 64]."""
        if not len(texts) or not len(self._rows):
            none = np.zeros((len(texts), 0))
            vectors = np.zeros((len(texts), self._vectors.shape[1]), np.float32)
            return Borrowed(vectors, np.zeros(len(texts), np.bool_), none.astype(np.int64), none.astype(np.float32))
        parts = [self._lent(texts[begin : begin + _AT_ONCE]) for begin in range(0, len(texts), _AT_ONCE)]
        return Borrowed(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def _lent(self, texts: Floats) -> Borrowed:
        cosines = np.maximum(_unit(texts) @ self._directions.T, 0)
        near = _best(cosines, LENDERS)
        weights = np.take_along_axis(cosines, near, 1) ** SHARPNESS
        total = weights.sum(1, keepdims=True)
        weights = weights / np.maximum(total, _TINY)
        lenders = self._rows[near]
        vectors = _mean(self._vectors[lenders], weights)
        like = _best(cosines, LIKE)
        alike = OWN * self._loudest * np.take_along_axis(cosines, like, 1) ** 2
        speakers = np.full((len(texts), SPEAKERS), -1, np.int64)
        shares = np.zeros((len(texts), SPEAKERS), np.float32)
        for row in range(len(texts)):
            said = self._told.of_all(lenders[row], weights[row])
            who = np.concatenate([said[0], self._rows[like[row]]])
            rows, share = _summed(who, np.concatenate([said[1], alike[row]]))
            best = np.argsort(-share, kind="stable")[:SPEAKERS]
            best = best[share[best] > 0]
            speakers[row, : len(best)], shares[row, : len(best)] = rows[best], share[best]
        return Borrowed(vectors.astype(np.float32), total[:, 0] > _TINY, speakers, shares)


class _Told:
    """Who speaks for each item: the item-to-item table, read the other way."""

    def __init__(self, begins: Ints, speakers: Ints, shares: Floats) -> None:
        self._begins, self._speakers, self._shares = begins, speakers, shares

    @classmethod
    def of(cls, neighbours: Any, scores: Any) -> Self:
        others = np.asarray(neighbours, np.int64)
        speaker, place = np.nonzero(others >= 0)
        of = others[speaker, place]
        order = np.argsort(of, kind="stable")
        begins = np.searchsorted(of[order], np.arange(len(others) + 1))
        return cls(begins, speaker[order], np.asarray(scores, np.float32)[speaker, place][order])

    def of_all(self, items: Ints, weights: Floats) -> tuple[Ints, Floats]:
        """Who speaks for some items, and how loud, each weighed; a speaker may come more than once."""
        spans = [slice(self._begins[item], self._begins[item + 1]) for item in items.tolist()]
        who = np.concatenate([self._speakers[span] for span in spans])
        loud = [self._shares[span] * weight for span, weight in zip(spans, weights, strict=True)]
        return who, np.concatenate(loud)


def _mean(vectors: Floats, weights: Floats) -> Floats:
    """The weighted mean of vectors, halfway (in the geometric mean) to as long as they are: as short as a mean is, it
    would hardly ever come into a list; as long as they are, it would push too much aside.

    The last number, popularity, is no part of the direction.
    """
    mean: Floats = np.einsum("nk,nkw->nw", weights, vectors)
    lengths = (weights * np.linalg.norm(vectors[:, :, :-1], axis=2)).sum(1)
    mean[:, :-1] *= np.sqrt(lengths / np.maximum(np.linalg.norm(mean[:, :-1], axis=1), _TINY))[:, None]
    return mean


def _summed(rows: Ints, shares: Floats) -> tuple[Ints, Floats]:
    distinct, at = np.unique(rows, return_inverse=True)
    return distinct, np.bincount(at, shares, len(distinct)).astype(np.float32)


def _best(cosines: Floats, most: int) -> Ints:
    most = min(most, cosines.shape[1])
    return np.argpartition(-cosines, most - 1, 1)[:, :most].astype(np.int64)


def _unit(vectors: Floats) -> Floats:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _TINY), np.float32)
