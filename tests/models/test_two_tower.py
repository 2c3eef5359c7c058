"""The item tower on TorchRec, and both towers fitted on a checkerboard."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from features.shoppers import Interaction, State
from infra.errors import Refused
from models.batches import Batch
from models.examples import Examples
from models.fitting import Negatives, Options, _loss, fit, steps_of
from models.interactions import Floats
from models.item_features import ItemFeatures
from models.scorer import packed
from models.two_tower import ItemTower, all_vectors, factorised
from models.user_tower import UserTower
from tests.models.shops import DAY_MS, SIDE, bought, checkerboard, colour_of

WIDTH = 16


@pytest.fixture(autouse=True)
def _draws() -> Iterator[None]:
    """The same draws in every order of the tests."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        yield


def features(count: int, distinct: bool) -> ItemFeatures:
    """Items that all are the same thing, or that each are another."""
    rng = np.random.default_rng(1)
    zeros = np.zeros(count, np.int64)
    text = rng.normal(size=(count, 6)).astype(np.float32)
    if not distinct:
        return ItemFeatures(zeros, zeros, zeros, np.zeros_like(text), 1, 1)
    rows = np.arange(count, dtype=np.int64)
    return ItemFeatures(rows % 3, rows % 4, rows % 5, text, 3, 4)


def tower_of(items: ItemFeatures, known: list[bool]) -> ItemTower:
    return ItemTower(items, np.arange(len(known), dtype=np.float32), np.array(known), WIDTH, id_dropout=0.5)


def test_a_vector_of_each_item_with_its_popularity_last() -> None:
    tower = tower_of(features(7, distinct=True), [True] * 7)
    vectors = all_vectors(tower, 7)
    assert vectors.shape == (7, WIDTH + 1)
    assert vectors[:, -1].tolist() == list(range(7))
    with torch.inference_mode():
        some = tower(torch.tensor([5, 2, 5])).numpy()
    assert some == pytest.approx(vectors[[5, 2, 5]], abs=1e-6)


def test_every_feature_is_heard() -> None:
    for changed in ("category", "brand", "price", "text"):
        items = features(2, distinct=False)
        getattr(items, changed)[1] = 1
        wide = ItemFeatures(items.category, items.brand, items.price, items.text, 2, 2)
        one, other = all_vectors(tower_of(wide, [False, False]), 2)[:, :-1]
        assert np.abs(one - other).max() > 1e-3


def test_without_a_history_an_item_has_no_id_part() -> None:
    vectors = all_vectors(tower_of(features(4, distinct=False), [False, False, True, True]), 4)[:, :-1]
    assert vectors[0] == pytest.approx(vectors[1], abs=1e-7)
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3
    assert np.abs(vectors[2] - vectors[3]).max() > 1e-3


def test_ids_start_as_they_are_told() -> None:
    tower = tower_of(features(3, distinct=False), [True, True, False])
    before = all_vectors(tower, 3)[:, :-1]
    start = np.random.default_rng(2).normal(size=(3, WIDTH)).astype(np.float32)
    tower.start_ids(start)
    after = all_vectors(tower, 3)[:, :-1]
    rest = before[2]  # the part that all three have in common
    assert after == pytest.approx(np.stack([rest + start[0], rest + start[1], rest]), abs=1e-6)


def test_ids_are_dropped_in_training_alone() -> None:
    tower = tower_of(features(200, distinct=False), [True] * 200)
    tower.start_ids(np.ones((200, WIDTH), np.float32))
    tower.train()
    with torch.no_grad():
        heard = tower(torch.arange(200)).numpy()[:, 0]
    low, high = np.unique(heard.round(4))
    assert high - low == pytest.approx(1, abs=1e-3)
    assert 60 < (heard > low + 0.5).sum() < 140, "half of two hundred"
    assert len(np.unique(all_vectors(tower, 200)[:, 0])) == 1


def cosines(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray((vectors / lengths) @ (vectors / lengths).T)


def test_ids_start_nearer_where_the_same_shoppers_bought() -> None:
    vectors = factorised(checkerboard(1), 40 * DAY_MS, 4)
    assert vectors.shape == (SIDE, 4)
    alike = cosines(vectors)
    same = np.add.outer(np.arange(SIDE), np.arange(SIDE)) % 2 == 0
    assert alike[same].mean() > alike[~same].mean() + 0.3


@pytest.mark.parametrize(("shoppers", "items"), [(1, 1), (1, 3), (3, 1), (2, 2)])
def test_a_tiny_shop_starts_with_what_little_there_is(shoppers: int, items: int) -> None:
    vectors = factorised(bought([(0, 0, 0)], shoppers, items), DAY_MS, 8)
    assert vectors.shape == (items, 8)
    assert np.isfinite(vectors).all()


def learned_from(per_shopper: int, seed: int) -> Examples:
    """Of each shopper some orders: a few items of their colour before, the others then."""
    rng = np.random.default_rng(seed)
    known, wanted = [], []
    for shopper in range(SIDE):
        for _ in range(per_shopper):
            items = rng.permutation(colour_of(shopper)).tolist()
            met = int(rng.integers(2, 6))
            known.append(history(items[:met]))
            wanted.append(np.array(items[met:], np.int64))
    return Examples.apart(known, wanted, np.arange(len(known), dtype=np.int64))


def history(items: list[int]) -> State:
    met = [Interaction(f"i{item}", "purchase", day * DAY_MS) for day, item in enumerate(items)]
    return State(interactions=met, orders=len(met), newest=len(met) * DAY_MS)


def asked(items: ItemTower, users: UserTower, states: list[State]) -> Floats:
    """The scores of every item: [shoppers, items]."""
    index = {f"i{n}": n for n in range(SIDE)}
    shoppers = packed(states, index)
    vectors = torch.from_numpy(all_vectors(items, SIDE))
    users.eval()
    with torch.inference_mode():
        return np.asarray((users(vectors[torch.from_numpy(shoppers.items)], shoppers) @ vectors.T).numpy())


def loss(items: ItemTower, users: UserTower, examples: Examples) -> float:
    """Softmax over all items, of each wanted one against those that are not wanted."""
    lines = []
    scores = asked(items, users, list(examples.known)).astype(np.float64)
    for row, wanted in zip(scores, examples.bought, strict=True):
        others = np.exp(np.delete(row, wanted)).sum()
        lines += (np.log(np.exp(row[wanted]) + others) - row[wanted]).tolist()
    return float(np.mean(lines))


def test_a_fit_lowers_the_loss_and_finds_the_withheld_item() -> None:
    tower = ItemTower(features(SIDE, distinct=False), np.zeros(SIDE, np.float32), np.ones(SIDE), WIDTH, 0.1)
    users = UserTower(WIDTH)
    examples = learned_from(5, seed=1)
    options = Options(width=WIDTH, batch=20, negatives=64, epochs=12.0, learning_rate=1e-2)
    tables = {name: table.weight.detach().clone() for name, table in tower.tables.embedding_bags.items()}
    unlike = loss(tower, users, examples)
    told: list[int] = []
    counts = np.bincount(np.concatenate(examples.bought), minlength=SIDE)
    fit(tower, users, examples, {f"i{n}": n for n in range(SIDE)}, counts, options, told.append)

    assert sum(told) == steps_of(examples, options) == 60
    assert loss(tower, users, examples) < unlike - 0.7, "all but log 2: one colour is out of the question"
    moved = {name for name, was in tables.items() if not torch.equal(was, tower.tables.embedding_bags[name].weight)}
    assert moved == set(tables), "TorchRec's tables learn"
    scores = asked(tower, users, [history(colour_of(shopper)) for shopper in range(SIDE)])
    for shopper in range(SIDE):
        scores[shopper, colour_of(shopper)] = -np.inf
    assert scores.argmax(1).tolist() == list(range(SIDE))


def test_the_same_seed_fits_the_same_towers() -> None:
    examples = learned_from(1, seed=2)
    counts = np.bincount(np.concatenate(examples.bought), minlength=SIDE)
    found = []
    for _ in range(2):
        torch.manual_seed(5)
        tower = ItemTower(features(SIDE, distinct=True), np.zeros(SIDE, np.float32), np.ones(SIDE), WIDTH, 0.1)
        users = UserTower(WIDTH)
        options = Options(width=WIDTH, batch=10, negatives=16, epochs=2.0, seed=3)
        fit(tower, users, examples, {f"i{n}": n for n in range(SIDE)}, counts, options, lambda more: None)
        found.append(asked(tower, users, list(examples.known)))
    assert (found[0] == found[1]).all()


def test_a_loss_that_is_no_number_ends_the_fit_and_says_what_to_do() -> None:
    tower = ItemTower(features(SIDE, distinct=True), np.full(SIDE, np.nan, np.float32), np.ones(SIDE), WIDTH, 0.1)
    with pytest.raises(Refused, match="lower the learning rate") as caught:
        fit(tower, UserTower(WIDTH), learned_from(1, 1), {}, np.ones(SIDE, np.int64), Options(WIDTH), lambda more: None)
    assert caught.value.reason == "training_diverged"


def test_negatives_are_drawn_as_often_as_they_say() -> None:
    counts = np.array([8, 0, 2, 0], np.int64)
    negatives = Negatives(counts, 20_000, np.random.default_rng(1))
    expected = 20_000 * np.array([0.525, 0.125, 0.225, 0.125])
    assert negatives.log_expected.numpy() == pytest.approx(np.log(expected), abs=1e-4)
    assert np.bincount(negatives.draw(), minlength=4) == pytest.approx(expected, rel=0.05)


def test_who_knows_nothing_has_the_logarithm_of_the_shop_as_loss() -> None:
    """All scores are 0: however unevenly negatives are drawn, corrected they stand for every other item once."""
    count = 10
    tower = ItemTower(features(count, distinct=True), np.zeros(count, np.float32), np.ones(count), WIDTH, 0.0)
    users = UserTower(WIDTH)
    for parameter in users.parameters():
        torch.nn.init.zeros_(parameter)
    negatives = Negatives(np.array([90] + [1] * (count - 1), np.int64), 20_000, np.random.default_rng(1))
    for wanted in ([[0, -1], [3, -1]], [[0, -1], [0, -1]]):
        loss_ = _loss(tower, users, strangers(wanted), negatives)
        assert float(loss_.detach()) == pytest.approx(np.log(count), abs=0.02)
    both = _loss(tower, users, strangers([[0, 3]]), negatives)
    assert float(both.detach()) == pytest.approx(np.log(count - 1), abs=0.02), "what is wanted too is no negative"
    unwanted = _loss(tower, users, strangers([[0, -1]], worth=-0.5), negatives)
    assert float(unwanted.detach()) == pytest.approx(-np.log(1 - 1 / count), abs=0.02)


def strangers(wanted: list[list[int]], worth: float = 1.0) -> Batch:
    """A step of each of some shoppers without a history."""
    nobody = packed([State()] * len(wanted), {})
    rows = np.arange(len(wanted), dtype=np.int64)
    worths = np.full(len(wanted), worth, np.float32)
    return Batch(nobody, rows, np.zeros_like(rows), nobody.facts, np.array(wanted, np.int64), worths, rows)


def test_what_a_shopper_turned_away_from_becomes_less_likely() -> None:
    """Each shopper of the checkerboard has one item of their colour that they sent back."""
    some = learned_from(5, seed=1)
    sent_back = np.array([2 + shopper % 2 for shopper in range(SIDE)])
    lines = Examples.apart(
        [*some.known, *some.known],
        [*some.bought, *(np.array([sent_back[row // 5]]) for row in range(len(some.known)))],
        np.arange(2 * len(some.known), dtype=np.int64),
        np.repeat([1.0, -0.5], len(some.known)),
    )
    found = []
    for examples in (some, lines):
        torch.manual_seed(5)
        tower = ItemTower(features(SIDE, distinct=False), np.zeros(SIDE, np.float32), np.ones(SIDE), WIDTH, 0.1)
        users = UserTower(WIDTH)
        options = Options(width=WIDTH, batch=20, negatives=64, epochs=8.0, learning_rate=1e-2)
        fit(tower, users, examples, {f"i{n}": n for n in range(SIDE)}, np.full(SIDE, 9), options, lambda more: None)
        scores = asked(tower, users, list(some.known))
        rows = np.arange(len(scores))
        found.append((scores[rows, sent_back[rows // 5]] - scores[rows, sent_back[rows // 5] + 4]).mean())
    assert found[1] < found[0] - 1


def test_orders_before_a_moment() -> None:
    examples = learned_from(1, seed=3)
    earlier = examples.before(7)
    assert earlier.at.tolist() == list(range(7))
    assert list(earlier.known) == list(examples.known[:7])
    assert len(earlier.bought) == 7
    assert not examples.before(0).bought
