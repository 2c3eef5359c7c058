"""A release behind the gate: the artifact in service is tested on the candidate's weeks before it is replaced."""

from datetime import datetime

from msgspec.structs import replace

from infra.errors import DaogouError
from infra.settings import Settings
from models.artifact import Artifact
from models.evaluation import Evaluation
from models.gate import FLOOR, METRIC, MODEL, Compared
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
    return swap(settings.models_dir, version, at, compared, force=force, by=by)


def compare(settings: Settings, version: str, phases: Phases, tested: Report | None = None) -> Compared:
    """The candidate beside decayed popularity and the artifact in service, on the candidate's test weeks.

    Raises:
        NotFound, ArtifactBroken, BadInput: as `release`.
    """
    report = tested or evaluate(settings, version, phases)
    manifest = report.manifest
    figures = {one.name: one.mean(*_split(METRIC)) for one in report.evaluations}
    compared = Compared(
        begin=manifest.fitted_before, end=manifest.tested_until, fused=figures[MODEL], floor=figures[FLOOR]
    )
    live = pointer(settings.models_dir).live
    return compared if live is None else _beside(settings, compared, version, live, phases)


def _beside(settings: Settings, compared: Compared, version: str, live: str, phases: Phases) -> Compared:
    """With the figure of the artifact in service, or with the reason why there is none."""
    compared = replace(compared, in_service=live)
    if live == version:
        return replace(compared, in_service_fused=compared.fused)
    try:
        rival = Artifact.open(settings.models_dir / live)
        fitted = usable(rival)
    except DaogouError as error:
        return replace(compared, untested=error.message)
    items = Artifact.open(settings.models_dir / version, verify=False).item_ids
    weeks = (ms_of(compared.begin), ms_of(compared.end))
    bought = bought_in(settings, items, weeks, phases)
    rows = table_of(sources_of(settings), over(fitted, items), bought, weeks, phases)
    return replace(
        compared,
        in_service_fused=_figure(rows),
        in_service_saw=rival.manifest.fitted_before > compared.begin,
    )


def _figure(rows: list[Evaluation]) -> float:
    return next(one.mean(*_split(METRIC)) for one in rows if one.name == MODEL)


def _split(metric: str) -> tuple[str, str]:
    task, _, name = metric.partition("/")
    return task, name
