"""A comparison whose figures follow by reasoning: a model that knows, one that does not, one that changes by seed."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest

from infra.clock import DAY_MS
from models.baselines import Ranker
from models.comparison import Comparison, Figure, Traits, compare
from models.evaluation import Evaluation, Truth, evaluate
from models.interactions import Floats, Ints
from models.segments import FEWEST
from tests.models.shops import bought

SHOPPERS, ITEMS = 4 * FEWEST, 10
THEN = 100 * DAY_MS
BEFORE = bought(
    [(shopper, shopper % 2, THEN - (10 if shopper < 2 * FEWEST else 40) * DAY_MS) for shopper in range(SHOPPERS)],
    SHOPPERS,
    ITEMS,
)
AFTER = bought([(shopper, 2 + shopper % 2, THEN) for shopper in range(SHOPPERS)], SHOPPERS, ITEMS)
"""Even shoppers go from item 0 to 2, odd ones from 1 to 3."""


def knows(shoppers: Ints) -> Floats:
    scores = np.zeros((len(shoppers), ITEMS), np.float32)
    scores[np.arange(len(shoppers)), 2 + shoppers % 2] = 1
    return scores


def knows_the_new(shoppers: Ints) -> Floats:
    """Right for the first half of the shoppers; of the others it says item 9."""
    scores = knows(shoppers)
    scores[shoppers >= 2 * FEWEST] = 0
    scores[shoppers >= 2 * FEWEST, 9] = 1
    return scores


def by_seed(seed: int) -> Ranker:
    """It knows with seed 1 and says item 9 with any other."""
    return Ranker(
        "by seed", knows if seed == 1 else lambda shoppers: np.tile(np.eye(ITEMS)[9], (len(shoppers), 1)), seed
    )


def asked(*rankers: Ranker) -> list[Evaluation]:
    return evaluate(rankers, Truth(AFTER, BEFORE), lambda more: None, k=2)


def compared(rankers: Sequence[Sequence[Ranker]], traits: Traits | None = None) -> Comparison:
    runs = {ones[0].name: asked(*ones) for ones in rankers}
    return compare(runs, BEFORE, THEN, "temporal", "knows", traits)


THREE = [[Ranker("knows", knows)], [Ranker("knows the new", knows_the_new)], [by_seed(seed) for seed in (1, 2, 3)]]


def test_every_figure_of_a_model_that_knows() -> None:
    table = compared(THREE).tables[0]
    assert (table.task, table.shoppers, table.wanted, table.bought_popularity) == ("all", SHOPPERS, SHOPPERS, 0)
    figures = table.rows[0].figures
    assert figures["ndcg"] == Figure(1, 1, 1)
    assert figures["coverage"] == Figure(0.2)
    assert figures["gini"].mean == pytest.approx(0.8)
    assert figures["popularity"].mean == 0
    assert figures["novelty"].mean == pytest.approx(np.log2(SHOPPERS + 1))
    assert "miscalibration" not in figures
    assert table.rows[0].lead is None


def test_the_lead_is_paired_and_sure_where_it_is() -> None:
    _, half, seeds = compared(THREE).tables[0].rows
    assert half.lead is not None
    assert half.lead.sure
    assert half.lead.mean == pytest.approx(0.5)
    assert seeds.lead is not None
    assert seeds.lead.mean == pytest.approx(2 / 3)
    assert compared([THREE[0], [Ranker("twin", knows)]]).tables[0].rows[1].lead.sure is False


def test_seeds_give_a_mean_and_a_range() -> None:
    row = compared(THREE).tables[0].rows[2]
    ndcg = row.figures["ndcg"]
    assert row.seeds == [1, 2, 3]
    assert ndcg.mean == pytest.approx(1 / 3)
    assert (ndcg.least, ndcg.most) == (0, 1)
    assert (row.figures["coverage"].least, row.figures["coverage"].most) == (0.1, 0.2)
    assert compared(THREE).tables[0].rows[0].figures["ndcg"].least is None


def test_a_segment_that_a_model_fails_is_told_apart() -> None:
    part = next(one for one in compared(THREE).segments if one.segment == "new shoppers")
    assert (part.task, part.shoppers, part.wanted) == ("all", 2 * FEWEST, 2 * FEWEST)
    good, half, _ = part.rows
    assert (good.apart.mean, good.apart.sure) == (0, False)
    assert half.figures["ndcg"] == Figure(1, 1, 1)
    assert (half.apart.mean, half.apart.sure) == (1, True)
    assert half.lead is not None
    assert half.lead.mean == 0, "the reference knows them, too"


def test_categories_and_countries_are_used_where_they_are_given() -> None:
    countries = ["FR" if shopper % 2 else "DE" for shopper in range(SHOPPERS)]
    full = compared(THREE, Traits(np.arange(ITEMS) % 2, countries))
    assert full.tables[0].rows[0].figures["miscalibration"].mean == pytest.approx(0, abs=1e-6)
    assert full.tables[0].rows[2].figures["miscalibration"].mean > 0.5
    assert {one.segment for one in full.segments} >= {"country FR", "country DE"}
    assert not any("ategor" in line or "countr" in line for line in full.not_said)


def test_what_is_not_measured_is_said() -> None:
    told = compared(THREE).not_said
    assert any("category" in line for line in told)
    assert any("country" in line for line in told)
    assert any("light shoppers" in line for line in told), "all have bought one item"


def test_a_comparison_is_json_and_back() -> None:
    one = compared(THREE)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Comparison) == one


def test_nobody_to_ask_is_no_error() -> None:
    nobody = evaluate([Ranker("knows", knows)], Truth(bought([], SHOPPERS, ITEMS), BEFORE), lambda more: None)
    one = compare({"knows": nobody}, BEFORE, THEN, "temporal", "knows")
    assert one.tables[0].shoppers == 0
    assert one.segments == []
