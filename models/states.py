"""Shoppers as they were known just before a moment, from their interactions alone.

`models.dataset.StoredStates` reads the same of Feast; training takes either.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from features.shopper_step import advance, copied
from features.shoppers import State, Step
from models.interactions import KINDS, Interactions


class StatesAt(Protocol):
    """Where training and evaluation learn what was known of shoppers."""

    def at(self, shoppers: Sequence[str], at_ms: Sequence[int], *, history_alone: bool = False) -> list[State]:
        """Each shopper just before a moment.

        Args:
            shoppers: record keys; one may be asked for many times.
            at_ms: the moments, one for each.
            history_alone: only what the user tower reads is needed.
        """
        ...


class FoldedStates:
    """Interactions folded as the worker folds events; there are no prices."""

    def __init__(self, interactions: Interactions) -> None:
        self._interactions = interactions
        self._row = {shopper: row for row, shopper in enumerate(interactions.shoppers)}
        self._bounds = np.searchsorted(interactions.shopper, np.arange(len(interactions.shoppers) + 1))

    def at(self, shoppers: Sequence[str], at_ms: Sequence[int], *, history_alone: bool = False) -> list[State]:
        """As `StatesAt`: everything is folded, whatever is needed."""
        del history_alone
        states = [State()] * len(shoppers)
        asked: dict[str, list[int]] = {}
        for number, shopper in enumerate(shoppers):
            asked.setdefault(shopper, []).append(number)
        for shopper, numbers in asked.items():
            numbers.sort(key=at_ms.__getitem__)
            steps = self._steps(shopper)
            state, step = State(), next(steps, None)
            for number in numbers:
                while step is not None and step.at < at_ms[number]:
                    advance(state, step)
                    step = next(steps, None)
                states[number] = copied(state)
        return states

    def _steps(self, shopper: str) -> Iterator[Step]:
        row = self._row.get(shopper)
        if row is None:
            return
        some, rows = self._interactions, slice(*self._bounds[row : row + 2].tolist())
        lines = zip(*(part[rows].tolist() for part in (some.order, some.at, some.kinds, some.item)), strict=True)
        together: list[tuple[int, int, int, int]] = []
        for line in lines:
            if together and line[:3] != together[0][:3]:
                yield self._step(together)
                together = []
            together.append(line)
        if together:
            yield self._step(together)

    def _step(self, together: Sequence[tuple[int, int, int, int]]) -> Step:
        order, at, kind, _ = together[0]
        names = self._interactions.items
        lines = tuple((names[item], None, 1, None, None) for _, _, _, item in together)
        return Step(at, "", str(order), KINDS[kind], False, None, lines, None, None)
