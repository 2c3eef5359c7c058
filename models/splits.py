"""Splits: what is fitted on, and what is to be found. Both kinds give a `Truth` for the same `evaluate`."""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from models.evaluation import Truth
from models.interactions import Interactions, Ints

TEMPORAL: Final = "temporal"
LEAVE_ONE_OUT: Final = "loo"
LAST_OF_EACH: Final = "last of each"
K_OF: Final = {TEMPORAL: 20, LEAVE_ONE_OUT: 10, LAST_OF_EACH: 10}
"""How long the list is, by custom of each split."""


@dataclass(frozen=True, slots=True)
class Split:
    """One fit prefix for all models, and what is to be found.

    Args:
        name: `temporal`, `loo` or `last of each`.
        before: all that any model may be fitted on, and the histories that it is asked with.
        after: what is to be found.
        at_ms: the moment that ages are counted from: after all of `before`.
        k: length of the list.
    """

    name: str
    before: Interactions
    after: Interactions
    at_ms: int
    k: int

    @property
    def truth(self) -> Truth:
        """For `evaluate`."""
        return Truth(self.after, self.before)


def temporal(bought: Interactions, begin_ms: int, end_ms: int, k: int = K_OF[TEMPORAL]) -> Split:
    """Fitted on at < begin; to be found is everything with begin ≤ at < end."""
    return Split(TEMPORAL, bought.before(begin_ms), bought.between(begin_ms, end_ms), begin_ms, k)


def last_of_each(bought: Interactions, begin_ms: int, end_ms: int, k: int = K_OF[LAST_OF_EACH]) -> Split:
    """Fitted on at < begin, as `temporal`; to be found is only each shopper's last interaction in [begin, end).

    For a model whose fit ends at a moment: leave-one-out without looking behind it.
    """
    after = bought.between(begin_ms, end_ms)
    return Split(LAST_OF_EACH, bought.before(begin_ms), _rows(after, _back(after) == 0), begin_ms, k)


def leave_one_out(
    bought: Interactions, part: Literal["validation", "test"] = "test", k: int = K_OF[LEAVE_ONE_OUT]
) -> Split:
    """To be found is the last interaction of each shopper (`test`) or the one before it (`validation`).

    All models are fitted on what comes before it in each shopper's own sequence: for `test` that holds what
    `validation` asks for. A shopper with nothing before is not asked. Of a basket only its last line is asked for, and
    the others stay in the prefix: for baskets a temporal split is the fairer one. Time runs differently for each
    shopper here: others' later interactions are in the prefix.

    Args:
        bought: everything.
        part: which.
        k: length of the list.
    """
    held = 1 if part == "test" else 2
    back = _back(bought)
    before = _rows(bought, back >= held)
    asked = (back == held - 1) & np.isin(bought.shopper, before.shopper)
    at_ms = int(bought.at.max()) + 1 if len(bought) else 0
    return Split(LEAVE_ONE_OUT, before, _rows(bought, asked), at_ms, k)


def _back(bought: Interactions) -> Ints:
    """[rows]: how many later ones the shopper has."""
    ends = np.searchsorted(bought.shopper, bought.shopper, side="right")
    return np.asarray(ends - 1 - np.arange(len(bought)), np.int64)


def _rows(bought: Interactions, kept: npt.NDArray[np.bool_]) -> Interactions:
    return Interactions(
        bought.shoppers,
        bought.items,
        bought.shopper[kept],
        bought.item[kept],
        bought.at[kept],
        bought.order[kept],
    )
