"""A release behind the gate: the artifact in service is tested on the candidate's weeks before it is replaced."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec.structs import replace

from infra.errors import DaogouError
from infra.settings import Settings
from models.artifact import Artifact
from models.evaluation import METRICS, Evaluation
from models.gate import FLOOR, JUDGED, MODEL, Compared, Figures
from models.paired import paired_interval
from models.release import Release, candidate, pointer
from models.release import release as swap
from models.rivals import over, usable
from models.training import table_of
from streams.progress import Phases
from streams.trainer import Report, bought_in, evaluate, ms_of, sources_of


def release(
    settings: Settings,
    version: str,
    phases: Phases,
    at: datetime,
    *,
    force: str | None = None,
    tested: Report | None = None,
    by: str | None = None,
) -> Release:
    """Put an artifact into service if the gate lets it; the figures are kept with the release.

    Args:
        settings: name the archive, the offline features and the models.
        version: the candidate.
        phases: who hears how far it is.
        at: now.
        force: the reason why the gate is passed over; the figures are kept where there are any.
        tested: how the candidate did, where it was tested just now.
        by: the account that asks for it; kept in the record.

    Raises:
        NotFound, ArtifactBroken: the candidate is not there, or not whole.
        BadInput: the archive holds no purchase of the candidate's weeks.
        Refused: the gate's.
    """
    candidate(settings.models_dir, version)
    compared: Compared | None
    try:
        compared = compare(settings, version, phases, tested)
    except DaogouError as error:
        if force is None:
            raise
        phases.say(f"released without figures: {error.message}")
        compared = None
    beyond = settings.unfair_beyond
    return swap(settings.models_dir, version, at, compared, unfair_beyond=beyond, force=force, by=by)


def compare(
    settings: Settings, version: str, phases: Phases, tested: Report | None = None, *, against: str | None = None
) -> Compared:
    """The candidate beside decayed popularity and another artifact, on the candidate's test weeks.

    Args:
        settings, version, phases, tested: as `release`.
        against: the other; without it the one in service.

    Raises:
        NotFound, ArtifactBroken, BadInput: as `release`.
    """
    report = tested or evaluate(settings, version, phases)
    manifest = report.manifest
    compared = Compared(begin=manifest.fitted_before, end=manifest.tested_until)
    rival = against or pointer(settings.models_dir).live
    if rival is None:
        return replace(compared, figures=_figures(report.evaluations, None, manifest.seed))
    return _beside(settings, replace(compared, in_service=rival), report, phases)


def _beside(settings: Settings, compared: Compared, report: Report, phases: Phases) -> Compared:
    """With the figures of another artifact, or with the reason why there are none."""
    version, seed, other = report.manifest.version, report.manifest.seed, compared.in_service or ""
    if other == version:
        return replace(compared, figures=_figures(report.evaluations, report.evaluations, seed))
    try:
        rival = Artifact.open(settings.models_dir / other)
        fitted = usable(rival)
    except DaogouError as error:
        return replace(compared, untested=error.message, figures=_figures(report.evaluations, None, seed))
    items = Artifact.open(settings.models_dir / version, verify=False).item_ids
    weeks = (ms_of(compared.begin), ms_of(compared.end))
    bought = bought_in(settings, items, weeks, phases)
    rows = table_of(sources_of(settings), over(fitted, items), bought, weeks, phases)
    return replace(
        compared,
        figures=_figures(report.evaluations, rows, seed),
        in_service_saw=rival.manifest.fitted_before > compared.begin,
    )


def _figures(rows: Sequence[Evaluation], others: Sequence[Evaluation] | None, seed: int) -> dict[str, Figures]:
    return {metric: _figure(rows, others, metric, seed) for metric in JUDGED}


def _figure(rows: Sequence[Evaluation], others: Sequence[Evaluation] | None, metric: str, seed: int) -> Figures:
    mine, floor = _values(rows, MODEL, metric), _values(rows, FLOOR, metric)
    found = Figures(
        candidate=_mean(mine), floor=_mean(floor), over_floor=paired_interval(mine, floor, seed), shoppers=len(mine)
    )
    if others is None:
        return found
    theirs = _values(others, MODEL, metric)
    return replace(found, in_service=_mean(theirs), over_in_service=paired_interval(mine, theirs, seed))


def _values(rows: Sequence[Evaluation], name: str, metric: str) -> Any:
    """[shoppers]"""
    task, _, of = metric.partition("/")
    return next(one.per_shopper[task][:, METRICS.index(of)] for one in rows if one.name == name)


def _mean(values: Any) -> float:
    return float(values.mean()) if len(values) else 0.0
