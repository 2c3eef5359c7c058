"""The scorer: a model written by hand, whose every score follows by reasoning."""

from collections.abc import Iterable, Mapping

import msgspec
import numpy as np
import pytest
import torch

from features.shoppers import Interaction, Purchased, State
from models.artifact import NEIGHBOURS
from models.candidates import Candidate
from models.choosing import PARTS
from models.fusion import Weights, fuse
from models.item_to_item import RECENCY
from models.scorer import Fitted, Scorer, facts_of, packed
from models.user_tower import UserTower

DAY = 86_400_000
NOW = 1_780_000_000_000
WIDTH = 4
IDS = ["cup", "jar", "old", "pot", "tea"]  # "old" is no candidate
CUP, JAR, POT, TEA = range(4)  # the candidates in their order
_NEIGHBOURS = {"cup": {"tea": 0.5, "pot": 0.25}, "tea": {"cup": 0.5, "old": 0.4, "pot": 0.25}, "old": {"jar": 1.0}}
POPULARITY = {"cup": 3.0, "jar": 0.5, "old": 9.0, "pot": 1.0, "tea": 2.0}


def fitted(weights: Mapping[str, Weights] | None = None) -> Fitted:
    """A tower of zeros says nothing; so only what is written here counts."""
    rows = {item_id: row for row, item_id in enumerate(IDS)}
    neighbours = np.full((len(IDS), NEIGHBOURS), -1, np.int32)
    scores = np.zeros((len(IDS), NEIGHBOURS), np.float32)
    for item_id, pairs in _NEIGHBOURS.items():
        for place, (other, score) in enumerate(pairs.items()):
            neighbours[rows[item_id], place], scores[rows[item_id], place] = rows[other], score
    tower = UserTower(WIDTH)
    return Fitted(
        version="by hand",
        item_ids=IDS,
        vectors=np.eye(len(IDS), WIDTH + 1, dtype=np.float32),
        popularity=np.array([POPULARITY[item_id] for item_id in IDS], np.float32),
        neighbours=neighbours,
        neighbour_scores=scores,
        candidates=np.array([row for row, item_id in enumerate(IDS) if item_id != "old"], np.int32),
        weights=dict(weights or {"new": Weights(0, 1, 0, 0), "all": Weights(0, 1, 0, 2)}),
        tower={name: np.zeros_like(value.numpy()) for name, value in tower.state_dict().items()},
    )


def met(*items: str, kind: str = "view_item") -> State:
    """The items one after another, a minute apart."""
    interactions = [Interaction(item, kind, NOW + 60_000 * n) for n, item in enumerate(items)]
    return State(interactions=interactions, views=len(items), newest=NOW + 60_000 * len(items))


def bought(**weights: float) -> State:
    """Items with these weights as of now."""
    return State(purchased={item: Purchased(1, NOW, NOW, weight) for item, weight in weights.items()}, newest=NOW)


def test_popularity_is_that_of_the_candidates() -> None:
    parts = Scorer(fitted()).parts([State(), met("tea")], NOW)
    assert set(parts) == set(PARTS)
    assert parts["popular"].tolist() == [[3, 0.5, 1, 2]] * 2


def test_item_to_item_adds_up_what_the_items_met_say_the_newest_loudest() -> None:
    """Cup, then the unknown hat, then tea: cup is two back, for what is unknown took its place, too."""
    (line,) = Scorer(fitted()).parts([met("cup", "hat", "tea")], NOW)["item_to_item"]
    assert line[CUP] == pytest.approx(0.5)
    assert line[TEA] == pytest.approx(0.5 * RECENCY**2)
    assert line[POT] == pytest.approx(0.25 * RECENCY**2 + 0.25)
    assert line[JAR] == 0
    (line,) = Scorer(fitted()).parts([met("cup", "cup")], NOW)["item_to_item"]
    assert line[TEA] == pytest.approx(0.5 * (1 + RECENCY))


def test_what_is_no_candidate_speaks_and_is_never_spoken_for() -> None:
    scorer = Scorer(fitted())
    assert scorer.candidate_rows.tolist() == [0, 1, 3, 4]
    (line,) = scorer.parts([met("old")], NOW)["item_to_item"]
    assert line.tolist() == [0, 1, 0, 0]
    (listed,) = scorer.score([met("tea", "old")], 10, NOW)
    assert {one.item_id for one in listed} == {"cup", "jar", "pot", "tea"}


def test_own_repeats_halve_in_ninety_days() -> None:
    scorer = Scorer(fitted())
    state = bought(tea=2.0, pot=1.0, old=5.0, hat=5.0)
    assert scorer.parts([state], NOW)["repeat"].tolist() == [[0, 0, 1, 2]]
    assert scorer.parts([state], NOW + 90 * DAY)["repeat"] == pytest.approx(np.array([[0, 0, 0.5, 1]]))
    assert scorer.parts([state], NOW - DAY)["repeat"].tolist() == [[0, 0, 1, 2]], "never more than it weighed"


def test_the_list_is_sorted_and_holds_the_best_of_both_scores() -> None:
    state = msgspec.structs.replace(met("cup"), purchased=bought(jar=9.0).purchased)
    scorer = Scorer(fitted())
    (two,) = scorer.score([state], 1, NOW)
    assert [one.item_id for one in two] == ["tea", "jar"], "the best new one, and the best with repeats"
    (every,) = scorer.score([state], 99, NOW)
    assert [one.item_id for one in every][:2] == ["tea", "pot"]
    assert len(every) == 4
    assert [one.score for one in every] == sorted((one.score for one in every), reverse=True)


def test_scores_are_the_fused_ones() -> None:
    weights = {"new": Weights(1, 0.5, 0.25, 0), "all": Weights(1, 0.5, 0.25, 2)}
    scorer = Scorer(fitted(weights))
    state = msgspec.structs.replace(met("cup", "tea"), purchased=bought(pot=1.0).purchased)
    parts = scorer.parts([state], NOW)
    (listed,) = scorer.score([state], 4, NOW)
    place = {"cup": CUP, "jar": JAR, "pot": POT, "tea": TEA}
    for one in listed:
        assert one.score == pytest.approx(float(fuse(parts, weights["new"])[0, place[one.item_id]]), abs=1e-6)
        assert one.repeat_score == pytest.approx(float(fuse(parts, weights["all"])[0, place[one.item_id]]), abs=1e-6)


def by_id(listed: Iterable[Candidate]) -> dict[str, Candidate]:
    return {one.item_id: one for one in listed}


def test_because_is_the_item_met_that_spoke_loudest() -> None:
    """Tea says as much for pot as cup does, but was met before it."""
    (listed,) = Scorer(fitted()).score([met("tea", "cup", "old", "jar")], 4, NOW)
    assert {one.item_id: one.because for one in listed} == {"tea": "cup", "pot": "cup", "cup": "tea", "jar": "old"}


@pytest.mark.parametrize("state", [State(), met("hat"), met("jar"), bought(tea=1.0)])
def test_where_nothing_spoke_nothing_is_the_because(state: State) -> None:
    (listed,) = Scorer(fitted()).score([state], 4, NOW)
    assert [one.because for one in listed] == [None] * 4


def test_the_source_is_the_part_that_gave_most() -> None:
    scorer = Scorer(fitted({"new": Weights(0, 1, 0.1, 0), "all": Weights(0, 1, 0.1, 1)}))
    (popular,) = scorer.score([State()], 4, NOW)
    first = next(iter(popular))
    assert first.item_id == "cup"
    assert first.source == "popular"
    found = by_id(scorer.score([met("old")], 4, NOW)[0])
    assert found["jar"].source == "item_to_item"
    assert found["cup"].source == "popular"


def loud() -> Scorer:
    """A scorer whose tower says something, too."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        tower = UserTower(WIDTH)
        for parameter in tower.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
    arrays = {name: value.detach().numpy() for name, value in tower.state_dict().items()}
    whole = Weights(1, 1, 1, 1)
    return Scorer(msgspec.structs.replace(fitted({"new": whole, "all": whole}), tower=arrays))


def test_the_towers_score_is_the_product_of_the_vectors() -> None:
    scorer = loud()
    states = [met("cup", "tea"), State(), met("pot")]
    vectors = scorer.vectors(states)
    assert vectors.shape == (3, WIDTH + 1)
    items = np.eye(len(IDS), WIDTH + 1, dtype=np.float32)[[0, 1, 3, 4]]
    assert scorer.parts(states, NOW)["tower"] == pytest.approx(vectors @ items.T, abs=1e-6)


def test_equal_states_give_equal_lists_alone_and_in_company() -> None:
    scorer = loud()
    state = met("cup", "tea", "old", kind="purchase")
    first, other, again = scorer.score([state, met("jar"), met("cup", "tea", "old", kind="purchase")], 4, NOW)
    assert first == again
    assert first != other
    (alone,) = scorer.score([state], 4, NOW)
    assert alone == loud().score([state], 4, NOW)[0], "to the last bit"
    assert [one.item_id for one in alone] == [one.item_id for one in first]
    # A product of matrices adds up in another order where there are more rows.
    assert [one.score for one in alone] == pytest.approx([one.score for one in first], abs=1e-5)


def test_many_get_each_their_own_list_in_the_order_asked() -> None:
    scorer = loud()
    draws = np.random.default_rng(5)
    states = [met(*draws.choice([*IDS, "hat"], draws.integers(0, 51)).tolist()) for _ in range(70)]
    states = [msgspec.structs.replace(state, purchased=bought(jar=n + 1.0).purchased) for n, state in enumerate(states)]
    together, parts = scorer.score(states, 4, NOW), scorer.parts(states, NOW)
    for row, state in enumerate(states):
        alone = by_id(scorer.score([state], 4, NOW)[0])
        assert by_id(together[row]).keys() == alone.keys()
        for one in together[row]:
            assert one.score == pytest.approx(alone[one.item_id].score, abs=1e-4)
            assert one.repeat_score == pytest.approx(alone[one.item_id].repeat_score, abs=1e-4)
            assert one.because == alone[one.item_id].because
        for name, part in scorer.parts([state], NOW).items():
            assert parts[name][row] == pytest.approx(part[0], abs=1e-4)


def test_nobody_gets_no_lists() -> None:
    assert loud().score([], 4, NOW) == []


def test_what_has_no_row_is_passed_over_when_shoppers_are_packed() -> None:
    state = met("hat", "tea", "cup")
    packed_ = packed([state, State()], {"tea": 4, "cup": 1})
    assert packed_.length.tolist() == [2, 0]
    assert packed_.items[0, :2].tolist() == [4, 1]


def test_the_facts_are_logs_of_orders_and_views_and_the_mean_price() -> None:
    state = State(orders=1, views=3)
    state.log_price_sum.value, state.log_price_weight.value = 6.0, 2.0
    assert facts_of(state) == pytest.approx((np.log(2), np.log(4), 3.0))
    assert facts_of(State()) == (0.0, 0.0, 0.0)
