"""Items without a history: numpy alone says what the item tower says of them, and a scorer takes them up."""

from decimal import Decimal
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch

from features.catalog import Content, Item, Price
from features.shoppers import State
from infra.errors import ArtifactBroken
from models.cold import FILE, ColdItems
from models.fusion import Weights
from models.item_features import features_of, names_of
from models.scorer import Scorer, extended
from models.text import Whitening
from models.two_tower import ItemTower, all_vectors, without_history
from tests.models.test_scorer import IDS, NOW, WIDTH, fitted, met

ITEMS = [
    Item(
        item_id="a",
        content=Content(name="Tea", category="tea", brand="Leaf"),
        price=Price(price=Decimal("9.50"), currency="EUR"),
    ),
    Item(item_id="b", content=Content(name="Pot", category="pots"), price=Price(price=Decimal(120), currency="EUR")),
    Item(item_id="c", content=Content(name="Cup", brand="Clay")),
    Item(item_id="d"),
]


def texts() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(len(ITEMS), 12)).astype(np.float32)


def made(known: list[int]) -> tuple[ItemTower, ColdItems]:
    whitening = Whitening.of(texts())
    features = features_of(ITEMS, whitening.whitened(texts()))
    with torch.random.fork_rng():
        torch.manual_seed(1)
        tower = ItemTower(features, np.full(len(ITEMS), -1.5, np.float32), np.array(known), 8, 0.2)
    return tower, ColdItems(without_history(tower), whitening, *names_of(ITEMS))


def test_the_vector_is_that_of_the_tower() -> None:
    tower, cold = made([0, 0, 0, 0])
    assert cold.vectors(ITEMS, texts()) == pytest.approx(all_vectors(tower, len(ITEMS)), abs=1e-5)


def test_the_id_of_an_item_with_a_history_has_no_part_in_it() -> None:
    tower, cold = made([1, 1, 0, 0])
    apart = np.abs(cold.vectors(ITEMS, texts()) - all_vectors(tower, len(ITEMS))).max(1)
    assert (apart[:2] > 1e-3).all()
    assert apart[2:] == pytest.approx([0, 0], abs=1e-5)


def test_what_was_not_there_at_the_training_counts_as_none() -> None:
    _, cold = made([0, 0, 0, 0])
    new, none = (Item(item_id="x", content=Content(name="X", category=category)) for category in ("hats", None))
    vectors = cold.vectors([new, none], texts()[:2] * 0)
    assert (vectors[0] == vectors[1]).all()
    assert np.isfinite(vectors).all()


def test_it_comes_back_from_a_file(tmp_path: Path) -> None:
    _, cold = made([0, 0, 0, 0])
    cold.save(tmp_path / FILE)
    assert (ColdItems.open(tmp_path).vectors(ITEMS, texts()) == cold.vectors(ITEMS, texts())).all()


def test_an_artifact_without_it_and_a_broken_one_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ArtifactBroken, match="Train again") as missing:
        ColdItems.open(tmp_path)
    assert missing.value.reason == "no_cold_items"
    (tmp_path / FILE).write_bytes(b"PK")
    with pytest.raises(ArtifactBroken, match="train again"):
        ColdItems.open(tmp_path)


def test_a_scorer_takes_new_items_up_and_says_the_same_of_the_others() -> None:
    scorer = Scorer(fitted())
    vector = np.full((1, WIDTH + 1), 0.5, np.float32)
    with_hat = scorer.with_items(["hat"], vector)
    assert with_hat.version == scorer.version
    assert with_hat.knows("hat")
    assert not scorer.knows("hat")
    state = met("cup", "tea")
    before, after = scorer.parts([state], NOW), with_hat.parts([state], NOW)
    for name, part in before.items():
        assert (after[name][:, :-1] == part).all()
        assert name == "tower" or after[name][0, -1] == 0, "nobody bought it, nobody met it beside another"
    (listed,) = with_hat.score([state], 10, NOW)
    assert sorted(one.item_id for one in listed) == ["cup", "hat", "jar", "pot", "tea"]


def test_one_after_the_other_is_both_at_once() -> None:
    one, two = np.ones((1, WIDTH + 1), np.float32), np.full((1, WIDTH + 1), 2, np.float32)
    whole = Weights(1, 1, 1, 1)
    model = fitted({"new": whole, "all": whole})
    apart = Scorer(model).with_items(["hat"], one).with_items(["wig"], two)
    together = Scorer(extended(model, ["hat", "wig"], np.concatenate([one, two])))
    states = [State(), met("hat", "wig"), met("tea")]
    assert apart.score(states, 9, NOW) == together.score(states, 9, NOW)
    assert len(apart.fitted.item_ids) == len(IDS) + 2
    assert msgspec.structs.asdict(model)["item_ids"] == IDS, "the model itself is as it was"
