"""Experiments: who sees which variation of a scenario. The same shopper always the same one, whichever process answers,
and one experiment says nothing about another.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import mmh3
import msgspec
from msgspec import Meta

from features.refusals import UNREADABLE
from infra.errors import BadInput
from serving.bodies import refused
from serving.recommendation_types import Experiment as Assigned
from serving.scenarios import Scenario, ScenarioName
from serving.setting_kinds import Kind, check_rules

_WHOLE: Final = 2.0**64
_FIXED: Final = ("name", "version")

_MAX_ID: Final = 64
_ID: Final = r"\A[a-z0-9_-]+\Z"

Id = Annotated[str, Meta(min_length=1, max_length=_MAX_ID, pattern=_ID)]


class Variation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One way of making the list: what it changes of the scenario. `holdout`: a list that is not personal at all, for
    what personal lists are worth.
    """

    id: Id
    weight: Annotated[int, Meta(ge=1, le=100)] = 1
    changes: dict[str, Any] = {}
    holdout: bool = False


class ExperimentSetting(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Shoppers of a scenario are divided over variations, in the ratio of their weights; `share` of them take part. The
    first variation is what the others are compared with.
    """

    scenario: ScenarioName
    variations: Annotated[tuple[Variation, ...], Meta(min_length=2, max_length=10)]
    share: Annotated[float, Meta(gt=0.0, le=1.0)] = 1.0
    status: Literal["running", "stopped"] = "running"


class Experiments:
    """The experiments in force."""

    def __init__(self) -> None:
        self._running: dict[str, dict[str, tuple[ExperimentSetting, int]]] = {}  # by scenario, then id

    def take(self, experiment_id: str, experiment: ExperimentSetting | None, version: int) -> None:
        """Have an experiment take effect with the next list; None: it is gone."""
        for of_scenario in self._running.values():
            of_scenario.pop(experiment_id, None)
        if experiment is not None and experiment.status == "running":
            self._running.setdefault(experiment.scenario, {})[experiment_id] = experiment, version

    def assigned(
        self, scenario: str, unit: str | None, overrides: Mapping[str, str]
    ) -> Sequence[tuple[str, Variation, int]]:
        """Of each running experiment that the shopper `unit` takes part in: its id, variation and version. Whoever is
        not known takes part in none, but by `overrides` (experiment id to variation id).

        Raises:
            BadInput: an override names what is not running.
        """
        running = self._running.get(scenario)
        if not running and not overrides:
            return ()
        found = []
        for experiment_id, (experiment, version) in sorted((running or {}).items()):
            wanted = overrides.get(experiment_id)
            variation = _named(experiment_id, experiment, wanted) if wanted else _drawn(experiment_id, experiment, unit)
            if variation is not None:
                found.append((experiment_id, variation, version))
        unknown = overrides.keys() - (running or {}).keys()
        if unknown:
            raise _no_override(f"no experiment {min(unknown)[:64]!r} is running in {scenario!r}")
        return found


def place_of(experiment_id: str, unit: str) -> tuple[float, float]:
    """Two numbers of a shopper, 0 to 1, each evenly spread and anew for each experiment: whether it takes part follows
    from the first, in which variation from the second, so that a larger share moves nobody to another variation.
    """
    first, second = mmh3.hash64(f"{experiment_id}\0{unit}", 0, signed=False)
    return first / _WHOLE, second / _WHOLE


def changed(scenario: Scenario, changes: Mapping[str, Any]) -> Scenario:
    """The scenario with a variation's changes.

    Raises:
        BadInput: they do not validate.
    """
    if not changes:
        return scenario
    try:
        return msgspec.convert(msgspec.to_builtins(scenario) | dict(changes), Scenario)
    except UNREADABLE as error:
        raise refused(error, Scenario) from None


def experiment_assigned(found: Sequence[tuple[str, Variation, int]]) -> list[Assigned]:
    """As answers and records have it."""
    return [Assigned(experiment_id, variation.id) for experiment_id, variation, _ in found]


def experiment_kind(scenarios: Mapping[str, Scenario]) -> Kind:
    """Experiments as a kind of setting; nothing runs in the beginning."""

    def check(_: str, value: ExperimentSetting) -> None:
        ids = [one.id for one in value.variations]
        if len(set(ids)) < len(ids):
            raise BadInput("Two variations have one id.", path="variations", code="twice")
        for n, one in enumerate(value.variations):
            fixed = next((name for name in one.changes if name in _FIXED), None)
            if fixed is not None:
                raise BadInput(
                    f"A variation cannot change {fixed}.", path=f"variations[{n}].changes", code="not_changeable"
                )
            try:
                check_rules(changed(scenarios[value.scenario], one.changes))
            except BadInput as error:
                raise _inside(error, f"variations[{n}].changes") from None

    return Kind("experiment", ExperimentSetting, check, {}, check_id=_check_id)


def _check_id(experiment_id: str) -> None:
    """As those of variations. One that is on the log already, under another id, goes on until it is taken back."""
    if len(experiment_id) > _MAX_ID or re.search(_ID, experiment_id) is None:
        raise BadInput(
            f"The id of an experiment has 1 to {_MAX_ID} of a-z, 0-9, _ and -.", path="id", code="wrong_form"
        )


def _inside(error: BadInput, path: str) -> BadInput:
    """The same error at its place in the body: where the message names the field, it names all of the path."""
    whole = f"{path}.{error.path}" if error.path else path
    message = error.message
    if error.path and message.startswith((f"{error.path} must", f"{error.path} is")):
        message = whole + message.removeprefix(error.path)
    return BadInput(message, path=whole, code=error.reason)


def _drawn(experiment_id: str, experiment: ExperimentSetting, unit: str | None) -> Variation | None:
    if unit is None:
        return None
    taking, at = place_of(experiment_id, unit)
    if taking >= experiment.share < 1:
        return None
    left = at * sum(one.weight for one in experiment.variations)
    for one in experiment.variations:
        left -= one.weight
        if left < 0:
            return one
    return experiment.variations[-1]


def _named(experiment_id: str, experiment: ExperimentSetting, wanted: str) -> Variation:
    found = next((one for one in experiment.variations if one.id == wanted), None)
    if found is None:
        raise _no_override(f"experiment {experiment_id!r} has no variation {wanted[:64]!r}")
    return found


def _no_override(why: str) -> BadInput:
    return BadInput(f"This cannot be had: {why}.", path="experiment_overrides", code="no_such_variation")
