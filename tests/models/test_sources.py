"""What is chosen on validation: which item-to-item table, how recency fades, which half-life popularity has."""

import numpy as np
import pytest

from models.interactions import Interactions
from models.sources import HALF_LIVES_DAYS, RECENCIES, Choice, Tables, chosen_on
from models.splits import Split, temporal
from tests.models.shops import DAY_MS, bought

SHOPPERS = 60


def split_of(some: Interactions, day: int) -> Split:
    return temporal(some, day * DAY_MS, (day + 30) * DAY_MS)


def chosen(split: Split, tasks: tuple[str, ...] = ("all",)) -> Choice:
    return chosen_on(Tables(split.before), split.truth, split, 1, tasks, lambda more: None)


def fashion() -> Interactions:
    """Each season of ten days has its own item, bought by all, and item 0 sold most of all long ago."""
    rows = [(shopper, 0, shopper % 3) for shopper in range(SHOPPERS)] * 3
    rows += [(shopper, 1 + day // 10, day) for day in range(10, 200) for shopper in range(day % 7, SHOPPERS, 7)]
    return bought([(shopper, item, day * DAY_MS + n) for n, (shopper, item, day) in enumerate(rows)], SHOPPERS, 40)


def test_where_fashion_changes_fast_the_half_life_of_popularity_is_short() -> None:
    assert chosen(split_of(fashion(), 194)).popular_half_life_days <= 7


def chains() -> Interactions:
    """Items come in pairs: after an even one comes the odd one behind it, and nothing older says anything."""
    rng = np.random.default_rng(1)
    rows = []
    for shopper in range(SHOPPERS):
        for day in range(0, 200, 2):
            item = 2 * int(rng.integers(10))
            rows += [(shopper, item, day * DAY_MS), (shopper, item + 1, (day + 1) * DAY_MS)]
    return bought(rows, SHOPPERS, 20)


def test_where_the_last_purchase_says_all_older_ones_fade_fast() -> None:
    some = chains()
    split = temporal(some, 151 * DAY_MS, 152 * DAY_MS)
    assert chosen(split).recency < 0.9


def test_nobody_to_ask_leaves_what_is_usual() -> None:
    some = bought([(0, 0, 0), (0, 1, DAY_MS)], 1, 3)
    assert chosen(split_of(some, 40)) == Choice("near", RECENCIES[0], HALF_LIVES_DAYS[0])


def test_a_shop_with_too_many_pairs_is_not_regressed() -> None:
    some = chains()
    assert len(Tables(some).names) > 1
    assert Tables(some, max_pairs=100).names == ("near",)


def test_tables_are_packed_best_first() -> None:
    tables = Tables(chains())
    for name in ("near", "regressed-100"):
        rows, scores = tables.packed(name)
        assert rows.shape == scores.shape == (20, 50)
        assert (np.diff(scores) <= 0).all()
        assert ((rows >= 0) == (scores > 0)).all()
        dense = tables.table(name).toarray()
        for item in range(20):
            known = rows[item] >= 0
            assert scores[item][known] == pytest.approx(dense[item][rows[item][known]])
            assert known.sum() == np.count_nonzero(dense[item])
