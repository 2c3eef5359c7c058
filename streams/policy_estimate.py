"""`daogou policies estimate`: what another scenario would be worth, from lists in which chance had a part."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np

from features.events import Event
from features.refusals import UNREADABLE, refusal
from infra.errors import BadInput, Refused
from models.off_policy import OffPolicy, estimate
from serving.decisions import Decision
from serving.scenarios import Scenario
from streams.attribution import CLICKS, Lists
from streams.other_policy import NotJudged, Slot, slots_of

Reward = Literal["clicks", "purchases"]
_MOST_LEFT_OUT: Final = 0.05
_MOST_UNCOVERED: Final = 0.05
_FEW: Final = 100.0


class PolicyReport(msgspec.Struct, frozen=True):
    """`uncovered`: how much of what the other scenario shows the logged ones could not. `left_out`: lists, by why."""

    scenario: str
    reward: Reward
    found: OffPolicy
    explored: int
    uncovered: float
    left_out: dict[str, int]
    notes: list[str]


class _Judged(msgspec.Struct, frozen=True, gc=False):
    list_id: str
    whose: str
    items: tuple[str, ...]
    weights: tuple[float, ...]


def scenario_from(path: Path) -> Scenario:
    """The scenario that a file holds.

    Raises:
        BadInput: there is no such file, or it is no scenario.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Scenario)
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror or error})", path="FILE", code="no_file") from None
    except UNREADABLE as error:
        found = refusal(error, Scenario)
        raise BadInput(f"{path}: {found.message}", path=f"FILE.{found.path}", code=found.reason) from None


class PolicyEstimate:
    """Takes lists first, then events."""

    def __init__(self, scenario: Scenario, reward: Reward, within_ms: int) -> None:
        self._scenario = scenario
        self._reward = reward
        self._within_ms = within_ms
        self._lists = Lists()
        self._judged: list[_Judged] = []
        self._earned: set[tuple[str, str]] = set()
        self._left_out: Counter[str] = Counter()
        self._explored = 0
        self._holdouts = 0
        self._uncovered: list[float] = []

    @property
    def names(self) -> tuple[str, ...]:
        """Which events it needs."""
        return tuple(sorted(CLICKS)) if self._reward == "clicks" else ("purchase",)

    def shown(self, decision: Decision) -> None:
        """A list, of any scenario: an event is owed to the newest that showed the item."""
        shown = self._lists.add(decision)
        if shown.scenario != self._scenario.name or not decision.shown:
            return
        if decision.holdout:  # its inputs lack what is personal, which the other policy would use
            self._holdouts += 1
            return
        self._explored += bool(decision.inputs.explored)
        try:
            slots = slots_of(decision, self._scenario)
        except NotJudged as error:
            self._left_out[error.args[0]] += 1
            return
        item_at = {one.position: one.item_id for one in decision.shown}
        weights, uncovered = _down(slots)
        self._uncovered.append(uncovered)
        items = tuple(item_at[one.position] for one in slots)
        self._judged.append(_Judged(shown.id, shown.shopper_id or shown.id, items, weights))

    def event(self, event: Event) -> None:
        """One of `names`."""
        found = self._lists.credits(event, self._within_ms)
        self._earned.update((one.list.id, one.item_id) for one in found if one is not None)

    def report(self) -> PolicyReport:
        """The estimate.

        Raises:
            Refused: there is no list of this scenario, none with exploration, or what the other needs was not recorded.
        """
        uncovered = float(np.mean(self._uncovered)) if self._uncovered else 0.0
        self._check(uncovered)
        width = max(len(one.items) for one in self._judged)
        weights, rewards = (np.full((len(self._judged), width), np.nan) for _ in range(2))
        for n, one in enumerate(self._judged):
            weights[n, : len(one.weights)] = one.weights
            rewards[n, : len(one.items)] = [(one.list_id, item) in self._earned for item in one.items]
        found = estimate(weights, rewards, [one.whose for one in self._judged])
        left_out, notes = dict(self._left_out.most_common()), list(_notes(found, uncovered, self._holdouts))
        return PolicyReport(self._scenario.name, self._reward, found, self._explored, uncovered, left_out, notes)

    def _check(self, uncovered: float) -> None:
        name, left_out = self._scenario.name, self._left_out.total()
        if not self._judged and not left_out:
            raise Refused(f"no list of scenario {name!r} was made in this time", code="no_list_of_scenario")
        if not self._explored:
            raise Refused(
                f"no list of scenario {name!r} was explored in this time, so nothing is known of what was not shown: "
                "give the scenario an exploration (share and pool), and ask again when lists were made with it",
                code="nothing_explored",
            )
        if left_out > _MOST_LEFT_OUT * (len(self._judged) + left_out):
            why, many = self._left_out.most_common(1)[0]
            raise Refused(
                f"{left_out:,} of {len(self._judged) + left_out:,} lists cannot be judged; {many:,} of them: {why}",
                code="not_recorded",
            )
        if uncovered > _MOST_UNCOVERED:
            raise Refused(
                f"{100 * uncovered:.0f} % of what this scenario would show could never have been shown when the lists "
                "were made, so nothing is known of it: let exploration draw from what this scenario shows (its source "
                "and pool)",
                code="not_covered",
            )


def _down(slots: list[Slot]) -> tuple[tuple[float, ...], float]:
    """The weight of each slot with those above it, and how much of the list, on average, could not have been shown."""
    weight, lost, weights, missing = 1.0, 0.0, list[float](), list[float]()
    for one in slots:
        lost += weight * (1.0 - one.covered)
        weight *= one.other / one.logged
        weights.append(weight)
        missing.append(lost)
    return tuple(weights), float(np.mean(missing)) if missing else 0.0


def _notes(found: OffPolicy, uncovered: float, holdouts: int) -> Iterator[str]:
    if holdouts:
        yield f"{holdouts:,} lists of holdouts are left out."
    if found.effective < _FEW:
        yield (
            f"The lists that resemble those of the other scenario weigh as much as {found.effective:,.0f}: too few. "
            "Take a longer time, shorter lists or more exploration."
        )
    if uncovered > 0.001:
        yield (
            f"{100 * uncovered:.1f} % of what the other scenario would show was never possible, and counts as nothing."
        )
    if abs(found.mean_weight - 1.0) > 0.2 and uncovered <= 0.001:
        yield (
            f"Weights that should be 1 on average are {found.mean_weight:.2f} at one slot: trust SNIPS more than IPS, "
            "and neither much."
        )
    yield "A click is taken to depend on its item and on those above it, and not on those below."
