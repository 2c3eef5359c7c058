"""What the commands about lists read, from the logs of a shop, with progress on stderr."""

from collections.abc import Callable, Collection
from pathlib import Path

from features.events import Event
from infra.clock import HOUR_MS
from infra.errors import NotFound
from infra.settings import Settings
from serving.decisions import Decision
from streams.attribution_report import NAMES as ATTRIBUTED
from streams.attribution_report import Attribution, AttributionReport
from streams.decision_reading import DecisionReading, EventReading, Passed, Period
from streams.experiment_counting import NAMES as COUNTED
from streams.experiment_counting import Counting
from streams.experiment_report import ExperimentReport, report
from streams.experiment_settings import experiment
from streams.policy_estimate import PolicyEstimate, PolicyReport, Reward, scenario_from
from streams.progress import Phases


def report_on(
    settings: Settings, experiment_id: str, period: Period, hours: int, version: int | None
) -> ExperimentReport:
    """The report of an experiment; lists and events are of the same time.

    Raises:
        NotFound: it made no list in this time.
        ArchiveAway, KafkaAway, Refused: what is needed cannot be read.
    """
    wanted = experiment(settings, experiment_id)
    counting = Counting(experiment_id, hours * HOUR_MS, version)
    read(settings, period, period, COUNTED, counting.shown, counting.event)
    counted = counting.counted()
    if counted is None:
        of = "" if version is None else f" in version {version}"
        is_set = (
            "it is set" if wanted is not None else "there is no such setting: GET /v1/settings/experiment names all"
        )
        raise NotFound(
            f"No list of experiment {experiment_id[:64]!r}{of} was made in this time; {is_set}. It takes part in lists "
            "of its scenario for known shoppers.",
            path="ID",
            code="no_list_of_experiment",
        )
    return report(experiment_id, counted, wanted)


def attributed(settings: Settings, period: Period, hours: int) -> AttributionReport:
    """What lists brought; events are read for so many hours longer than lists.

    Raises:
        ArchiveAway, KafkaAway, Refused: what is needed cannot be read.
    """
    attribution = Attribution(hours * HOUR_MS)
    later = Period(period.since, period.until + hours * HOUR_MS)
    read(settings, period, later, ATTRIBUTED, attribution.shown, attribution.event)
    return attribution.report()


def estimated(settings: Settings, scenario: Path, period: Period, hours: int, reward: Reward) -> PolicyReport:
    """What another scenario would be worth; events are read for so many hours longer than lists.

    Raises:
        BadInput: the file holds no scenario.
        Refused: what the other scenario needs was not recorded.
        ArchiveAway, KafkaAway: what is needed cannot be read.
    """
    estimate = PolicyEstimate(scenario_from(scenario), reward, hours * HOUR_MS)
    later = Period(period.since, period.until + hours * HOUR_MS)
    read(settings, period, later, estimate.names, estimate.shown, estimate.event)
    return estimate.report()


def read(
    settings: Settings,
    of_lists: Period,
    of_events: Period,
    names: Collection[str],
    shown: Callable[[Decision], object],
    did: Callable[[Event], object],
) -> None:
    """Give out all lists, then all events.

    Raises:
        ArchiveAway, KafkaAway, NotFound, Refused.
    """
    decisions, events = DecisionReading(settings), EventReading(settings, names)
    with Phases() as phases:
        spans = decisions.spans(of_lists)
        if decisions.forgotten(spans):
            phases.say(
                "Kafka may have let go of some of these lists: it keeps 30 days, the embedded broker far less. What is "
                "told is of the rest."
            )
        with phases.phase("lists", sum(end - first for first, end in spans.values()), "records") as advance:
            for decision in decisions.read(spans, of_lists, advance):
                shown(decision)
        with phases.phase("events", 0, "records") as advance:
            for event in events.read(of_events, advance):
                did(event)
        for name, passed in (("lists", decisions.passed), ("events", events.passed)):
            _say_passed(phases, name, passed)


def _say_passed(phases: Phases, name: str, passed: Passed) -> None:
    if passed.unreadable:
        phases.say(f"{passed.unreadable:,} records of {name} cannot be read and are left out")
    if passed.repeated:
        phases.say(f"{passed.repeated:,} records of {name} are repeats and count once")
