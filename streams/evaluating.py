"""What `daogou evaluate` does: an artifact beside every baseline, over seeds, beyond accuracy and by segment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from infra.errors import BadInput, NotFound
from infra.settings import Settings
from models.artifact import Artifact
from models.baselines import Ranker
from models.beside import COUNT, baselines, of_seeds
from models.comparison import Comparison, compare
from models.evaluation import Evaluation
from models.fusion import SOURCES, Weights
from models.gate import MODEL
from models.release import candidate, pointer
from models.report import TITLES, report_of
from models.rivals import over, usable
from models.splits import LEAVE_ONE_OUT, TEMPORAL, Split, last_of_each, temporal
from models.training import table_of
from models.traits_told import traits_told
from streams.progress import Phases
from streams.seeds import others
from streams.trainer import Report, bought_in, ms_of, sources_of, write_report

SPLITS: Final = (TEMPORAL, LEAVE_ONE_OUT)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """An artifact's own table, and everything beside each other."""

    report: Report
    comparison: Comparison


def evaluate(
    settings: Settings, chosen: str | None, phases: Phases, split: str = TEMPORAL, seeds: int = 1
) -> Evaluated:
    """An artifact, by default the released one, on the weeks after those it was fitted on.

    Other seeds of the model are artifacts that differ from it in nothing else.

    Args:
        settings: name the archive, the offline features and the models.
        chosen: its version.
        phases: who hears how far it is.
        split: of `SPLITS`; `loo`: of each shopper only the last purchase of those weeks is to be found.
        seeds: how many of each model that draws in its fit.

    Raises:
        NotFound: there is no such artifact, or none is released.
        ArtifactBroken: a file of it is missing or altered.
        BadInput: no such split, or the archive holds no purchase of those weeks.
    """
    if split not in SPLITS:
        raise BadInput(f"--split {split}: there are {' and '.join(SPLITS)}", path="split", code="unknown_split")
    artifact = chosen_artifact(settings, chosen)
    usable(artifact)
    manifest = artifact.manifest
    weeks = (ms_of(manifest.fitted_before), ms_of(manifest.tested_until))
    bought = bought_in(settings, artifact.item_ids, weeks, phases)
    part = temporal(bought, *weeks) if split == TEMPORAL else last_of_each(bought, *weeks)
    with phases.phase("baselines fitted", COUNT, "models") as advance:
        beside = baselines(part.before, part.at_ms, manifest.seed, progress=advance)
        beside += of_seeds(part.before, range(manifest.seed + 1, manifest.seed + seeds))
    runs: dict[str, list[Evaluation]] = {}
    for one in [artifact, *others(settings, artifact, seeds - 1, phases)]:
        for row in _tested(settings, one, bought, weeks, part, [] if runs else beside, phases):
            runs.setdefault(row.name, []).append(row)
    with phases.phase("categories and countries read", 0, "events") as advance:
        traits = traits_told(sources_of(settings), bought.items, bought.shoppers, weeks[0], advance)
    comparison = compare(runs, part.before, part.at_ms, part.name, MODEL, traits, manifest.seed)
    return Evaluated(Report(manifest, [ones[0] for ones in runs.values()]), comparison)


def chosen_artifact(settings: Settings, chosen: str | None) -> Artifact:
    """An artifact by its version, by default the released one.

    Raises:
        NotFound: there is no such artifact, or none is released.
        ArtifactBroken: a file of it is missing or altered.
    """
    name = chosen or pointer(settings.models_dir).live
    if name is None:
        raise NotFound("no model is released: daogou train --release makes one", path="version")
    return candidate(settings.models_dir, name)


def _tested(
    settings: Settings,
    artifact: Artifact,
    bought: Any,
    weeks: tuple[int, int],
    split: Split,
    beside: Sequence[Ranker],
    phases: Phases,
) -> list[Evaluation]:
    """The baselines as they are, and the artifact's rows with its seed."""
    fitted = over(usable(artifact), bought.items)
    rows = table_of(sources_of(settings), fitted, bought, weeks, phases, split, beside)
    given = len(beside)
    return [*rows[:given], *(msgspec.structs.replace(row, seed=artifact.manifest.seed) for row in rows[given:])]


def page_of(evaluated: Evaluated) -> str:
    """The HTML report."""
    manifest = evaluated.report.manifest
    weights = "; ".join(
        f"{TITLES[task].lower()}: " + ", ".join(f"{name} {value:g}" for name, value in _by_name(line))
        for task, line in manifest.weights.items()
    )
    about = [
        ("artifact", manifest.version),
        ("made at", f"{manifest.made_at:%Y-%m-%d %H:%M} by version {manifest.code}, seed {manifest.seed}"),
        ("tested until", f"{manifest.tested_until:%Y-%m-%d}"),
        ("texts by", manifest.text_encoder),
        ("fusion weights", weights),
    ]
    return report_of(evaluated.comparison, about, f"Evaluation of {manifest.version}")


def _by_name(weights: Weights) -> list[tuple[str, float]]:
    return [(name.replace("_", "-"), getattr(weights, name)) for name in SOURCES]


def figures_of(evaluated: Evaluated) -> bytes:
    """All figures as JSON: those of `train --json`, and `comparison`."""
    figures: Mapping[str, Any] = msgspec.json.decode(write_report(evaluated.report))
    full = {**figures, "comparison": msgspec.to_builtins(evaluated.comparison)}
    return msgspec.json.format(msgspec.json.encode(full), indent=2) + b"\n"


def write_page(evaluated: Evaluated, file: Path) -> None:
    """The report, whole or not at all."""
    new = file.with_name(f".{file.name}.new")
    new.write_text(page_of(evaluated), encoding="utf-8")
    new.replace(file)
