"""The model card: what the model is, what it was made from, how it did, and where not to trust it. Markdown."""

from collections.abc import Sequence

from models.artifact import Manifest
from models.comparison import LED_BY, Comparison, SegmentTable, TaskTable
from models.evaluation import METRICS
from models.fusion import SOURCES
from models.own import Repeats
from models.plots import best_beside
from models.report import RANKED, SPLITS, TITLES

NAME = "card.md"
_SPECIAL = str.maketrans({mark: f"\\{mark}" for mark in "\\`*_{}[]<>#|"} | {"\n": " ", "\r": " "})


def card_of(manifest: Manifest, comparison: Comparison) -> str:
    """The card of an artifact, which lies in its folder: it names no version, the folder does."""
    parts = [
        "# Model card",
        _made(manifest, comparison),
        "## What it is for",
        "Ranking the items of one shop for its shoppers: lists of recommendations, similar items, what to offer in a "
        "message. It predicts purchases. It is not made to judge people, and what it scores are no probabilities.",
        "## How it did",
        f"Split: {_plain(SPLITS.get(comparison.split, comparison.split))}. Fitted on one prefix with the baselines, "
        "full ranking, ties counted half; in brackets 95 % intervals over shoppers.",
        *(_task(comparison, table) for table in comparison.tables),
        "## Where it is worse",
        _worse(comparison),
        "## What is not known",
        _listed(
            [*comparison.not_said, "Whether lists make shoppers buy more: that needs an experiment with shoppers."]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _made(manifest: Manifest, comparison: Comparison) -> str:
    weights = "; ".join(
        f"{task}: " + ", ".join(f"{name} {getattr(line, name):g}" for name in SOURCES)
        for task, line in manifest.weights.items()
    )
    repeats = manifest.weights["all"].repeats or Repeats()
    return _listed(
        [
            f"Two towers fused with item-to-item scores, popularity and own repeats; fusion weights {weights}",
            f"Own repeats halve in {repeats.half_life_days:g} days; beside a purchase's 1 a step into the cart or onto "
            f"the wish list counts {repeats.put_aside:g} and a view {repeats.looked_at:g}",
            f"Made at {manifest.made_at:%Y-%m-%d %H:%M} by version {manifest.code}, seed {manifest.seed}",
            f"Fitted on {comparison.interactions:,} interactions of {comparison.shoppers:,} shoppers before "
            f"{manifest.fitted_before:%Y-%m-%d}, tested until {manifest.tested_until:%Y-%m-%d}",
            f"{comparison.items:,} items; their texts by {manifest.text_encoder}",
        ]
    )


def _task(comparison: Comparison, table: TaskTable) -> str:
    heads = ["model", *(f"{metric.upper()}@{comparison.k}" for metric in METRICS[:2]), "MRR", "coverage", "Gini"]
    lines = [_line(heads), _line(["---"] * len(heads))]
    for row in table.rows:
        first = row.figures[LED_BY]
        cells = [f"{first.mean:.4f} ({first.low or 0:.4f} to {first.high or 0:.4f})"]
        cells += [f"{row.figures[metric].mean:.4f}" for metric in METRICS[1:]]
        cells += [f"{row.figures[metric].mean:.3f}" for metric in ("coverage", "gini")]
        lines.append(_line([_plain(row.model), *cells]))
    told = f"{TITLES[table.task]}: {table.shoppers:,} shoppers. {RANKED[table.task]}"
    return "\n".join([told, "", *lines])


def _worse(comparison: Comparison) -> str:
    told = []
    for table in comparison.tables:
        rival = best_beside(table.rows, comparison.reference)
        told += [
            f"{TITLES[table.task]}: {row.model} is ahead by {-row.lead.mean:.4f} {LED_BY.upper()}"
            for row in table.rows
            if row.lead is not None and row.lead.high < 0
        ]
        some = [one for one in comparison.segments if one.task == table.task]
        told += [line for one in some for line in _of_segment(one, comparison.reference, rival)]
    return _listed(told) if told else "In no segment surely worse than in its opposite, and behind no model surely."


def _of_segment(one: SegmentTable, reference: str, rival: str | None) -> list[str]:
    told = []
    rows = {row.model: row for row in one.rows}
    apart = rows[reference].apart
    where = f"{TITLES[one.task]}, {one.segment} ({one.shoppers:,})"
    if apart.high < 0:
        told.append(f"{where}: {-apart.mean:.4f} {LED_BY.upper()} less than {one.opposite}")
    lead = rows[rival].lead if rival else None
    if lead is not None and lead.high < 0:
        told.append(f"{where}: {rival} is ahead by {-lead.mean:.4f} {LED_BY.upper()}")
    return told


def _listed(lines: Sequence[str]) -> str:
    return "\n".join(f"- {_plain(line)}" for line in lines)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return text.translate(_SPECIAL)
