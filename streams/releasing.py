"""A release behind the gate: the artifact in service is tested on the candidate's weeks before it is replaced."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from msgspec.structs import replace

from infra.errors import DaogouError
from infra.settings import Settings
from models.artifact import Artifact
from models.bootstrap import difference, mean_of
from models.evaluation import METRICS, Evaluation
from models.gate import FLOOR, JUDGED, METRIC, MODEL, Compared, Figures
from models.interactions import Interactions
from models.ranking import lines_of
from models.release import Release, candidate, pointer
from models.release import release as swap
from models.rivals import over, usable
from models.segments import segments_of
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
    manifest, rows = report.manifest, report.evaluations
    compared = Compared(begin=manifest.fitted_before, end=manifest.tested_until)
    items = Artifact.open(settings.models_dir / manifest.version, verify=False).item_ids
    bought = bought_in(settings, items, (ms_of(compared.begin), ms_of(compared.end)), phases)
    others: Sequence[Evaluation] | None = None
    rival = against or pointer(settings.models_dir).live
    if rival is not None:
        compared = replace(compared, in_service=rival)
        if rival == manifest.version:
            others = rows
        else:
            compared, others = _tested(settings, compared, rival, bought, phases)
    return _judged(compared, rows, others, bought, manifest.seed)


def _tested(
    settings: Settings, compared: Compared, rival: str, bought: Interactions, phases: Phases
) -> tuple[Compared, Sequence[Evaluation] | None]:
    """Another artifact on the same weeks, or the reason why it could not be tested."""
    try:
        artifact = Artifact.open(settings.models_dir / rival)
        fitted = usable(artifact)
    except DaogouError as error:
        return replace(compared, untested=error.message), None
    weeks = (ms_of(compared.begin), ms_of(compared.end))
    rows = table_of(sources_of(settings), over(fitted, bought.items), bought, weeks, phases)
    return replace(compared, in_service_saw=artifact.manifest.fitted_before > compared.begin), rows


def _judged(
    compared: Compared, rows: Sequence[Evaluation], others: Sequence[Evaluation] | None, bought: Interactions, seed: int
) -> Compared:
    """With all figures of both: of everybody by metric, of groups of shoppers at `METRIC`."""
    found = next(one for one in rows if one.name == MODEL).found[METRIC.partition("/")[0]]
    groups = {}
    begin = ms_of(compared.begin)
    for part in segments_of(found, bought.before(begin), begin):
        for name, counted in ((part.name, part.counted), (part.opposite, ~part.counted)):
            if name not in groups:
                groups[name] = _figure(rows, others, METRIC, seed, counted)
    return replace(compared, figures={metric: _figure(rows, others, metric, seed) for metric in JUDGED}, groups=groups)


def _figure(
    rows: Sequence[Evaluation], others: Sequence[Evaluation] | None, metric: str, seed: int, counted: Any = None
) -> Figures:
    mine, floor = _values(rows, MODEL, metric, counted), _values(rows, FLOOR, metric, counted)
    lead = difference(mine, floor, seed)
    shoppers = int(np.isfinite(mine).sum())
    found = Figures(candidate=mean_of(mine), floor=mean_of(floor), over_floor=(lead.low, lead.high), shoppers=shoppers)
    if others is None:
        return found
    theirs = _values(others, MODEL, metric, counted)
    lead = difference(mine, theirs, seed)
    return replace(found, in_service=mean_of(theirs), over_in_service=(lead.low, lead.high))


def _values(rows: Sequence[Evaluation], name: str, metric: str, counted: Any) -> Any:
    """[shoppers]; NaN for who wants nothing that counts."""
    task, _, of = metric.partition("/")
    one = next(one for one in rows if one.name == name)
    lines = one.per_shopper[task] if counted is None else lines_of(one.found[task], one.k, counted)
    return lines[:, METRICS.index(of)]
