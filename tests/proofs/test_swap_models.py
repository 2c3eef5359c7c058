"""The models of the swap's proof can be told apart: else it would prove nothing."""

from pathlib import Path

import numpy as np
import pytest

from features.shoppers import Interaction, State
from infra.errors import ArtifactBroken
from models.artifact import Artifact
from models.scorer import Scorer, opened
from tests.proofs.swap_models import ITEMS, A, B, altered, written


def test_each_recommends_its_own_half_and_knows_both(tmp_path: Path) -> None:
    state = State(interactions=[Interaction(item, "view_item", 1) for item in ("a01", "b01")], newest=1)
    for number, version in enumerate((A, B)):
        written(tmp_path, version, number)
        artifact = Artifact.open(tmp_path / version)
        scorer = Scorer(opened(artifact))
        (listed,) = scorer.score([state], 100, 1)
        letter = "ab"[number]
        assert {item[0] for item in listed.item_ids} == {letter}
        assert all(scorer.knows(item) for item in ITEMS)
        assert {item[0] for item, _ in artifact.similar("a01", 50)} == {letter}
        assert {item[0] for item, _ in artifact.popular(120)} == {letter}
        assert np.isfinite(scorer.vectors([state])).all()


def test_an_altered_one_is_broken(tmp_path: Path) -> None:
    written(tmp_path, A, 1)
    altered(tmp_path, A)
    with pytest.raises(ArtifactBroken):
        Artifact.open(tmp_path / A)
