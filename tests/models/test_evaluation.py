"""The metrics: three items by hand, ties against a brute force, and what no ranker can do."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from infra.errors import BadInput
from models.baselines import Ranker, popularity
from models.evaluation import (
    BATCH,
    METRICS,
    TASKS,
    Evaluation,
    Truth,
    evaluate,
    interval,
    merged,
    paired,
    ranks,
    table,
)
from models.interactions import Floats, Interactions, Ints
from tests.models.shops import bought

ITEMS = 5


def always(line: Sequence[float], name: str = "always") -> Ranker:
    return Ranker(name, lambda shoppers: np.tile(np.array(line, np.float32), (len(shoppers), 1)))


def measured(ranker: Ranker, after: Interactions, before: Interactions, k: int = 20) -> Evaluation:
    (one,) = evaluate([ranker], Truth(after, before), lambda more: None, k)
    return one


def line_of(evaluation: Evaluation, task: str) -> list[float]:
    return [evaluation.mean(task, metric) for metric in METRICS]


def nobody() -> Interactions:
    return bought([], 1, ITEMS)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.data())
def test_a_rank_is_what_is_better_and_half_of_what_is_equal(scores: list[int], data: st.DataObject) -> None:
    items = data.draw(st.lists(st.integers(0, len(scores) - 1), min_size=1, unique=True))
    found = ranks(np.array(scores, np.float32), np.array(items))
    brute = [
        sum(other > scores[item] for other in scores) + (sum(other == scores[item] for other in scores) - 1) / 2
        for item in items
    ]
    assert found.tolist() == sorted(brute)


def test_three_items_by_hand() -> None:
    """Of 0, 1, 2 in this order, 0 and 2 are wanted: places 1 and 3."""
    one = measured(always([3, 2, 1]), bought([(0, 0, 9), (0, 2, 9)], 1, 3), bought([], 1, 3))
    ideal = 1 + 1 / np.log2(3)
    assert line_of(one, "all") == pytest.approx([(1 + 1 / np.log2(4)) / ideal, 1, 1])
    cut = measured(always([3, 2, 1]), bought([(0, 1, 9), (0, 2, 9)], 1, 3), bought([], 1, 3), k=2)
    assert line_of(cut, "all") == pytest.approx([1 / np.log2(3) / ideal, 0.5, 0.5])


def test_a_tie_is_counted_half() -> None:
    """Three equal items share the middle place, the second."""
    one = measured(always([1, 1, 1]), bought([(0, 2, 9)], 1, 3), bought([], 1, 3))
    assert line_of(one, "all") == pytest.approx([1 / np.log2(3), 1, 0.5])


def test_what_was_bought_before_is_barred_from_the_new() -> None:
    """0 was bought before: among the new ones 2 is second behind 1, and 0 is not to be found."""
    one = measured(always([3, 2, 1]), bought([(0, 0, 9), (0, 2, 9)], 1, 3), bought([(0, 0, 1)], 1, 3))
    assert line_of(one, "new") == pytest.approx([1 / np.log2(3), 1, 0.5])
    assert one.mean("all", "mrr") == 1


def test_a_shopper_who_bought_nothing_new_counts_for_all_alone() -> None:
    one = measured(always([1, 2, 3]), bought([(0, 2, 9), (1, 1, 9)], 2, 3), bought([(0, 2, 1)], 2, 3))
    assert [len(one.per_shopper[task]) for task in TASKS] == [2, 1]


def test_nobody_to_ask_is_zero_and_no_error() -> None:
    one = measured(always([1] * ITEMS), nobody(), nobody())
    assert set(one.means().values()) == {0.0}
    assert interval(one, "all", "ndcg", seed=1) == (0.0, 0.0)


@st.composite
def shops(draw: st.DrawFn) -> tuple[Interactions, Interactions]:
    """Purchases after and before a split, of three shoppers."""
    rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, ITEMS - 1), st.integers(0, 9)), max_size=12)
    return bought(draw(rows), 3, ITEMS), bought(draw(rows), 3, ITEMS)


@given(shops())
def test_a_perfect_ranker_scores_one(shop: tuple[Interactions, Interactions]) -> None:
    after, before = shop
    truth = Truth(after, before)

    def perfect(shoppers: Ints) -> Floats:
        """Wanted ones first, in places of their own."""
        scores: Floats = np.tile(np.arange(ITEMS).astype(np.float32), (len(shoppers), 1))
        for row, shopper in enumerate(shoppers.tolist()):
            scores[row, truth.bought[shopper]] += ITEMS
        return scores

    (one,) = evaluate([Ranker("perfect", perfect)], truth, lambda more: None)
    for task in TASKS:
        assert np.allclose(one.per_shopper[task], 1)


@given(shops(), st.lists(st.integers(0, 2), min_size=ITEMS, max_size=ITEMS), st.integers(1, ITEMS))
def test_no_ranker_is_better_than_perfect(shop: tuple[Interactions, Interactions], line: list[int], k: int) -> None:
    one = measured(always(line), *shop, k)
    for task in TASKS:
        assert (one.per_shopper[task] <= 1 + 1e-9).all()
        assert (one.per_shopper[task] >= 0).all()


def test_a_list_of_k_holds_no_more_than_k_of_the_wanted() -> None:
    """All five share the third place; a list of three still finds three of five at most."""
    one = measured(always([0] * ITEMS), bought([(0, item, 9) for item in range(ITEMS)], 1, ITEMS), nobody(), k=3)
    ndcg, recall, _ = line_of(one, "all")
    assert recall == pytest.approx(0.6)
    assert ndcg == pytest.approx(1.5 / (1 + 1 / np.log2(3) + 0.5))


def test_the_interval_holds_the_mean_and_narrows_with_shoppers() -> None:
    values = np.random.default_rng(1).random((400, len(METRICS)))
    wide, narrow = (Evaluation("one", dict.fromkeys(TASKS, values[:count])) for count in (25, 400))
    widths = []
    for one in (wide, narrow):
        low, high = interval(one, "all", "ndcg", seed=7)
        assert low < one.mean("all", "ndcg") < high
        assert (low, high) == interval(one, "all", "ndcg", seed=7)
        widths.append(high - low)
    assert widths[1] < widths[0] / 2


def test_every_ranker_is_asked_for_the_same_shoppers_and_progress_is_told() -> None:
    count = BATCH + 6
    after = bought([(shopper, shopper % ITEMS, 9) for shopper in range(count)], count, ITEMS)
    asked: list[list[int]] = []

    def noted(shoppers: Ints) -> Floats:
        asked.append(shoppers.tolist())
        return np.zeros((len(shoppers), ITEMS), np.float32)

    told: list[int] = []
    rankers = [Ranker("noted", noted), popularity(after), always([5, 4, 3, 2, 1])]
    found = evaluate(rankers, Truth(after, bought([], count, ITEMS)), told.append)
    assert told == [BATCH, 6]
    assert asked == [list(range(BATCH)), list(range(BATCH, count))]
    assert [one.name for one in found] == ["noted", "popularity", "always"]
    assert {one.per_shopper["all"].shape for one in found} == {(count, len(METRICS))}
    assert found[2].mean("all", "mrr") == pytest.approx(np.mean([1 / (1 + s % ITEMS) for s in range(count)]))


@pytest.mark.parametrize("task", TASKS)
def test_the_table_shows_every_model_with_its_interval(task: str) -> None:
    after = bought([(0, 0, 9)], 1, ITEMS)
    lines = {"first": [5, 4, 3, 2, 1], "last": [1, 2, 3, 4, 5]}
    found = [measured(always(line, name), after, nobody()) for name, line in lines.items()]
    console = Console(width=200)
    with console.capture() as shown:
        console.print(table(found, task))
    text = shown.get()
    assert "1 shoppers" in text
    rows = {line.split()[1]: line for line in text.splitlines() if "to" in line and "│" in line}
    assert "(1.0000 to 1.0000)" in rows["first"]
    assert "(0.3869 to 0.3869)" in rows["last"]


def test_lists_hold_what_a_model_says_something_of_and_for_the_new_nothing_bought_before() -> None:
    before = bought([(0, 0, 1)], 1, ITEMS)
    one = measured(always([5, 0, 3, 0, 3]), bought([(0, 0, 9), (0, 2, 9)], 1, ITEMS), before, k=3)
    assert one.found["all"].lists.tolist() == [[0, 2, 4]]
    assert one.found["new"].lists.tolist() == [[2, 4, -1]]
    assert one.found["all"].wanted.tolist() == [0, 2]
    assert one.found["all"].places.tolist() == [0, 1.5]


def test_one_task_alone_can_be_asked_for() -> None:
    truth = Truth(bought([(0, 2, 9)], 1, ITEMS), nobody())
    (one,) = evaluate([always([1, 2, 3, 4, 5])], truth, lambda more: None, tasks=("new",))
    assert set(one.means()) == {"new/ndcg", "new/recall", "new/mrr"}


def test_a_score_that_is_no_number_is_named_with_its_model() -> None:
    with pytest.raises(BadInput) as told:
        measured(always([1, float("nan"), 0, 0, 0], "broken"), bought([(0, 1, 9)], 1, ITEMS), nobody())
    assert (told.value.reason, told.value.path) == ("score_not_a_number", "broken")


def test_seed_and_note_of_a_model_come_with_its_figures() -> None:
    ranker = Ranker("one", always([1, 2, 3, 4, 5]).score, seed=4, note="half of the items")
    one = measured(ranker, bought([(0, 2, 9)], 1, ITEMS), nobody(), k=7)
    assert (one.seed, one.note, one.k) == (4, "half of the items", 7)


def test_a_model_that_ranks_each_task_its_own_way_is_one_of_both() -> None:
    after = bought([(0, 0, 9)], 1, ITEMS)
    every, new = measured(always([5, 4, 3, 2, 1]), after, nobody()), measured(always([1, 2, 3, 4, 5]), after, nobody())
    one = merged("both", {"all": every, "new": new})
    assert [one.mean(task, "mrr") for task in TASKS] == [1, 0.2]
    assert one.found["new"].lists.tolist() == new.found["new"].lists.tolist()


def test_two_models_are_compared_at_each_shopper() -> None:
    after = bought([(shopper, shopper % 2, 9) for shopper in range(40)], 40, ITEMS)
    good, bad = measured(always([5, 4, 3, 2, 1]), after, nobody()), measured(always([4, 5, 3, 2, 1]), after, nobody())
    apart = paired(good, bad, "all", "mrr", seed=1)
    assert apart.low < 0 < apart.high
    assert apart.mean == 0
    worst = measured(always([1, 2, 3, 4, 5]), after, nobody())
    assert paired(good, worst, "all", "mrr", seed=1).sure
