"""Experiments whose truth is known: what is counted, what is found, what is not believed."""

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

import numpy as np
import pytest

from features.events import Event
from serving.decisions import Decision
from streams.experiment_counting import Counted, Counting
from streams.experiment_report import ExperimentReport, report
from streams.experiment_settings import Wanted, Weighed
from tests.streams.lists import HOUR_MS, decision, did

DAY_MS = 24 * HOUR_MS
EVEN = Wanted("home", (Weighed("old"), Weighed("new")), version=2)
RUNS = 100


def counting(*given: Decision | Event, version: int | None = None) -> Counted:
    found = Counting("e", DAY_MS, version)
    for one in given:
        if isinstance(one, Decision):
            found.shown(one)
    for one in given:
        if isinstance(one, Event):
            found.event(one)
    counted = found.counted()
    assert counted is not None
    return counted


def test_what_a_shopper_saw_and_did_is_counted_once() -> None:
    counted = counting(
        decision("r1", ["tea", "tart"], variation="new"),
        decision("r2", [], hour=1, variation="new", fallback=True),
        decision("r3", ["tea"], hour=2),  # of another scenario: its click is its own
        did("select_item", "tart", named="r1"),
        did("view_item", "tart", named="r1"),
        did("view_item", "tea", hour=3),
        did("purchase", "moon", hour=4, price="2", order="o1"),
        did("purchase", "tea", hour=-1, price="9", order="o0"),  # before anything was shown
        did("purchase", "tea", hour=5, currency=None, order="o2"),
        did("refund", hour=6, order="o1"),
        did("refund", hour=6, order="o0"),
        did("purchase", "tea", hour=6, price="9", user="bob"),
    )
    (person,) = counted.people.values()
    assert (person.variation, person.lists, person.clicks) == ("new", 2, 1)
    assert (person.fallback, person.empty, person.orders, person.refunds) == (1, 1, 2, 1)
    assert person.revenue == {"EUR": Decimal(2)}
    assert counted.without_price == 1


def test_where_impressions_are_told_only_they_count() -> None:
    lists = [decision(f"r{n}", ["tea"], user=f"s{n}", variation="new") for n in range(3)]
    counted = counting(*lists, did("view_item_list", named="r1", user="s1"), did("select_item", "tea", named="r0"))
    assert list(counted.people) == ["u-s1"]
    assert (counted.impressions, counted.not_shown, counted.asked) == (True, 2, Counter(new=3))


def test_what_is_left_out_is_told() -> None:
    lists = [
        decision("r1", ["tea"], variation="new", version=2),
        decision("r2", ["tea"], variation="old", version=7),
        decision("r3", ["tea"], user="bob", variation="old", version=7),
        decision("r4", ["tea"], user="bob", variation="new", version=7),
        decision("r5", ["tea"], user="cid", variation="new", version=7, override=True),
        decision("r6", ["tea"], user=None, variation="new", version=7),
    ]
    counted = counting(*lists, did("select_item", "tea", named="r99"))
    assert (counted.version, counted.other_versions, counted.overridden) == (7, 1, 1)
    assert (counted.in_two, list(counted.people), counted.unknown_lists) == (1, ["u-ann"], 1)
    assert counting(*lists, version=2).people.keys() == {"u-ann"}
    told = " ".join(report("e", counted, EVEN).notes)
    for words in ("version 7", "1 lists of other versions", "experiment_overrides", "more than one variation"):
        assert words in told


def test_a_purchase_after_the_login_is_of_the_shopper_who_was_assigned() -> None:
    counted = counting(
        decision("r1", ["tea"], user=None, anonymous="x", variation="new"),
        did("purchase", "tea", price="2", user="ann", anonymous="x"),
    )
    assert counted.people["a-x"].orders == 1


def simulated(rng: np.random.Generator, shoppers: int, rates: dict[str, float]) -> Iterator[Decision | Event]:
    """Each shopper a few lists, some keener than others; each list is clicked with a probability that is known."""
    for n in range(shoppers):
        variation = "new" if rng.random() < 0.5 else "old"
        keen = rng.uniform(0.5, 1.5)
        for m in range(1 + rng.poisson(1.0)):
            yield decision(f"r{n}.{m}", ["tea"], user=f"s{n}", hour=m, variation=variation)
            if rng.random() < keen * rates[variation]:
                yield did("select_item", "tea", user=f"s{n}", hour=m + 0.1, named=f"r{n}.{m}")


def told(rng: np.random.Generator, shoppers: int, rates: dict[str, float]) -> ExperimentReport:
    return report("e", counting(*simulated(rng, shoppers, rates)), EVEN)


@pytest.mark.parametrize(("old", "new"), [(0.2, 0.2), (0.2, 0.35)])
def test_the_truth_lies_in_the_interval_and_a_difference_is_found_where_there_is_one(old: float, new: float) -> None:
    rng, covered, better, worse = np.random.default_rng(11), 0, 0, 0
    for _ in range(RUNS):
        found = told(rng, 260, {"old": old, "new": new})
        clicks = next(metric for metric in found.metrics if metric.name == "clicks a list")
        change = clicks.figures[1].change
        assert change is not None
        covered += change.low <= new - old <= change.high
        better += "better than 'old'" in found.verdict[0]
        worse += "worse than 'old'" in found.verdict[0]
    assert covered >= 90
    assert worse <= 10
    assert better >= 90 if new > old else better <= 10


def test_a_variation_that_loses_its_shoppers_is_not_believed() -> None:
    lists = [decision(f"r{n}", ["tea"], user=f"s{n}", variation="new" if n % 2 else "old") for n in range(2000)]
    seen = [did("view_item_list", named=f"r{n}", user=f"s{n}") for n in range(2000) if n % 2 == 0 or n % 5]
    found = report("e", counting(*lists, *seen), EVEN)
    assert found.split is not None
    assert found.split.broken
    assert len(found.verdict) == 1
    assert "those that were shown are not" in found.verdict[0]
    thrice = Wanted("home", (Weighed("old", 3), Weighed("new")), version=2)
    assert "Already the lists that were made" in report("e", counting(*lists), thrice).verdict[0]
    right = report("e", counting(*lists), EVEN)
    assert right.split is not None
    assert not right.split.broken
    assert right.verdict == ["new: no difference from 'old' that could not be chance."]


def test_a_variation_that_empties_lists_is_no_better_for_its_clicks() -> None:
    rng = np.random.default_rng(2)
    given: list[Decision | Event] = []
    for n in range(1000):
        new = n % 2 == 1
        empty = new and rng.random() < 0.1
        variation = "new" if new else "old"
        given.append(decision(f"r{n}", [] if empty else ["tea"], user=f"s{n}", variation=variation))
        if not empty and rng.random() < (0.6 if new else 0.3):
            given.append(did("select_item", "tea", user=f"s{n}", named=f"r{n}"))
    (verdict,) = report("e", counting(*given), EVEN).verdict
    assert verdict.startswith("new: mixed beside 'old': clicks a list +")
    assert "empty lists" in verdict


def test_what_nobody_did_is_no_proof_that_nobody_does() -> None:
    found = told(np.random.default_rng(1), 400, {"old": 0.2, "new": 0.2})
    refunds = next(metric for metric in found.metrics if metric.name == "refunds a shopper")
    assert [(one.value, one.change) for one in refunds.figures] == [(0.0, None), (0.0, None)]


def test_too_few_shoppers_are_said_to_be_too_few() -> None:
    found = told(np.random.default_rng(1), 150, {"old": 0.2, "new": 0.9})
    assert found.verdict[0].startswith("Too few shoppers")
    nobody = Counting("e", DAY_MS)
    assert nobody.counted() is None


def test_an_experiment_that_is_gone_is_still_told() -> None:
    counted = counting(*simulated(np.random.default_rng(4), 400, {"old": 0.2, "new": 0.2}))
    found = report("e", counted, None)
    assert [arm.variation for arm in found.arms] == ["new", "old"]
    assert found.split is None
    assert "no longer among the settings" in found.notes[0]
