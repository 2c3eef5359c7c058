"""A model over other items: the same scores, each at its item's new place."""

from pathlib import Path

import numpy as np
import pytest

from infra.errors import ArtifactBroken
from models.artifact import Artifact
from models.rivals import over, usable
from models.scorer import Scorer
from tests.models.test_artifact import written
from tests.models.test_scorer import IDS, NOW, bought, fitted, met

STATES = [met("cup"), met("tea", "old"), bought(tea=2.0, pot=1.0, old=5.0)]


@pytest.mark.parametrize("items", [IDS, [*IDS][::-1], ["a", *IDS, "z"], ["zoo", "tea", "pot", "old", "jar", "cup"]])
def test_with_all_its_items_it_says_the_same(items: list[str]) -> None:
    before, after = Scorer(fitted()), Scorer(over(fitted(), items))
    for first, second in zip(before.score(STATES, 9, NOW), after.score(STATES, 9, NOW), strict=True):
        assert {one.item_id: pytest.approx(one.score) for one in first} == {one.item_id: one.score for one in second}


def test_what_it_does_not_know_it_never_recommends() -> None:
    scorer = Scorer(over(fitted(), ["new", *IDS]))
    assert "new" not in {one.item_id for line in scorer.score(STATES, 9, NOW) for one in line}


def test_what_is_not_asked_for_is_gone() -> None:
    without = over(fitted(), ["cup", "jar", "old", "pot"])
    assert {one.item_id for one in Scorer(without).score(STATES, 9, NOW)[0]} == {"cup", "jar", "pot"}
    assert np.asarray(without.neighbours)[0, :2].tolist() == [-1, 3], "tea is gone, pot is not"


def test_an_artifact_whose_tower_is_of_another_kind_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactBroken, match="v1 cannot be scored with by this version"):
        usable(Artifact.open(written(tmp_path)))
