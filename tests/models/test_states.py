"""Where shoppers are read as they were known: one suite over Feast and over folded interactions."""

from collections.abc import Callable

import numpy as np
import pytest

from features.events import event_time_ms, record_key_of
from features.shoppers import MAX_INTERACTIONS, State, empty, fold, purchase_weight_at, step_of
from models.dataset import Sources
from models.dataset import happened as read_all
from models.examples import examples_of
from models.interactions import KINDS, Interactions
from models.scorer import facts_of
from models.states import FoldedStates, StatesAt
from tests.features.past import LATENESS_MS, Past, past
from tests.models.made_shop import catalogue, visits

DAY_MS = 86_400_000
ITEMS = [item.item_id for item in catalogue()]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return past(tmp_path_factory.mktemp("shop"), visits())


@pytest.fixture(scope="module")
def happened(made: Past) -> Interactions:
    """All of it, not only what was bought."""
    shoppers: dict[str, int] = {}
    rows = []
    for number, event in enumerate(made.events):
        shopper = shoppers.setdefault(record_key_of(event), len(shoppers))
        kind, at = KINDS.index(event.event_name), event_time_ms(event)
        rows += [(shopper, at, number, ITEMS.index(line.item_id), kind) for line in event.items]
    shopper, at_ms, order, item, kind = np.array(sorted(rows, key=lambda row: row[:3]), np.int64).T
    return Interactions(tuple(shoppers), tuple(ITEMS), shopper, item, at_ms, order, kind)


@pytest.fixture(scope="module", params=["feast", "folded"])
def states(request: pytest.FixtureRequest, made: Past, happened: Interactions) -> StatesAt:
    if request.param == "feast":
        return Sources(made.root / "archive", made.store, "default")
    return FoldedStates(happened)


Truth = Callable[[str, int], State]


@pytest.fixture(scope="module")
def truth(made: Past) -> Truth:
    def at(key: str, moment: int) -> State:
        steps = [step_of(one) for one in made.events if record_key_of(one) == key and event_time_ms(one) < moment]
        return fold(empty(), steps, LATENESS_MS).row.state

    return at


def test_a_shopper_is_as_the_fold_of_what_was_before(states: StatesAt, happened: Interactions, truth: Truth) -> None:
    rng = np.random.default_rng(1)
    rows = rng.integers(0, len(happened), 40).tolist()
    keys = [happened.shoppers[row] for row in happened.shopper[rows].tolist()]
    moments = (happened.at[rows] + rng.integers(0, 2, 40) * DAY_MS).tolist()
    for key, moment, found in zip(keys, moments, states.at(keys, moments), strict=True):
        wanted = truth(key, moment)
        assert [(one.item_id, one.kind, one.at) for one in found.interactions] == [
            (one.item_id, one.kind, one.at) for one in wanted.interactions
        ]
        assert (found.orders, found.views, found.newest) == (wanted.orders, wanted.views, wanted.newest)
        assert found.purchased.keys() == wanted.purchased.keys()
        for item, bought in wanted.purchased.items():
            now = moment + 9 * DAY_MS
            assert purchase_weight_at(found.purchased[item], now) == pytest.approx(
                purchase_weight_at(bought, now), rel=1e-5
            )


def test_nothing_of_the_moment_itself_is_known(states: StatesAt, happened: Interactions) -> None:
    first = int(np.flatnonzero(happened.shopper == 3)[0])
    key, moment = happened.shoppers[3], int(happened.at[first])
    just, after = states.at([key, key], [moment, moment + 1])
    assert (just.interactions, just.newest) == ([], 0)
    assert [one.at for one in after.interactions] == [moment]


def test_who_is_asked_for_in_any_order_is_the_same(states: StatesAt, happened: Interactions) -> None:
    end = int(happened.at.max()) + 1
    keys, moments = [*happened.shoppers[:3]] * 2, [end, end - 30 * DAY_MS, end, end - 60 * DAY_MS, end, end]
    forward = states.at(keys, moments)
    back = states.at(keys[::-1], moments[::-1])[::-1]
    assert [state.interactions for state in forward] == [state.interactions for state in back]
    assert forward[1].interactions == forward[4].interactions[: len(forward[1].interactions)] or forward[1].newest


def test_a_stranger_has_done_nothing(states: StatesAt, happened: Interactions) -> None:
    (found,) = states.at(["nobody"], [int(happened.at.max())])
    assert (found.interactions, found.purchased, found.orders) == ([], {}, 0)


def test_what_is_learned_from_is_the_same(made: Past, happened: Interactions) -> None:
    """Prices apart, which interactions do not have."""
    bought = happened.of_kinds({"purchase"})
    feast = examples_of(Sources(made.root / "archive", made.store, "default"), bought, seed=1)
    folded = examples_of(FoldedStates(happened), bought, seed=1)
    assert [one.interactions for one in feast.known] == [one.interactions for one in folded.known]
    for name in ("row", "back", "worth", "at"):
        assert (getattr(feast, name) == getattr(folded, name)).all()
    assert feast.facts[:, :2] == pytest.approx(folded.facts[:, :2], rel=1e-6)


def test_the_archive_gives_the_same_steps_of_all_kinds(made: Past, happened: Interactions) -> None:
    read = read_all(Sources(made.root / "archive", made.store, "default"), ITEMS, lambda more: None)
    assert steps_of(read) == steps_of(happened)
    assert {KINDS[kind] for kind in read.kinds.tolist()} == {"view_item", "purchase"}


def steps_of(some: Interactions) -> list[tuple[str, int, int, str]]:
    columns = (some.shopper.tolist(), some.at.tolist(), some.item.tolist(), some.kinds.tolist())
    return sorted((some.shoppers[who], at, item, KINDS[kind]) for who, at, item, kind in zip(*columns, strict=True))


def line(kinds: list[str], items: list[int], days: list[int]) -> Interactions:
    """One shopper, an event a row."""
    count = len(kinds)
    rows = np.arange(count, dtype=np.int64)
    kind = np.array([KINDS.index(name) for name in kinds], np.int64)
    at = np.array(days, np.int64) * DAY_MS
    return Interactions(("s",), tuple("abcdef"), np.zeros(count, np.int64), np.array(items), at, rows, kind)


def test_steps_of_each_kind_count_as_much_as_is_set_and_what_is_turned_away_from_counts_against() -> None:
    some = line(["view_item", "add_to_cart", "purchase", "refund", "dislike_item"], [0, 1, 2, 2, 4], [1, 2, 3, 4, 5])
    found = examples_of(FoldedStates(some), some, seed=1, repeats_kept=1.0)
    assert [bought.tolist() for bought in found.bought] == [[1], [2], [2], [4]]
    assert found.worth.tolist() == [0.5, 1.0, -0.5, -0.5]
    assert len(found.known) == 1, "one history, which ends with the purchase"
    assert found.back.tolist() == [2, 1, 0, 0]
    assert facts_of(found.known[0])[0] == pytest.approx(np.log1p(1))


def test_purchases_are_kept_where_not_all_can_be() -> None:
    some = line(["view_item"] * 3 + ["purchase"] * 3, [0, 1, 2, 3, 4, 5], [1, 2, 3, 4, 5, 6])
    found = examples_of(FoldedStates(some), some, seed=1, repeats_kept=1.0, most=3)
    assert [bought.tolist() for bought in found.bought] == [[3], [4], [5]]


def test_a_long_history_is_cut_so_that_each_step_has_all_before_it_that_a_list_is_made_from() -> None:
    count = 130
    some = line(["purchase"] * count, [day % 6 for day in range(count)], list(range(count)))
    found = examples_of(FoldedStates(some), some, seed=1, repeats_kept=1.0)
    assert len(found.bought) == count - 1
    assert len(found.known) == count - MAX_INTERACTIONS, "those of the first fifty are one"
    for step, (row, back) in enumerate(zip(found.row.tolist(), found.back.tolist(), strict=True), 1):
        met = found.known[row].interactions
        context = met[: len(met) - back]
        assert context[-1].at < step * DAY_MS
        assert len(context) == min(step, MAX_INTERACTIONS)
