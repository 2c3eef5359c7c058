"""Plots of a comparison as SVG that stands inside of a page: its colours are the page's, so light and dark are one."""

import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from typing import Any, Final

from models.beyond_accuracy import LORENZ_POINTS
from models.comparison import LED_BY, Figure, Row, SegmentTable, TaskTable

# Colours to draw with, and the page's names for them.
INK, QUIET, GRID, ACCENT = "#010203", "#040506", "#070809", "#0a0b0c"
SERIES: Final = tuple(f"#0d0e{n:02x}" for n in range(16, 26))
PAGE: Final = {
    INK: "var(--ink)",
    QUIET: "var(--quiet)",
    GRID: "var(--line)",
    ACCENT: "var(--accent)",
    **{colour: f"var(--series-{n})" for n, colour in enumerate(SERIES)},
}
_LONGEST: Final = 28
# Lines that lie on each other, or look alike to an eye, are told apart by these.
_DASHES: Final[Any] = ("-", (0, (5, 2)), (0, (1.5, 1.5)))
_STYLE: Final[Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "daogou",
    "text.parse_math": False,
    "font.size": 9,
    "axes.edgecolor": GRID,
    "axes.labelcolor": QUIET,
    "axes.titlecolor": INK,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": QUIET,
    "ytick.color": INK,
    "ytick.left": False,
    "xtick.bottom": False,
    "text.color": INK,
    "legend.frameon": False,
}


def accuracy(table: TaskTable, reference: str, k: int, name: str) -> str:
    """NDCG of each model with its interval. `name` keeps the ids of several plots in one page apart."""
    rows = table.rows

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for place, row in enumerate(rows):
            _interval(axes, row.figures[LED_BY], place, ACCENT if row.model == reference else QUIET)
        _named(axes, [row.model for row in rows])
        axes.set_xlabel(f"NDCG@{k}, 95 % interval over shoppers")
        axes.set_xlim(left=0)

    return _svg(draw, 7.4, 0.75 + 0.27 * len(rows), name)


def beyond(table: TaskTable, reference: str, k: int, name: str) -> str:
    """Coverage, novelty and popularity of each model; the line is the popularity of what was bought."""
    rows = table.rows
    panels = [("coverage", f"coverage@{k}"), ("novelty", "novelty (bits)"), ("popularity", "popularity (shoppers)")]

    def draw(figure: Any) -> None:
        several = figure.subplots(1, len(panels), sharey=True)
        for axes, (metric, title) in zip(several, panels, strict=True):
            for place, row in enumerate(rows):
                if metric in row.figures:
                    colour = ACCENT if row.model == reference else QUIET
                    axes.barh(place, row.figures[metric].mean, 0.62, color=colour)
            axes.set_title(title, loc="left")
            axes.locator_params(axis="x", nbins=4)
            axes.grid(axis="y", visible=False)
        several[-1].axvline(table.bought_popularity, color=INK, linewidth=1, linestyle=(0, (4, 2)))
        _named(several[0], [row.model for row in rows])

    return _svg(draw, 8.2, 0.7 + 0.27 * len(rows), name)


def exposure(table: TaskTable, reference: str, name: str) -> str:
    """Lorenz curves: what share of the places in lists the least shown part of the catalogue has."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        at = [100 * n / (LORENZ_POINTS - 1) for n in range(LORENZ_POINTS)]
        axes.plot([0, 100], [0, 100], color=GRID, linewidth=1)
        for place, row in enumerate(table.rows):
            leads = row.model == reference
            colour = ACCENT if leads else SERIES[place % len(SERIES)]
            line = [100 * share for share in row.lorenz]
            dashes = "-" if leads else _DASHES[place % len(_DASHES)]
            width = 2.4 if leads else 1.3
            axes.plot(at, line, color=colour, linewidth=width, linestyle=dashes, label=_short(row.model))
        axes.set_xlabel("% of the catalogue, the least shown first")
        axes.set_ylabel("% of all places in lists")
        axes.tick_params(axis="y", colors=QUIET)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))

    return _svg(draw, 7.4, 3.4, name)


def segments(tables: Sequence[SegmentTable], pair: Sequence[str], k: int, name: str) -> str:
    """NDCG of two models in each segment, with intervals."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        for model, colour, shift in zip(pair, (ACCENT, QUIET), (-0.14, 0.14), strict=False):
            for place, table in enumerate(tables):
                figures = next(row.figures for row in table.rows if row.model == model)
                label = _short(model) if place == 0 else None
                _interval(axes, figures[LED_BY], place + shift, colour, label)
        _named(axes, [f"{_short(table.segment)}\n{table.shoppers:,} shoppers" for table in tables], whole=True)
        axes.set_xlabel(f"NDCG@{k}, 95 % interval over shoppers")
        axes.set_xlim(left=0)
        axes.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0))

    return _svg(draw, 7.8, 0.75 + 0.42 * len(tables), name)


def _interval(axes: Any, figure: Figure, place: float, colour: str, label: str | None = None) -> None:
    if figure.low is not None and figure.high is not None:
        axes.plot([figure.low, figure.high], [place, place], color=colour, linewidth=1.6, solid_capstyle="round")
    axes.plot([figure.mean], [place], "o", color=colour, markersize=5, label=label, clip_on=False)


def _named(axes: Any, names: Sequence[str], *, whole: bool = False) -> None:
    axes.set_yticks(range(len(names)), list(names) if whole else [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"


def best_beside(rows: Sequence[Row], reference: str) -> str | None:
    """The model of most NDCG but for the reference."""
    others = [row for row in rows if row.model != reference]
    return max(others, key=lambda row: row.figures[LED_BY].mean).model if others else None


@contextmanager
def _quietly() -> Iterator[None]:
    """The page's fonts show what the font that lengths are measured with lacks (Chinese)."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _svg(draw: Callable[[Any], None], width: float, height: float, name: str) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(_STYLE), _quietly():
        figure = Canvas(figsize=(width, height), layout="constrained")
        draw(figure)
        raw = StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(raw, format="svg", transparent=True, metadata=nothing)
    return _of_the_page(raw.getvalue(), name)


def _of_the_page(svg: str, name: str) -> str:
    """Without the prologue, with ids of its own and the page's colours and fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s(?:xmlns(?::\w+)?|version)=\"[^\"]*\"", "", svg)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"(\sid=\"|href=\"#|url\(#)", rf"\g<1>{name}-", svg)
    svg = re.sub(r"\swidth=\"[^\"]*pt\"", "", svg, count=1)
    svg = re.sub(r"\sheight=\"[^\"]*pt\"", "", svg, count=1)
    svg = re.sub(r"font: ([\d.]+px)[^;\"]*", r"font-size: \1", svg)
    for drawn, shown in PAGE.items():
        svg = svg.replace(drawn, shown)
    return svg
