"""What a fit reads step by step: batches of histories, in an order that can be gone on with from any place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from models.examples import Examples
from models.interactions import Ints
from models.user_tower import Histories

_SORTED: Final = 16  # batches that are cut from histories sorted by length: little is padded


@dataclass(frozen=True, slots=True)
class Batch:
    """Some histories, and for steps of them what is asked: [steps, ...]; -1 in `wanted` is none."""

    shoppers: Histories
    row: Ints
    place: Ints
    facts: Any
    wanted: Ints
    worth: Any
    at: Ints

    def part(self, rank: int, size: int) -> "Batch":
        """Of so many parts one, by histories."""
        if size == 1:
            return self
        mine = np.arange(len(self.shoppers.length)) % size == rank
        kept = mine[self.row]
        shoppers = Histories(*(part[mine] for part in self.shoppers))
        steps = (self.place[kept], self.facts[kept], self.wanted[kept], self.worth[kept], self.at[kept])
        return Batch(shoppers, (np.cumsum(mine) - 1)[self.row[kept]], *steps)


class Batches:
    """Without end: the histories in another order each time, those of like lengths together.

    A batch has about `batch` steps, of each at most `positives` of its items.
    """

    def __init__(
        self, examples: Examples, histories: Histories, batch: int, positives: int, rng: np.random.Generator
    ) -> None:
        self._examples, self._histories, self._positives, self._rng = examples, histories, positives, rng
        self._order = np.argsort(examples.row, kind="stable")
        self._ends = np.cumsum(np.bincount(examples.row, minlength=len(histories.length)))
        self._begins = np.append(0, self._ends)[:-1]
        self._group = max(1, round(batch * len(histories.length) / len(self._order)))
        self._began: Mapping[str, Any] = {}
        self._groups: list[Ints] = []
        self._given = 0

    @property
    def place(self) -> tuple[Mapping[str, Any], int]:
        """How it was drawn when this pass over the histories began, and how many batches of it are given."""
        return self._began, self._given

    def go_on(self, began: Mapping[str, Any], given: int) -> None:
        """From a place; what is drawn afterwards has to be set by the caller."""
        self._rng.bit_generator.state = began
        self._begin()
        self._given = given

    def __next__(self) -> Batch:
        if self._given == len(self._groups):
            self._begin()
        rows = self._groups[self._given]
        self._given += 1
        steps = np.concatenate([self._order[self._begins[row] : self._ends[row]] for row in rows.tolist()])
        return _batch(self._examples, self._histories, rows, steps, self._positives, self._rng)

    def _begin(self) -> None:
        self._began, self._given = self._rng.bit_generator.state, 0
        length, group = self._histories.length, self._group
        shuffled = self._rng.permutation(len(length))
        chosen: list[Ints] = []
        for begin in range(0, len(shuffled), group * _SORTED):
            some = shuffled[begin : begin + group * _SORTED]
            some = some[np.argsort(length[some], kind="stable")]
            chosen += [some[at : at + group] for at in range(0, len(some), group)]
        self._groups = [chosen[number] for number in self._rng.permutation(len(chosen)).tolist()]


def _batch(
    examples: Examples, histories: Histories, rows: Ints, steps: Ints, positives: int, rng: np.random.Generator
) -> Batch:
    length = histories.length[rows]
    width = int(length.max(initial=0))
    items, kinds, ages = (part[rows, :width] for part in histories[:3])
    where = np.searchsorted(np.sort(rows), examples.row[steps])
    row = np.argsort(rows)[where]
    place = np.maximum(length[row] - examples.back[steps], 0)
    wanted = np.stack([_some(examples.bought[step], positives, rng) for step in steps.tolist()])
    shoppers = Histories(items, kinds, ages, length, histories.facts[rows])
    return Batch(shoppers, row, place, examples.facts[steps], wanted, examples.worth[steps], examples.at[steps])


def _some(bought: Ints, most: int, rng: np.random.Generator) -> Ints:
    """At most so many of an order's items, filled up with -1."""
    out = np.full(most, -1, dtype=np.int64)
    chosen = bought if len(bought) <= most else rng.choice(bought, most, replace=False)
    out[: len(chosen)] = chosen
    return out
