"""Who belongs to which segment, and that none is told of too few."""

import numpy as np

from infra.clock import DAY_MS
from models.evaluation import Truth, evaluate
from models.interactions import Interactions
from models.ranking import Found
from models.segments import FEWEST, segments_of
from tests.models.shops import bought
from tests.models.test_evaluation import always

THEN = 100 * DAY_MS
SHOPPERS = 4 * FEWEST
"""Quarters: never seen, new and light, old and light, old and heavy."""


def history() -> Interactions:
    rows = []
    for shopper in range(FEWEST, SHOPPERS):
        quarter = shopper // FEWEST
        first = THEN - (29 if quarter == 1 else 31) * DAY_MS
        rows += [(shopper, 0, first)]
        rows += [(shopper, 1, THEN - DAY_MS)] * 2 * (quarter == 3)
    return bought(rows, SHOPPERS, 5)


def found_of(before: Interactions) -> Found:
    """Everybody wants item 0, which is popular, and item 4, which is not."""
    after = bought([(shopper, item, THEN) for shopper in range(SHOPPERS) for item in (0, 4)], SHOPPERS, 5)
    (one,) = evaluate([always([5, 4, 3, 2, 1])], Truth(after, before), lambda more: None)
    return one.found["all"]


def test_each_quarter_is_where_it_belongs() -> None:
    before = history()
    found = found_of(before)
    quarter = found.whose() // FEWEST
    parts = {one.name: one for one in segments_of(found, before, THEN)}
    assert list(parts) == ["new shoppers", "light shoppers", "long-tail items"]
    assert parts["new shoppers"].counted.tolist() == (quarter <= 1).tolist()
    assert parts["light shoppers"].counted.tolist() == (quarter <= 2).tolist()
    assert "at most 1 items" in parts["light shoppers"].meaning
    assert parts["long-tail items"].counted.tolist() == (found.wanted == 4).tolist()


def test_countries_are_compared_where_they_have_shoppers_enough() -> None:
    before = history()
    countries = [("FR", "DE", None, "IT")[shopper // FEWEST] for shopper in range(SHOPPERS)]
    countries[-1] = "LI"
    names = [one.name for one in segments_of(found_of(before), before, THEN, countries)]
    assert names[3:] == ["country DE", "country FR"], "IT has one too few, and so has LI"


def test_a_segment_of_everybody_has_no_opposite() -> None:
    before = bought([], SHOPPERS, 5)
    names = [one.name for one in segments_of(found_of(before), before, THEN)]
    assert names == ["long-tail items"], "everybody is new, everybody is light"
    nobody = Found.of([], 3)
    assert segments_of(nobody, before, THEN, [None] * SHOPPERS) == []


def test_the_parts_and_their_opposites_are_everything() -> None:
    before = history()
    found = found_of(before)
    for one in segments_of(found, before, THEN):
        assert one.counted.shape == np.asarray(found.wanted).shape
        assert one.meaning.endswith(".")
