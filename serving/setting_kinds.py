"""What a shop sets while everything runs, by kind: its type, and what must hold of it before it takes effect."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from features.refusals import UNREADABLE
from infra.errors import BadInput, NotFound
from serving import expressions
from serving.bodies import refused
from serving.scenarios import SCENARIO_NAMES, Scenario

Shown = type[msgspec.Struct] | None


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of setting. `check` raises BadInput for a value that would not do under this id; `shown` is what may be
    read of a value, of the type `shown_as` where that is another. `fails_closed`: a record that cannot be read takes
    what was in force with it. `check_id` raises BadInput for an id that nothing new may have.
    """

    name: str
    type: type[msgspec.Struct]
    check: Callable[[str, Any], None]
    beginning: Mapping[str, Any]  # what is in force where nothing was set
    shown: Callable[[Any], Any] = lambda value: value
    fails_closed: bool = False
    shown_as: Shown = None
    check_id: Callable[[str], None] = lambda _: None


def kind_of(kinds: Mapping[str, Kind], name: str) -> Kind:
    """The kind of this name.

    Raises:
        NotFound: there is none; names those that there are.
    """
    found = kinds.get(name)
    if found is None:
        raise NotFound(f"There is no kind of setting {name[:40]!r}; there are {', '.join(sorted(kinds))}.", path="kind")
    return found


def decoded(kind: Kind, setting_id: str, raw: bytes) -> Any:
    """A value of a kind, checked.

    Raises:
        BadInput: does not validate, names the field.
    """
    try:
        value = msgspec.json.decode(raw, type=kind.type)
    except UNREADABLE as error:
        raise refused(error, kind.type) from None
    kind.check(setting_id, value)
    return value


def _check_scenario(setting_id: str, value: Scenario) -> None:
    if setting_id not in SCENARIO_NAMES:
        raise NotFound(f"There is no scenario {setting_id[:40]!r}; there are {', '.join(SCENARIO_NAMES)}.", path="id")
    if value.name != setting_id:
        raise BadInput(f"This is the setting of {setting_id!r}: name is the same.", path="name", code="name_differs")
    if value.version != 1:
        raise BadInput("The version is given by the log; leave it out.", path="version", code="version_given")
    check_rules(value)


def check_rules(value: Scenario) -> None:
    """What a type cannot say of a scenario.

    Raises:
        BadInput: names the field.
    """
    named = [turn.source for turn in value.blend]
    if len(set(named)) < len(named):
        raise BadInput("A source stands in the blend twice; give it more items a turn.", path="blend", code="twice")
    expressions.check(value.filter, value.booster)


def scenario_kind(beginning: Mapping[str, Scenario]) -> Kind:
    """Scenarios."""
    return Kind("scenario", Scenario, _check_scenario, beginning)


MAX_ID: Final = 100
