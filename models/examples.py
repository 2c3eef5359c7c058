"""What the towers learn from: steps of shoppers, each with what was known of the shopper just before it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np

from features.shoppers import MAX_INTERACTIONS, State
from models.interactions import KINDS, Floats, Interactions, Ints
from models.scorer import facts_of
from models.states import StatesAt
from models.user_tower import FACTS

WORTH: Final[Mapping[str, float]] = {
    "purchase": 1.0, "add_to_cart": 0.5, "add_to_wishlist": 0.5, "view_item": 0.2, "select_item": 0.2,
    "dislike_item": -0.5, "refund": -0.5,
}  # fmt: skip
"""How much a step of each kind counts; what is below 0 is to become less likely."""

# Interactions that a step needs before it in a longer history, if it had as many: all that a list is made from. With
# half of them a year of groceries was learned less well.
_CONTEXT: Final = MAX_INTERACTIONS


@dataclass(frozen=True, slots=True)
class Examples:
    """Steps to learn from, of histories that several may share.

    Args:
        known: histories.
        row: [steps] whose history.
        back: [steps] how many of its interactions came with the step or after it.
        bought: the rows of the items of each step.
        worth: [steps] as `WORTH`.
        facts: [steps, FACTS] of the shopper just before.
        at: [steps] ms.
    """

    known: Sequence[State]
    row: Ints
    back: Ints
    bought: Sequence[Ints]
    worth: Floats
    facts: Floats
    at: Ints

    @classmethod
    def apart(cls, known: Sequence[State], bought: Sequence[Ints], at: Ints, worth: Any = 1.0) -> Self:
        """Of each step its own history, which ends before it."""
        facts = np.array([facts_of(state) for state in known], np.float32).reshape(-1, FACTS)
        rows = np.arange(len(known), dtype=np.int64)
        worths = np.broadcast_to(np.asarray(worth, np.float32), len(known))
        return cls(known, rows, np.zeros(len(known), np.int64), bought, worths, facts, at)

    def before(self, at_ms: int) -> "Examples":
        """The steps before a moment. A history may go on after it: nothing that is read for a step is later than it."""
        early = self.at < at_ms
        used, row = np.unique(self.row[early], return_inverse=True)
        return Examples(
            [self.known[history] for history in used.tolist()],
            row.astype(np.int64),
            self.back[early],
            [self.bought[step] for step in np.flatnonzero(early).tolist()],
            self.worth[early],
            self.facts[early],
            self.at[early],
        )


def examples_of(
    states: StatesAt, happened: Interactions, seed: int, repeats_kept: float = 0.3, most: int = 40_000
) -> Examples:
    """Steps of shoppers who had a history before; as many as the bound allows, drawn evenly, purchases first.

    Args:
        states: what was known of the shoppers.
        happened: the steps; each event is one.
        seed: of what is drawn.
        repeats_kept: share of the items met again that are learned from: all of them would drown what is new.
        most: bound of the steps.
    """
    starts = np.flatnonzero(np.diff(happened.order, prepend=-1))
    first = np.searchsorted(happened.shopper, happened.shopper[starts])
    rng = np.random.default_rng(seed)
    kept = first_time(happened) | (rng.random(len(happened)) < repeats_kept)
    kinds = happened.kinds
    chosen = np.flatnonzero((starts > first) & np.logical_or.reduceat(kept, starts)) if len(starts) else starts
    if len(chosen) > most:
        drawn = rng.permutation(chosen)
        bought_first = np.argsort(kinds[starts[drawn]] != KINDS.index("purchase"), kind="stable")
        chosen = np.sort(drawn[bought_first[:most]])
    ends = np.append(starts[1:], len(happened))
    spans = [slice(starts[one], ends[one]) for one in chosen.tolist()]
    begins = starts[chosen]
    shoppers = [happened.shoppers[row] for row in happened.shopper[begins].tolist()]
    known = states.at(shoppers, happened.at[begins].tolist(), history_alone=True) if shoppers else []
    worth = np.array([WORTH[kind] for kind in KINDS], np.float32)[kinds[begins]]
    facts = np.array([facts_of(state) for state in known], np.float32).reshape(-1, FACTS)
    bought = [happened.item[span][kept[span]] for span in spans]
    return _joined(known, bought, happened.shopper[begins], worth, facts, happened.at[begins])


def first_time(happened: Interactions) -> Any:
    """[rows]: whether the shopper had not met the item before."""
    _, first = np.unique(happened.shopper * len(happened.items) + happened.item, return_index=True)
    new = np.zeros(len(happened), bool)
    new[first] = True
    return new


def _joined(
    known: Sequence[State], bought: Sequence[Ints], whose: Ints, worth: Floats, facts: Floats, at: Ints
) -> Examples:
    """Steps of one shopper, sorted by time, share the history of the last of them as far as it reaches back."""
    histories: list[State] = []
    row, back = np.zeros(len(known), np.int64), np.zeros(len(known), np.int64)
    for step in range(len(known) - 1, -1, -1):
        later = step + 1
        if later < len(known) and whose[later] == whose[step]:
            shared = _shared(histories[-1], known[step], int(at[step]))
            if shared is not None:
                row[step], back[step] = len(histories) - 1, shared
                continue
        histories.append(known[step])
        row[step] = len(histories) - 1
    return Examples(histories, row, back, bought, worth, facts, at)


def _shared(later: State, known: State, at_ms: int) -> int | None:
    """How many interactions of a later state follow on those of an earlier one; None where they do not, or little of
    the earlier one is left.
    """
    met, before = later.interactions, known.interactions
    left = next((place for place, one in enumerate(met) if one.at >= at_ms), len(met))
    if left < min(len(before), _CONTEXT) or not left or met[:left] != before[-left:]:
        return None
    return len(met) - left
