"""What new items borrow: lists that follow by reasoning."""

from pathlib import Path

import msgspec
import numpy as np
import pytest

from models.artifact import NEIGHBOURS
from models.cold import FILE, ColdItems
from models.cold_neighbours import OWN, SPEAKERS, Lenders, Spoken
from models.item_features import names_of
from models.scorer import Scorer, extended
from models.text import Whitening
from models.two_tower import without_history
from tests.models.test_cold import ITEMS, made, texts
from tests.models.test_scorer import IDS, NOW, WIDTH, fitted, met

CUP, JAR, OLD, POT, TEA = range(len(IDS))
AXES = np.eye(len(IDS), 64, dtype=np.float32)


def lenders(directions: np.ndarray = AXES) -> Lenders:
    """Of the model written by hand: each item's text has a direction of its own; "old" is no candidate."""
    model = fitted()
    return Lenders(directions, model.candidates, model.vectors, model.neighbours, model.neighbour_scores)


def test_a_text_that_is_one_items_gets_its_vector_and_who_speaks_for_it() -> None:
    found = lenders().lend(AXES[[POT]])
    assert found.vectors[0] == pytest.approx(fitted().vectors[POT], abs=1e-6)
    loudest = (0.5 + 0.5 + 1.0) / 3  # of cup, tea and old
    said = dict(zip(found.speakers[0].tolist(), found.shares[0].tolist(), strict=True))
    said.pop(-1)
    assert said == pytest.approx({CUP: 0.25, TEA: 0.25, POT: OWN * loudest})


def test_two_alike_lend_by_how_alike_they_are() -> None:
    between = 2 * AXES[CUP] + AXES[POT]
    found = lenders().lend(between[None])
    cup, pot = 8 / 9, 1 / 9  # the cosines' third powers
    raw = cup * fitted().vectors[CUP] + pot * fitted().vectors[POT]
    assert found.vectors[0] / np.linalg.norm(found.vectors[0]) == pytest.approx(raw / np.linalg.norm(raw), abs=1e-6)


def test_what_is_lent_is_longer_than_a_mean_and_shorter_than_what_the_lenders_have() -> None:
    found = lenders().lend((AXES[CUP] + AXES[JAR])[None])
    assert np.linalg.norm(found.vectors[0, :-1]) == pytest.approx(0.5**0.25, abs=1e-6), "the mean of two is √½ long"


def test_one_that_is_no_candidate_lends_nothing_and_a_text_unlike_all_gets_nothing() -> None:
    found = lenders().lend(np.stack([AXES[OLD], np.zeros(64, np.float32), -AXES[TEA]]))
    assert found.lent.tolist() == [False, False, False]
    assert (found.speakers == -1).all()
    assert np.isfinite(found.vectors).all()
    nobody = msgspec.structs.replace(fitted(), candidates=np.zeros(0, np.int32))
    alone = Lenders(AXES, nobody.candidates, nobody.vectors, nobody.neighbours, nobody.neighbour_scores)
    assert alone.lend(AXES[:2]).lent.tolist() == [False, False]
    assert len(lenders().lend(AXES[:0]).vectors) == 0


def test_all_at_once_is_one_after_the_other() -> None:
    rng = np.random.default_rng(3)
    some = rng.normal(size=(150, 64)).astype(np.float32)
    owner = lenders(rng.normal(size=(len(IDS), 64)).astype(np.float32))
    whole = owner.lend(some)
    for row in (0, 63, 64, 149):
        alone = owner.lend(some[row : row + 1])
        assert whole.vectors[row] == pytest.approx(alone.vectors[0], abs=1e-5)
        assert (whole.speakers[row] == alone.speakers[0]).all()


def test_who_met_an_item_that_speaks_for_the_new_one_hears_of_it() -> None:
    vectors = np.zeros((1, WIDTH + 1), np.float32)
    spoken = Spoken(np.array([[TEA, -1]]), np.array([[0.9, 0.0]], np.float32))
    scorer = Scorer(fitted()).with_items(["hat"], vectors, spoken)
    told, untold = scorer.parts([met("tea")], NOW), scorer.parts([met("pot")], NOW)
    before = Scorer(fitted()).parts([met("tea")], NOW)["item_to_item"]
    assert told["item_to_item"][0, -1] == pytest.approx(0.9)
    assert untold["item_to_item"][0, -1] == 0
    assert (told["item_to_item"][:, :-1] == before).all(), "the others are told as before"
    (listed,) = scorer.score([met("tea")], 1, NOW)
    assert [one.item_id for one in listed] == ["hat"]
    assert listed.because == ["tea"]


def test_taken_up_one_after_the_other_is_both_at_once_and_an_item_tells_of_the_loudest_fifty() -> None:
    many = NEIGHBOURS + 10
    names = [f"n{number:02}" for number in range(many)]
    vectors = np.zeros((many, WIDTH + 1), np.float32)
    shares = np.random.default_rng(4).random((many, 1)).astype(np.float32)
    spoken = Spoken(np.full((many, 1), TEA), shares)
    whole = extended(fitted(), names, vectors, spoken)
    apart = extended(fitted(), names[:20], vectors[:20], Spoken(spoken.speakers[:20], shares[:20]))
    apart = extended(apart, names[20:], vectors[20:], Spoken(spoken.speakers[20:], shares[20:]))
    assert (whole.told == apart.told).all()
    assert whole.told_scores == pytest.approx(apart.told_scores)
    assert whole.told.shape == (len(IDS) + many, NEIGHBOURS)
    assert whole.told_scores[TEA] == pytest.approx(np.sort(shares[:, 0])[::-1][:NEIGHBOURS])


def test_an_artifact_of_an_older_version_goes_by_what_the_item_is() -> None:
    _, cold = made([1, 1, 1, 1])
    assert cold.lenders(np.zeros((4, 9)), [0], np.full((4, 1), -1), np.zeros((4, 1))) is None
    vectors, spoken = cold.taken_up(ITEMS, texts(), None)
    assert spoken is None
    assert (vectors == cold.vectors(ITEMS, texts())).all()


def test_an_item_without_a_text_like_any_goes_by_what_it_is() -> None:
    whitening = Whitening.of(texts())
    tower, _ = made([1, 1, 1, 1])
    told = ColdItems(without_history(tower), whitening, *names_of(ITEMS), texts=whitening.whitened(texts()))
    arrays = np.ones((4, 9), np.float32), np.arange(4), np.full((4, 3), -1), np.zeros((4, 3), np.float32)
    nowhere = np.tile(whitening.mean, (4, 1)).astype(np.float32)
    vectors, spoken = told.taken_up(ITEMS, nowhere, told.lenders(*arrays))
    assert spoken is not None
    assert (spoken.speakers == -1).all()
    assert (vectors == told.vectors(ITEMS, nowhere)).all()
    same, spoken = told.taken_up(ITEMS, texts(), told.lenders(*arrays))
    assert same == pytest.approx(np.ones((4, 9)), abs=1e-2)
    assert spoken.speakers.shape == (4, SPEAKERS)


def test_the_texts_of_the_models_items_come_back_from_a_file(tmp_path: Path) -> None:
    tower, _ = made([1, 1, 1, 1])
    whitening = Whitening.of(texts())
    told = ColdItems(without_history(tower), whitening, *names_of(ITEMS), texts=whitening.whitened(texts()))
    told.save(tmp_path / FILE)
    arrays = np.ones((4, 9), np.float32), np.arange(4), np.full((4, 3), -1), np.zeros((4, 3), np.float32)
    one, other = (way.taken_up(ITEMS, texts(), way.lenders(*arrays)) for way in (told, ColdItems.open(tmp_path)))
    assert (one[0] == other[0]).all()
    assert one[1] is not None
    assert other[1] is not None
    assert (one[1].shares == other[1].shares).all()
