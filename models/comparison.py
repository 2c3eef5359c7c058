"""Models beside each other: every figure with its interval, its range over seeds, and what is surely different."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from models import beyond_accuracy as beyond
from models.bootstrap import Difference, bounds, draws_of, mean_of
from models.evaluation import METRICS, TASKS, Evaluation
from models.interactions import Interactions, Ints
from models.ranking import lines_of
from models.segments import Segment, segments_of

LED_BY: Final = "ndcg"
PER_SHOPPER: Final = (*METRICS, "novelty", "popularity", "miscalibration")
OF_ALL: Final = ("coverage", "gini")


class Figure(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number: over shoppers with its 95 % interval, over seeds with the least and the most."""

    mean: float
    low: float | None = None
    high: float | None = None
    least: float | None = None
    most: float | None = None


class Row(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model. `lead` is the reference's NDCG less this one's, at the same shoppers."""

    model: str
    figures: dict[str, Figure]
    seeds: list[int] = []
    note: str = ""
    lead: Difference | None = None
    lorenz: list[float] = []


class TaskTable(msgspec.Struct, frozen=True):
    """All models at one task. `bought_popularity`: how many shoppers had met what was wanted, on average."""

    task: str
    shoppers: int
    wanted: int
    bought_popularity: float
    rows: list[Row]


class SegmentRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model in one segment; `apart` is its NDCG there less that in the opposite."""

    model: str
    figures: dict[str, Figure]
    apart: Difference
    lead: Difference | None = None


class SegmentTable(msgspec.Struct, frozen=True):
    """All models in one segment of one task."""

    task: str
    segment: str
    opposite: str
    meaning: str
    shoppers: int
    wanted: int
    rows: list[SegmentRow]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that the report, the card and the JSON say of an evaluation.

    Args:
        split: its name.
        k: length of the lists.
        at_ms: end of the prefix.
        reference: the model that the others are compared with.
        shoppers, items, interactions: of the prefix.
        tables: one for each task.
        segments: one for each segment and task.
        not_said: what could not be measured, and why.
    """

    split: str
    k: int
    at_ms: int
    reference: str
    shoppers: int
    items: int
    interactions: int
    tables: list[TaskTable]
    segments: list[SegmentTable]
    not_said: list[str]


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of items and shoppers beside the interactions.

    Args:
        categories: [items] numbers, -1 for none; None: not known.
        countries: of each shopper; None: not known.
    """

    categories: Ints | None = None
    countries: Sequence[str | None] | None = None


def compare(
    runs: Mapping[str, Sequence[Evaluation]],
    before: Interactions,
    at_ms: int,
    split: str,
    reference: str,
    traits: Traits | None = None,
    seed: int = 0,
) -> Comparison:
    """All figures of models that were tested at one truth, with `evaluate`.

    Args:
        runs: by model, its evaluations, one for each seed.
        before: the prefix.
        at_ms: its end.
        split: its name.
        reference: a name of `runs`.
        traits: for calibration and countries.
        seed: of the bootstrap.
    """
    traits = traits or Traits()
    known = beyond.known_of(before, traits.categories)
    some = next(iter(runs.values()))[0]
    tasks = [task for task in TASKS if task in some.per_shopper]
    segments = []
    for task in tasks:
        parts = segments_of(some.found[task], before, at_ms, traits.countries)
        segments += [_segment(part, runs, task, reference, seed) for part in parts]
    return Comparison(
        split=split,
        k=some.k,
        at_ms=at_ms,
        reference=reference,
        shoppers=known.shoppers,
        items=len(before.items),
        interactions=len(before),
        tables=[_table(runs, task, known, reference, seed) for task in tasks],
        segments=segments,
        not_said=_not_said(known, traits, segments),
    )


def _table(
    runs: Mapping[str, Sequence[Evaluation]], task: str, known: beyond.Known, reference: str, seed: int
) -> TaskTable:
    some = next(iter(runs.values()))[0].found[task]
    each = {name: [_per_shopper(one, task, known) for one in ones] for name, ones in runs.items()}
    drawn, means = _drawn({name: _average(lines) for name, lines in each.items()}, seed)
    rows = []
    for at, (name, ones) in enumerate(runs.items()):
        figures = {
            metric: _figure(drawn[at][:, column], means[at][column], [mean_of(line[:, column]) for line in each[name]])
            for column, metric in enumerate(PER_SHOPPER)
            if np.isfinite(each[name][0][:, column]).any()
        }
        lists = [one.found[task].lists for one in ones]
        for metric, of in zip(OF_ALL, (beyond.coverage, beyond.gini), strict=True):
            figures[metric] = _over_seeds([of(one, known) for one in lists])
        lead = _lead(drawn, means, list(runs), name, reference)
        line = [round(float(point), 4) for point in beyond.lorenz(lists[0], known)]
        rows.append(Row(name, figures, _seeds(ones), ones[0].note, lead, line))
    bought = float(known.met[some.wanted].mean()) if len(some.wanted) else 0.0
    return TaskTable(task, len(some.shoppers), len(some.wanted), bought, rows)


def _segment(
    part: Segment, runs: Mapping[str, Sequence[Evaluation]], task: str, reference: str, seed: int
) -> SegmentTable:
    width = len(METRICS)
    both = {}
    for name, ones in runs.items():
        lines = [
            np.concatenate([lines_of(one.found[task], one.k, some) for some in (part.counted, ~part.counted)], axis=1)
            for one in ones
        ]
        both[name] = _average(lines)
    drawn, means = _drawn(both, seed)
    column = METRICS.index(LED_BY)
    rows = []
    for at, name in enumerate(runs):
        low, high = bounds(drawn[at][:, column] - drawn[at][:, width + column])
        apart = Difference(float(means[at][column] - means[at][width + column]), low, high)
        figures = {metric: _figure(drawn[at][:, n], means[at][n], []) for n, metric in enumerate(METRICS)}
        rows.append(SegmentRow(name, figures, apart, _lead(drawn, means, list(runs), name, reference)))
    found = next(iter(runs.values()))[0].found[task]
    shoppers = len(np.unique(found.whose()[part.counted]))
    wanted = int(part.counted.sum())
    return SegmentTable(task, part.name, part.opposite, part.meaning, shoppers, wanted, rows)


def _per_shopper(one: Evaluation, task: str, known: beyond.Known) -> Any:
    """[shoppers, 6] as `PER_SHOPPER`."""
    found = one.found[task]
    rest = [
        beyond.novelty(found.lists, known),
        beyond.popularity(found.lists, known),
        beyond.miscalibration(found.lists, found.shoppers, known),
    ]
    return np.concatenate([one.per_shopper[task], np.stack(rest, axis=1)], axis=1)


def _average(lines: Sequence[Any]) -> Any:
    """Over seeds; a shopper counts where one of them says something."""
    table = np.stack(lines)
    there = np.isfinite(table)
    counts = there.sum(0)
    sums = np.where(there, table, 0).sum(0)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _drawn(tables: Mapping[str, Any], seed: int) -> tuple[list[Any], list[Any]]:
    """For each model the draws of its columns, [draws, columns], all on the same draws, and the columns' means."""
    drawn = draws_of(np.concatenate(list(tables.values()), axis=1), seed)
    means = [np.array([mean_of(table[:, n]) for n in range(table.shape[1])]) for table in tables.values()]
    return np.split(drawn, len(tables), axis=1), means


def _lead(drawn: list[Any], means: list[Any], names: list[str], name: str, reference: str) -> Difference | None:
    if name == reference:
        return None
    first, second, column = names.index(reference), names.index(name), METRICS.index(LED_BY)
    low, high = bounds(drawn[first][:, column] - drawn[second][:, column])
    return Difference(float(means[first][column] - means[second][column]), low, high)


def _figure(drawn: Any, mean: float, over_seeds: Sequence[float]) -> Figure:
    low, high = bounds(drawn)
    several = len(over_seeds) > 1
    return Figure(float(mean), low, high, min(over_seeds) if several else None, max(over_seeds) if several else None)


def _over_seeds(values: Sequence[float]) -> Figure:
    several = len(values) > 1
    least, most = (min(values), max(values)) if several else (None, None)
    return Figure(float(np.mean(values)), least=least, most=most)


def _seeds(ones: Sequence[Evaluation]) -> list[int]:
    return [one.seed for one in ones if one.seed is not None]


def _not_said(known: beyond.Known, traits: Traits, segments: Sequence[SegmentTable]) -> list[str]:
    told = []
    if known.tastes is None:
        told.append("Calibration by category is not measured: no item has a category.")
    names = {one.segment for one in segments}
    if traits.countries is None or not any(traits.countries):
        told.append("No segments by country: no event names one (the trait `country`).")
    elif not any(name.startswith("country ") for name in names):
        told.append("No segments by country: no country has shoppers enough beside the others.")
    told += [
        f"No segment “{name}”: it or its opposite has too few shoppers."
        for name in ("new shoppers", "light shoppers", "long-tail items")
        if name not in names
    ]
    return told
