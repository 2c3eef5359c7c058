"""Which rules a list is made by: the scenario that is in force, what the request changes in it, and experiments."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from serving.recommendation_types import Experiment, RecommendationRequest
from serving.scenarios import SCENARIOS, Scenario

# What a request may set for its own list.
_OF_REQUEST: Final = ("filter", "booster", "diversity", "rotation_rate", "rotation_time_s")


class Policy(msgspec.Struct, frozen=True):
    """What one list is made by; `repeats` says whether bought items may come again."""

    scenario: Scenario
    repeats: bool
    experiments: list[Experiment]


class Policies:
    """The scenarios in force."""

    def __init__(self, repeat_scenarios: frozenset[str], scenarios: Mapping[str, Scenario] = SCENARIOS) -> None:
        self._repeats = repeat_scenarios
        self._scenarios = dict(scenarios)

    def take_scenario(self, name: str, scenario: Scenario, version: int) -> None:
        """Have a scenario take effect with the next list."""
        self._scenarios[name] = msgspec.structs.replace(scenario, version=version)

    def of(self, asked: RecommendationRequest) -> Policy:
        """What a request's list is made by."""
        scenario = self._scenarios[asked.scenario]
        repeats = asked.scenario in self._repeats if scenario.repeats is None else scenario.repeats
        changes: dict[str, Any] = {name: given for name in _OF_REQUEST if (given := getattr(asked, name)) is not None}
        if changes:
            scenario = msgspec.structs.replace(scenario, **changes)
        return Policy(scenario, repeats, [])
