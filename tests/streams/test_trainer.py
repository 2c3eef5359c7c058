"""`daogou train`, `evaluate` and `release` as one story, with the catalogue in a real Redis."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import SecretStr
from rich.console import Console

from features import catalog
from features.catalog_store import CatalogStore
from infra.errors import BadInput, NotFound
from infra.redis import connect
from infra.settings import Settings
from models.artifact import Artifact
from models.fitting import Options
from models.release import artifacts, pointer, release, released, rollback
from models.scorer import Scorer, opened
from streams import trainer
from streams.offline_features import build_features
from streams.progress import Phases
from streams.trainer import Report
from tests.features.past import archived
from tests.models.made_shop import catalogue, visits

MADE_AT = datetime(2026, 11, 1, 12, 30, 5, tzinfo=UTC)
OPTIONS = Options(width=16, batch=64, negatives=64, positives=4, epochs=0.3, learning_rate=5e-3, seed=4)
WIDTH = 12  # of the text encoder


def quiet() -> Phases:
    return Phases(Console(quiet=True))


async def _stock(url: str, full: bool) -> None:
    client = await connect(SecretStr(url), timeout_ms=5000)
    try:
        await client.flushall()
        records = [record for item in catalogue() for record in catalog.facets(item, "default")] if full else []
        if records:
            await CatalogStore(client).apply(0, records, "tests", len(records))
    finally:
        await client.aclose()


def encoder(folder: Path) -> str:
    """A text encoder as transformers reads it, tiny and at random."""
    from transformers import BertConfig, BertModel, BertTokenizer

    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "tea", "pots", ".", *map(str, range(40))]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder)
    return str(folder)


class Shop:
    """A shop with a history, and what training it gave."""

    def __init__(self, settings: Settings, url: str) -> None:
        self.settings = settings
        self.url = url
        archived(settings.archive_dir, visits())
        with quiet() as phases:
            self.counts = build_features(settings, phases)
        self.report = self.trained(MADE_AT)

    def trained(self, made_at: datetime) -> Report:
        asyncio.run(_stock(self.url, full=True))
        with quiet() as phases:
            return trainer.train(self.settings, OPTIONS, phases, made_at)


@pytest.fixture(scope="module")
def shop(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    root = tmp_path_factory.mktemp("trainer")
    settings = Settings(
        redis=SecretStr(redis_url),
        data_dir=root / "data",
        tenant="default",
        partitions=2,
        text_encoder=encoder(root / "tiny-encoder"),
    )
    return Shop(settings, redis_url)


def test_the_offline_features_are_made_of_every_event(shop: Shop) -> None:
    events = visits()
    assert shop.counts.events == shop.counts.rows == len(events)
    assert shop.counts.shoppers == len({event.user_id for event in events})


def test_training_leaves_one_artifact_and_releases_nothing(shop: Shop) -> None:
    models = shop.settings.models_dir
    assert artifacts(models) == [shop.report.manifest.version] == ["20261101-123005"]
    manifest = Artifact.open(models / shop.report.manifest.version).manifest
    assert msgspec.structs.replace(manifest, checksums={}) == shop.report.manifest
    assert manifest.made_at == MADE_AT
    assert manifest.seed == 4
    assert manifest.text_encoder == "tiny-encoder", "no path of this machine"
    assert manifest.shape == {"items": 40, "width": 16}
    assert manifest.events == sum(event.event_name == "purchase" for event in visits())
    assert manifest.tested_until - manifest.fitted_before == timedelta(days=28)
    assert list(manifest.metrics) == [one.name for one in shop.report.evaluations]
    assert pointer(models).live is None


def test_the_artifact_scores_as_it_is_opened(shop: Shop) -> None:
    artifact = Artifact.open(shop.settings.models_dir / shop.report.manifest.version)
    assert artifact.item_ids == [item.item_id for item in catalogue()]
    assert artifact.vectors.shape == (40, 17)
    scorer = Scorer(opened(artifact))
    assert scorer.version == artifact.version
    vectors = artifact.user_tower()
    assert all(np.isfinite(part).all() for part in vectors.values())


def test_evaluating_again_gives_the_manifests_figures(shop: Shop) -> None:
    version = shop.report.manifest.version
    with quiet() as phases:
        again = trainer.evaluate(shop.settings, version, phases)
    found = {one.name: one.means() for one in again.evaluations}
    assert found.keys() == shop.report.manifest.metrics.keys()
    for name, figures in shop.report.manifest.metrics.items():
        assert found[name] == pytest.approx(figures, abs=1e-6), name


def test_release_evaluate_the_released_and_no_way_back_from_the_first(shop: Shop) -> None:
    models, version = shop.settings.models_dir, shop.report.manifest.version
    with quiet() as phases, pytest.raises(NotFound, match="no model is released"):
        trainer.evaluate(shop.settings, None, phases)
    release(models, version, MADE_AT)
    assert released(models) == models / version
    with quiet() as phases:
        assert trainer.evaluate(shop.settings, None, phases).manifest == Artifact.open(models / version).manifest
    with pytest.raises(BadInput, match="no release before"):
        rollback(models, MADE_AT)


def test_the_same_seed_trains_the_same_model_again(shop: Shop) -> None:
    again = shop.trained(MADE_AT + timedelta(days=1))
    assert again.manifest.version == "20261102-123005"
    for name, figures in shop.report.manifest.metrics.items():
        assert again.manifest.metrics[name] == pytest.approx(figures, abs=5e-3), name
    assert again.manifest.weights == shop.report.manifest.weights
    first, second = (Artifact.open(shop.settings.models_dir / one.manifest.version) for one in (shop.report, again))
    # To the last bit but one: a product of matrices depends on where in memory they lie.
    assert first.vectors == pytest.approx(np.array(second.vectors), abs=1e-4)
    release(shop.settings.models_dir, again.manifest.version, MADE_AT)  # the gate lets an equal one pass


def test_an_artifact_that_is_not_there_is_named(shop: Shop) -> None:
    with quiet() as phases, pytest.raises(NotFound, match="no artifact 'other'"):
        trainer.evaluate(shop.settings, "other", phases)


def test_without_a_catalogue_training_says_what_to_load(shop: Shop) -> None:
    asyncio.run(_stock(shop.url, full=False))
    with quiet() as phases, pytest.raises(BadInput, match="daogou load --items") as caught:
        trainer.train(shop.settings, OPTIONS, phases, MADE_AT)
    assert caught.value.reason == "no_catalogue"


def test_the_report_as_json_and_as_tables(shop: Shop) -> None:
    report = shop.report
    figures: dict[str, Any] = json.loads(trainer.write_report(report))
    assert figures["version"] == report.manifest.version
    assert figures["metrics"] == report.manifest.metrics
    assert set(figures["weights"]) == {"all", "new"}
    console = Console(width=120)
    with console.capture() as shown:
        trainer.print_report(report, console)
    text = shown.get()
    for name, line in report.manifest.metrics.items():
        assert name in text
        assert f"{line['all/ndcg']:.4f}" in text
    assert report.manifest.version in text
