"""From what each source says to one shopper's list: fused, chosen, explained.

`models.fusion` tells what the fused score is. A worker makes one after each event, so the sources are not brought
to one scale first: their weights are, and what that leaves is the same number for all items.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch

from models.candidates import SOURCES, Candidates, Source
from models.fusion import scale_of
from models.interactions import Floats, Ints
from models.item_to_item import Said

# What item-to-item says comes last: behind it is the place of what is no candidate.
PARTS: Final[tuple[Source, ...]] = ("tower", "popular", "repeat", "item_to_item")
_TOWER, _POPULAR, _REPEAT, _HEARD = range(len(PARTS))
_SOURCE: Final = np.array([SOURCES.index(part) for part in PARTS], np.uint8)
_FOLDS: Final = 10


class Speech(NamedTuple):
    """What the sources say of the candidates for one shopper.

    The tower: `tower` [candidates], with their mean and deviation; own repeats: `weights` of the candidates at `owned`.
    """

    tower: Floats
    mean: float
    spread: float
    owned: Ints
    weights: Floats
    said: Said


class Chooser:
    """Chooses among the candidates `item_ids`; for one thread.

    `counts` [2, PARTS] say how much each source counts in lists of new items, and in those with repeats.
    """

    def __init__(self, item_ids: Sequence[str], popularity: Floats, counts: Any) -> None:
        self._ids = np.array(item_ids, object)
        self._counts = counts
        self._size = size = len(item_ids)
        room = np.zeros(len(PARTS) * size + 1, np.float32)
        self._parts = room[:-1].reshape(len(PARTS), size)
        self._heard = room[_HEARD * size :]
        self._fused, self._apart = np.empty((2, size), np.float32), np.empty(size, np.float32)
        self._among = np.zeros(size, np.bool_)
        self._parts[_POPULAR] = popularity
        self._popular = float(popularity.mean(dtype=np.float64)), float(popularity.std(dtype=np.float64))

    def chosen(self, speech: Speech, met: Sequence[str], k: int) -> Candidates:
        """The k best new ones and the k best with repeats, best first; `met` are the items met, the newest first."""
        self._fill(speech)
        means, scales = self._means_and_scales(speech)
        weights = self._counts * scales
        by_source = torch.from_numpy(weights.astype(np.float32))
        torch.mm(by_source, torch.from_numpy(self._parts), out=torch.from_numpy(self._fused))
        places = self._together(*(best(line, k) for line in self._fused))
        places = places[np.argsort(-self._fused[0].take(places), kind="stable")]
        scores = self._fused.take(places, 1) - (weights @ means)[:, None]
        shares = (self._parts.take(places, 1) - means[:, None]) * weights[0][:, None]
        back = speech.said.loudest(places, self._size)
        new, again = (line.astype("<f4").tobytes() for line in scores)
        return Candidates(
            self._ids.take(places).tolist(),
            new,
            again,
            _SOURCE.take(shares.argmax(0)).tobytes(),
            [*map([*met, None].__getitem__, back.tolist())],
        )

    def _fill(self, speech: Speech) -> None:
        self._parts[_TOWER] = speech.tower
        self._parts[_REPEAT] = 0
        self._parts[_REPEAT, speech.owned] = speech.weights
        self._heard[:] = 0
        np.add.at(self._heard, speech.said.places.ravel(), speech.said.shares.ravel())

    def _means_and_scales(self, speech: Speech) -> tuple[Any, Any]:
        """Of each source, over all candidates."""
        heard = self._of_heard()
        # In the order of PARTS.
        both = (speech.mean, speech.spread), self._popular, _of_few(speech.weights, self._size), heard
        return np.array([mean for mean, _ in both]), np.array([scale_of(*one) for one in both])

    def _together(self, new: Ints, again: Ints) -> Ints:
        """Both, each once and sorted."""
        self._among[new] = self._among[again] = True
        places = np.flatnonzero(self._among)
        self._among[places] = False
        return places

    def _of_heard(self) -> tuple[float, float]:
        heard = self._parts[_HEARD]
        mean = float(np.add.reduce(heard)) / max(self._size, 1)
        apart = torch.from_numpy(np.subtract(heard, np.float32(mean), out=self._apart))
        return mean, (float(torch.dot(apart, apart)) / max(self._size, 1)) ** 0.5


def best(scores: Floats, k: int) -> Ints:
    """The places of the k highest scores, in their order; of equal ones the first."""
    columns = len(scores) // _FOLDS
    if columns <= k:
        return _highest(scores, np.arange(len(scores)), k)
    # So many columns have their highest at the bound or above, and so many scores are: hardly more are looked at again.
    tops = scores[: columns * _FOLDS].reshape(_FOLDS, columns).max(0)
    return _highest(scores, np.flatnonzero(scores >= np.partition(tops, columns - k)[columns - k]), k)


def _highest(scores: Floats, places: Ints, k: int) -> Ints:
    if len(places) <= k:
        return places
    of_them = scores.take(places)
    bound = np.partition(of_them, len(places) - k)[len(places) - k]
    kept = of_them >= bound
    if surplus := np.count_nonzero(kept) - k:
        kept[np.flatnonzero(of_them == bound)[-surplus:]] = False
    highest: Ints = places[kept]
    return highest


def _of_few(scores: Floats, size: int) -> tuple[float, float]:
    """Mean and deviation of `size` scores, of which all others are 0."""
    mean = float(scores.sum()) / max(size, 1)
    squares = float(np.square(scores - mean).sum()) + (size - len(scores)) * mean**2
    return mean, (squares / max(size, 1)) ** 0.5
