"""A shop with a history and a trained model, small enough to train in seconds; its catalogue in a real Redis."""

import asyncio
import shutil
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from pydantic import SecretStr
from rich.console import Console

from features import catalog
from features.catalog_store import CatalogStore
from infra.redis import connect
from infra.settings import Settings
from models.artifact import Artifact, write
from models.fitting import Options
from models.fusion import Weights
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


async def stock(url: str, full: bool) -> None:
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
        asyncio.run(stock(self.url, full=True))
        with quiet() as phases:
            return trainer.train(self.settings, OPTIONS, phases, made_at)

    def copied(self, data_dir: Path) -> Settings:
        """The shop in another folder, where a test may do with it what it likes."""
        shutil.copytree(self.settings.data_dir, data_dir, symlinks=True)
        return self.settings.model_copy(update={"data_dir": data_dir})

    def restocked(self, data_dir: Path) -> Settings:
        """As `copied`, with the catalogue in Redis again."""
        asyncio.run(stock(self.url, full=True))
        return self.copied(data_dir)


def made_worse(settings: Settings, version: str, name: str, weights: Weights) -> str:
    """An artifact like another one, but for the weights of its sources; the version it got."""
    one = Artifact.open(settings.models_dir / version)
    told = msgspec.structs.replace(one.manifest, version=name, weights=dict.fromkeys(one.manifest.weights, weights))
    arrays = {file.stem: getattr(one, file.stem) for file in one.path.glob("*.npy")}
    return write(settings.models_dir, told, arrays, one.user_tower(), one.item_ids).name
