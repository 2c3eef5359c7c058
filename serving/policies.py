"""Which rules a list is made by: the scenario that is in force, experiments, and what the request changes in it."""

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final

import msgspec

from serving.experiments import Experiments, ExperimentSetting, changed, experiment_assigned
from serving.recommendation_types import Experiment as Assigned
from serving.recommendation_types import RecommendationRequest
from serving.scenarios import SCENARIOS, Scenario

_KEPT: Final = 1000
# What a request may set for its own list. Its filter holds beside the scenario's: it lifts no rule of the shop.
_OF_REQUEST: Final = ("booster", "diversity", "rotation_rate", "rotation_time_s")


class Policy(msgspec.Struct, frozen=True):
    """What one list is made by; `repeats` says whether bought items may come again, `version` names all of it.

    `holdout`: an experiment wants this list not to be personal.
    """

    scenario: Scenario
    repeats: bool
    experiments: list[Assigned]
    version: str
    holdout: bool = False


class Policies:
    """The scenarios and experiments in force."""

    def __init__(self, repeat_scenarios: frozenset[str], scenarios: Mapping[str, Scenario] = SCENARIOS) -> None:
        self._repeats = repeat_scenarios
        self._scenarios = dict(scenarios)
        self._experiments = Experiments()
        self._kept: dict[str, Scenario] = {}  # varied scenarios, by version

    def take_scenario(self, name: str, scenario: Scenario | None, version: int) -> None:
        """Have a scenario take effect with the next list; None: there is none of this name, as in the beginning."""
        if scenario is None:
            self._scenarios.pop(name, None)
        else:
            self._scenarios[name] = msgspec.structs.replace(scenario, version=version)

    def take_experiment(self, experiment_id: str, experiment: ExperimentSetting | None, version: int) -> None:
        """Have an experiment take effect with the next list; None: it is gone."""
        self._experiments.take(experiment_id, experiment, version)

    def of(self, asked: RecommendationRequest) -> Policy:
        """What a request's list is made by.

        Raises:
            BadInput: an override names an experiment or variation that is not there.
        """
        scenario = self._scenarios[asked.scenario]
        version = scenario.policy_version
        assigned = self._experiments.assigned(asked.scenario, _unit(asked), asked.experiment_overrides)
        if assigned:
            version += "".join(f"+{one}-{of_version}.{variation.id}" for one, variation, of_version in assigned)
            scenario = self._varied(version, scenario, [variation.changes for _, variation, _ in assigned])
        wishes: dict[str, Any] = {name: given for name in _OF_REQUEST if (given := getattr(asked, name)) is not None}
        if wishes:
            scenario = msgspec.structs.replace(scenario, **wishes)
        repeats = asked.scenario in self._repeats if scenario.repeats is None else scenario.repeats
        holdout = any(variation.holdout for _, variation, _ in assigned)
        return Policy(scenario, repeats, experiment_assigned(assigned), version, holdout)

    def _varied(self, version: str, scenario: Scenario, changes: Sequence[Mapping[str, Any]]) -> Scenario:
        """The scenario with all changes: the same for every shopper of the same variations."""
        found = self._kept.get(version)
        if found is None:
            if len(self._kept) == _KEPT:
                self._kept.clear()
            found = self._kept[version] = reduce(changed, changes, scenario)
        return found


def _unit(asked: RecommendationRequest) -> str | None:
    """Who is assigned. A login begins anew: what an anonymous id saw says nothing about the user's other devices."""
    if asked.user_id is not None:
        return f"u-{asked.user_id}"
    return None if asked.anonymous_id is None else f"a-{asked.anonymous_id}"
