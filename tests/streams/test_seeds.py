"""`daogou evaluate --seeds N --train-seeds`: the model's other seeds are trained on what it was trained on."""

import asyncio
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from infra.errors import Refused
from infra.settings import Settings
from models.artifact import MANIFEST, Artifact
from models.release import artifacts
from streams.evaluating import evaluate
from streams.progress import Phases
from streams.seeds import others, train_missing
from tests.features.past import archived
from tests.models.made_shop import visits
from tests.streams.trained import MADE_AT, OPTIONS, Shop, quiet, stock


@pytest.fixture
def shop(trained_shop: Shop, tmp_path: Path) -> Settings:
    settings = trained_shop.copied(tmp_path / "data")
    asyncio.run(stock(trained_shop.url, full=True))
    return settings


@pytest.fixture
def artifact(shop: Settings, trained_shop: Shop) -> Artifact:
    return Artifact.open(shop.models_dir / trained_shop.report.manifest.version)


def missing_trained(settings: Settings, artifact: Artifact, most: int) -> str:
    """What was said."""
    console = Console(record=True, width=200, force_terminal=False)
    with Phases(console) as phases:
        train_missing(settings, artifact, most, phases, MADE_AT + timedelta(days=9))
    return console.export_text()


def changed(artifact: Artifact, **fields: object) -> Artifact:
    """The artifact as if its manifest said something else."""
    manifest = msgspec.structs.replace(artifact.manifest, **fields)
    (artifact.path / MANIFEST).write_bytes(msgspec.json.encode(manifest))
    return Artifact.open(artifact.path, verify=False)


def test_the_other_seeds_are_trained_on_the_same_weeks_and_give_a_spread(shop: Settings, artifact: Artifact) -> None:
    before, later = artifacts(shop.models_dir), artifact.manifest.tested_until + timedelta(days=40)
    moved = [
        msgspec.structs.replace(event, occurred_at=later, received_at=later, event_id=f"later-{number}")
        for number, event in enumerate(visits()[-50:])
    ]
    archived(shop.archive_dir, moved, log="later")
    told = missing_trained(shop, artifact, 2)
    assert "seed 5 of" in told
    assert "seed 6 of" in told
    assert artifacts(shop.models_dir) == before, "none of them can be released by mistake"
    with quiet() as phases:
        found = evaluate(shop, artifact.manifest.version, phases, seeds=3)
    rows = {row.model: row for row in found.comparison.tables[0].rows}
    assert rows["fused"].seeds == [4, 5, 6]
    ndcg = rows["tower alone"].figures["ndcg"]
    assert ndcg.least is not None
    assert ndcg.most is not None
    assert ndcg.least < ndcg.mean < ndcg.most, "three models, not one three times"


def test_what_is_there_is_not_made_again_and_what_was_fitted_otherwise_is_no_seed(
    shop: Settings, artifact: Artifact
) -> None:
    assert "seed 5 of" in missing_trained(shop, artifact, 1)
    assert "is trained" not in missing_trained(shop, artifact, 1)
    assert "is trained" not in missing_trained(shop, artifact, 0)
    other = changed(artifact, options={**artifact.manifest.options, "epochs": OPTIONS.epochs * 2})
    with quiet() as phases:
        assert others(shop, other, 1, phases) == []


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"options": {}}, "of another version"),
        ({"code": "0.0.1"}, "of another version"),
        ({"shape": {"items": 3, "width": 16}}, "other shape"),
    ],
)
def test_what_cannot_be_made_alike_is_refused(
    shop: Settings, artifact: Artifact, fields: dict[str, object], why: str
) -> None:
    with pytest.raises(Refused, match=why) as told:
        missing_trained(shop, changed(artifact, **fields), 1)
    assert told.value.reason == "seeds_not_comparable"
