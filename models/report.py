"""The report of an evaluation: one HTML page that asks nothing of any server, for light and dark."""

from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from infra.clock import DAY_MS
from models import plots
from models.bootstrap import Difference
from models.comparison import LED_BY, Comparison, Figure, Row, SegmentRow, SegmentTable, TaskTable
from models.report_style import STYLE

TITLES: Final = {"all": "All purchases", "new": "Items new to the shopper"}
RANKED: Final = {
    "all": "Every item is ranked; nothing is filtered: what a shopper bought before can be found again.",
    "new": "Every item is ranked but those the shopper bought before: they are filtered, and not to be found.",
}
SPLITS: Final = {
    "temporal": "temporal: fitted on what came before one moment, to be found is everything after it",
    "loo": "leave-one-out: to be found is the last interaction of each shopper",
    "last of each": "fitted on what came before one moment, to be found is each shopper's last interaction after it",
}
MEASURED: Final = (
    "All models are fitted on the same prefix and rank the whole catalogue. Items of one score share the middle of "
    "their places: a tie counts half.",
    "Intervals: 95 % of 1,000 bootstrap draws over shoppers. The lead is the difference at the same shoppers, on the "
    "same draws; it is marked where its interval lies on one side of nothing.",
    "Seeds: a model that draws in its fit is shown with the mean, and the range, over its seeds; one without seeds "
    "has none.",
    "Lists hold no item that a model gives the least of its scores: it says nothing of it. Of equal ones the list has "
    "the first in the order of the catalogue.",
    "Novelty: −log2 of the share of shoppers who had met an item, in bits. Popularity: how many shoppers had met an "
    "item, relative to what was really bought. Gini: 0 where all items are shown alike, near 1 where one has all.",
    "Miscalibration: divergence of the categories of a list from those of the shopper's history, in nats; 0 is in its "
    "shares. Scores are no probabilities in any of these models, so no calibration of scores is shown.",
)
_Cells = Sequence[str]


def report_of(comparison: Comparison, about: Sequence[tuple[str, str]], title: str = "Evaluation") -> str:
    """The page.

    Args:
        comparison: what is shown.
        about: names and values of what was evaluated; any text.
        title: of the page; any text.
    """
    tables = [part for n, table in enumerate(comparison.tables) for part in _task(comparison, table, n)]
    body = [
        f"<h1>{escape(title)}</h1>",
        _facts([*about, *_counts(comparison)]),
        *tables,
        "<h2>How it was measured</h2>",
        _listed([*MEASURED, _by_chance(comparison), *comparison.not_said]),
    ]
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
    )
    return (
        f'<!doctype html>\n<html lang="en"><head>{head}</head><body><main>\n'
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _task(comparison: Comparison, table: TaskTable, number: int) -> list[str]:
    k, reference, name = comparison.k, comparison.reference, f"t{number}"
    told = f"{table.shoppers:,} shoppers, {table.wanted:,} purchases to be found. {RANKED[table.task]}"
    parts = [f"<h2>{escape(TITLES[table.task])}</h2>", f"<p>{escape(told)}</p>"]
    if not table.shoppers:
        return [*parts, "<p>Nobody was to be asked, so there is nothing to show.</p>"]
    parts += [
        _accuracy_table(table, reference, k),
        _figure_of(plots.accuracy(table, reference, k, f"{name}a"), f"NDCG@{k} of each model"),
        "<h3>Beyond accuracy</h3>",
        _beyond_table(table, reference, k),
        _figure_of(
            plots.beyond(table, reference, k, f"{name}b"),
            "Coverage, novelty, popularity; the dashed line is the popularity of what was bought",
        ),
        _figure_of(plots.exposure(table, reference, f"{name}c"), "How evenly places in lists fall on the catalogue"),
    ]
    return parts + _segments(comparison, table, name)


def _accuracy_table(table: TaskTable, reference: str, k: int) -> str:
    lines = []
    for row in table.rows:
        cells = [_figure(row.figures[metric]) for metric in ("ndcg", "recall", "mrr")]
        lines.append((_model(row, reference), [*cells, _lead(row.lead)], row.model == reference))
    heads = ["model", f"NDCG@{k}", f"recall@{k}", "MRR", f"lead of {escape(reference)}, NDCG@{k}"]
    return _table(heads, lines)


def _beyond_table(table: TaskTable, reference: str, k: int) -> str:
    calibrated = any("miscalibration" in row.figures for row in table.rows)
    lines = []
    for row in table.rows:
        cells = [_figure(row.figures.get("coverage"), 3), _figure(row.figures.get("novelty"), 2)]
        cells.append(_relative(row.figures.get("popularity"), table.bought_popularity))
        cells.append(_figure(row.figures.get("gini"), 3))
        cells += [_figure(row.figures.get("miscalibration"), 3)] if calibrated else []
        lines.append((_model(row, reference), cells, row.model == reference))
    heads = ["model", f"coverage@{k}", "novelty, bits", "popularity, × bought", "Gini of exposure"]
    heads += ["miscalibration, nats"] if calibrated else []
    return _table(heads, lines)


def _segments(comparison: Comparison, table: TaskTable, name: str) -> list[str]:
    some = [one for one in comparison.segments if one.task == table.task]
    if not some:
        return []
    reference = comparison.reference
    rival = plots.best_beside(table.rows, reference)
    pair = [reference, *([rival] if rival else [])]
    meanings = dict.fromkeys(
        f"{one.segment.split()[0] if one.segment.startswith('country ') else one.segment} (against {one.opposite}): "
        f"{one.meaning}"
        for one in some
    )
    svg = plots.segments(some, pair, comparison.k, f"{name}d")
    return [
        "<h3>Segments</h3>",
        _listed([*meanings]),
        _figure_of(svg, f"NDCG@{comparison.k} by segment: {' and '.join(pair)}"),
        *(_segment_table(one, reference, comparison.k) for one in some),
    ]


def _segment_table(one: SegmentTable, reference: str, k: int) -> str:
    lines = []
    for row in one.rows:
        cells = [_figure(row.figures[metric]) for metric in ("ndcg", "recall", "mrr")]
        cells += [_apart(row.apart), _lead(row.lead)]
        lines.append((_model(row, reference), cells, row.model == reference))
    heads = ["model", f"NDCG@{k}", f"recall@{k}", "MRR", f"NDCG@{k} against {escape(one.opposite)}"]
    caption = f"{one.segment}: {one.shoppers:,} shoppers, {one.wanted:,} purchases"
    flagged = sum(row.apart.high < 0 for row in one.rows if row.model == reference)
    mark = ' <strong class="worse">▼ worse here</strong>' if flagged else ""
    inner = _table([*heads, f"lead of {escape(reference)}"], lines)
    return f"<details{' open' if flagged else ''}><summary>{escape(caption)}{mark}</summary>{inner}</details>"


def _model(row: Row | SegmentRow, reference: str) -> str:
    name = f"<strong>{escape(row.model)}</strong>" if row.model == reference else escape(row.model)
    more = []
    if isinstance(row, Row):
        more = [f"seeds {', '.join(map(str, row.seeds))}"] if row.seeds else []
        more += [row.note] if row.note else []
    return name + "".join(f"<small>{escape(line)}</small>" for line in more)


def _figure(figure: Figure | None, digits: int = 4) -> str:
    if figure is None:
        return "–"
    shown = f"{figure.mean:.{digits}f}"
    if figure.low is not None and figure.high is not None:
        shown += f"<small>{figure.low:.{digits}f} to {figure.high:.{digits}f}</small>"
    if figure.least is not None and figure.most is not None:
        shown += f"<small>seeds {figure.least:.{digits}f} to {figure.most:.{digits}f}</small>"
    return shown


def _relative(figure: Figure | None, bought: float) -> str:
    if figure is None or not bought:
        return "–"
    return _figure(Figure(*(None if part is None else part / bought for part in _parts(figure))), 2)  # type: ignore[arg-type]


def _parts(figure: Figure) -> tuple[float | None, ...]:
    return figure.mean, figure.low, figure.high, figure.least, figure.most


def _lead(lead: Difference | None) -> str:
    return "" if lead is None else _marked(lead, "behind" if lead.high < 0 else "ahead")


def _apart(apart: Difference) -> str:
    return _marked(apart, "worse" if apart.high < 0 else "better")


def _marked(one: Difference, word: str) -> str:
    """With the word where it is sure, and a colour beside it."""
    shown = f"{one.mean:+.4f}<small>{one.low:+.4f} to {one.high:+.4f}</small>".replace("-", "−")
    if not one.sure:
        return shown
    kind = "worse" if one.high < 0 else "better"
    return f'<span class="{kind}">{"▼" if one.high < 0 else "▲"} {word}</span> {shown}'


def _table(heads: Sequence[str], lines: Sequence[tuple[str, _Cells, bool]]) -> str:
    head = "".join(f'<th scope="col">{one}</th>' for one in heads)
    rows = "".join(
        f'<tr{" class=reference" if leads else ""}><th scope="row">{name}</th>'
        + "".join(f"<td>{cell}</td>" for cell in cells)
        + "</tr>"
        for name, cells, leads in lines
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    return (
        "<dl>"
        + "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
        + "</dl>"
    )


def _counts(comparison: Comparison) -> list[tuple[str, str]]:
    return [
        ("split", SPLITS.get(comparison.split, comparison.split)),
        ("fitted before", _moment(comparison.at_ms)),
        ("fitted on", f"{comparison.interactions:,} interactions of {comparison.shoppers:,} shoppers"),
        ("catalogue", f"{comparison.items:,} items"),
    ]


def _moment(at_ms: int) -> str:
    """A time; where data has only an order, its numbers are no times."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M} UTC" if at_ms > DAY_MS else "(no times)"


def _by_chance(comparison: Comparison) -> str:
    compared = sum(len(one.rows) for one in comparison.segments) + sum(len(one.rows) - 1 for one in comparison.tables)
    return (
        f"{compared} differences of {LED_BY.upper()} between models and between segments are looked at; if there were "
        f"none at all, about {max(1, round(compared / 20))} would be marked by chance."
    )


def _figure_of(svg: str, caption: str) -> str:
    return f'<figure role="img" aria-label="{escape(caption)}">{svg}<figcaption>{escape(caption)}</figcaption></figure>'


def _listed(lines: Sequence[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in lines) + "</ul>"
