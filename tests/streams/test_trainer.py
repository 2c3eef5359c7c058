"""`daogou train`, `evaluate` and `release` as one story, with the catalogue in a real Redis."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from rich.console import Console

from infra.errors import BadInput, NotFound
from models.artifact import Artifact
from models.gate import METRIC
from models.release import artifacts, pointer, released, rollback
from models.scorer import Scorer, opened
from streams import trainer
from streams.releasing import release
from tests.models.made_shop import catalogue, visits
from tests.streams.trained import MADE_AT, OPTIONS, Shop, quiet, stock


def test_the_offline_features_are_made_of_every_event(trained_shop: Shop) -> None:
    events = visits()
    assert trained_shop.counts.events == trained_shop.counts.rows == len(events)
    assert trained_shop.counts.shoppers == len({event.user_id for event in events})


def test_training_leaves_one_artifact_and_releases_nothing(trained_shop: Shop) -> None:
    models = trained_shop.settings.models_dir
    assert artifacts(models) == [trained_shop.report.manifest.version] == ["20261101-123005"]
    manifest = Artifact.open(models / trained_shop.report.manifest.version).manifest
    assert msgspec.structs.replace(manifest, checksums={}) == trained_shop.report.manifest
    assert manifest.made_at == MADE_AT
    assert manifest.seed == 4
    assert manifest.text_encoder == "tiny-encoder", "no path of this machine"
    assert manifest.shape == {"items": 40, "width": 16}
    assert manifest.events == sum(event.event_name == "purchase" for event in visits())
    assert manifest.tested_until - manifest.fitted_before == timedelta(days=28)
    assert list(manifest.metrics) == [one.name for one in trained_shop.report.evaluations]
    assert pointer(models).live is None


def test_the_artifact_scores_as_it_is_opened(trained_shop: Shop) -> None:
    artifact = Artifact.open(trained_shop.settings.models_dir / trained_shop.report.manifest.version)
    assert artifact.item_ids == [item.item_id for item in catalogue()]
    assert artifact.vectors.shape == (40, 17)
    scorer = Scorer(opened(artifact))
    assert scorer.version == artifact.version
    vectors = artifact.user_tower()
    assert all(np.isfinite(part).all() for part in vectors.values())


def test_evaluating_again_gives_the_manifests_figures(trained_shop: Shop) -> None:
    version = trained_shop.report.manifest.version
    with quiet() as phases:
        again = trainer.evaluate(trained_shop.settings, version, phases)
    found = {one.name: one.means() for one in again.evaluations}
    assert found.keys() == trained_shop.report.manifest.metrics.keys()
    for name, figures in trained_shop.report.manifest.metrics.items():
        assert found[name] == pytest.approx(figures, abs=1e-6), name


def test_release_evaluate_the_released_and_no_way_back_from_the_first(trained_shop: Shop) -> None:
    models, version = trained_shop.settings.models_dir, trained_shop.report.manifest.version
    with quiet() as phases, pytest.raises(NotFound, match="no model is released"):
        trainer.evaluate(trained_shop.settings, None, phases)
    with quiet() as phases:
        done = release(trained_shop.settings, version, phases, MADE_AT)
    assert done.compared is not None
    assert done.compared.in_service is None
    found = done.compared.figures[METRIC]
    assert found.candidate > found.floor
    assert released(models) == models / version
    with quiet() as phases:
        assert (
            trainer.evaluate(trained_shop.settings, None, phases).manifest == Artifact.open(models / version).manifest
        )
    with pytest.raises(BadInput, match="no release before"):
        rollback(models, MADE_AT)


def test_the_same_seed_trains_the_same_model_again(trained_shop: Shop) -> None:
    again = trained_shop.trained(MADE_AT + timedelta(days=1))
    assert again.manifest.version == "20261102-123005"
    for name, figures in trained_shop.report.manifest.metrics.items():
        assert again.manifest.metrics[name] == pytest.approx(figures, abs=5e-3), name
    assert again.manifest.weights == trained_shop.report.manifest.weights
    first, second = (
        Artifact.open(trained_shop.settings.models_dir / one.manifest.version) for one in (trained_shop.report, again)
    )
    # To the last bit but one: a product of matrices depends on where in memory they lie.
    assert first.vectors == pytest.approx(np.array(second.vectors), abs=1e-4)
    with quiet() as phases:  # the gate lets an equal one pass
        release(trained_shop.settings, again.manifest.version, phases, MADE_AT, tested=again)


def test_an_artifact_that_is_not_there_is_named(trained_shop: Shop) -> None:
    with quiet() as phases, pytest.raises(NotFound, match="no artifact 'other'"):
        trainer.evaluate(trained_shop.settings, "other", phases)


def test_without_a_catalogue_training_says_what_to_load(trained_shop: Shop) -> None:
    asyncio.run(stock(trained_shop.url, full=False))
    with quiet() as phases, pytest.raises(BadInput, match="daogou load --items") as caught:
        trainer.train(trained_shop.settings, OPTIONS, phases, MADE_AT)
    assert caught.value.reason == "no_catalogue"


def test_the_report_as_json_and_as_tables(trained_shop: Shop) -> None:
    report = trained_shop.report
    figures: dict[str, Any] = json.loads(trainer.write_report(report))
    assert figures["version"] == report.manifest.version
    assert figures["metrics"] == report.manifest.metrics
    assert set(figures["weights"]) == {"all", "new"}
    console = Console(width=120)
    with console.capture() as shown:
        trainer.print_report(report, console)
    text = shown.get()
    for one in report.evaluations:
        assert one.name in text
        assert f"{one.mean('all', 'ndcg'):.4f}" in text
    assert report.manifest.version in text
