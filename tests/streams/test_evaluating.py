"""`daogou evaluate` from an artifact to the page: every baseline, other seeds, both splits, the card."""

import asyncio
import json
from pathlib import Path

import msgspec
import pytest
from rich.console import Console

from infra.errors import BadInput, NotFound
from infra.settings import Settings
from models.artifact import MANIFEST, Artifact, checksum, write
from models.beside import COUNT
from models.card import NAME
from models.release import artifacts
from streams.evaluating import evaluate, figures_of, page_of, write_page
from streams.progress import Phases
from tests.models.test_report import Page
from tests.streams.trained import Shop, quiet, stock


@pytest.fixture
def shop(trained_shop: Shop, tmp_path: Path) -> Settings:
    settings = trained_shop.copied(tmp_path / "data")
    asyncio.run(stock(trained_shop.url, full=True))
    return settings


@pytest.fixture
def version(trained_shop: Shop) -> str:
    return trained_shop.report.manifest.version


def other_seed(settings: Settings, version: str, seed: int) -> str:
    """The artifact once more, as if it were of another seed."""
    one = Artifact.open(settings.models_dir / version)
    told = msgspec.structs.replace(one.manifest, version=f"seed-{seed}", seed=seed)
    arrays = {file.stem: getattr(one, file.stem) for file in one.path.glob("*.npy")}
    return write(settings.models_dir, told, arrays, one.user_tower(), one.item_ids).name


def test_every_baseline_stands_beside_the_model_and_the_page_shows_it(
    shop: Settings, version: str, tmp_path: Path
) -> None:
    with quiet() as phases:
        found = evaluate(shop, version, phases)
    names = [row.model for row in found.comparison.tables[0].rows]
    assert len(names) == COUNT + 2
    assert {"recency EASE", "ALS", "V-SKNN", "tower alone", "fused"} <= set(names)
    mine = next(row for row in found.comparison.tables[0].rows if row.model == "fused")
    assert mine.figures["ndcg"].mean == pytest.approx(found.report.manifest.metrics["fused"]["all/ndcg"], abs=1e-5)
    assert mine.seeds == [4]
    assert "miscalibration" in mine.figures, "categories come from the archive"
    write_page(found, tmp_path / "report.html")
    page = Page((tmp_path / "report.html").read_text())
    assert (page.open, page.asked) == ([], [])
    assert version in page.shown
    assert [file.name for file in tmp_path.glob("*report*")] == ["report.html"]
    figures = json.loads(figures_of(found))
    assert figures["version"] == version
    assert figures["metrics"].keys() == {*names}
    assert figures["comparison"]["reference"] == "fused"


def test_of_each_shopper_the_last_purchase_alone(shop: Settings, version: str) -> None:
    with quiet() as phases:
        every, last = evaluate(shop, version, phases), evaluate(shop, version, phases, "loo")
    one, other = every.comparison.tables[0], last.comparison.tables[0]
    assert (every.comparison.k, last.comparison.k) == (20, 10)
    assert one.shoppers == other.shoppers == other.wanted < one.wanted
    assert "each shopper's last interaction" in Page(page_of(last)).shown


def test_artifacts_that_differ_in_the_seed_alone_are_its_seeds(shop: Settings, version: str) -> None:
    other_seed(shop, version, 7)
    broken = other_seed(shop, version, 8)
    (shop.models_dir / broken / "vectors.npy").unlink()
    console = Console(record=True, width=200, force_terminal=False)
    with Phases(console) as phases:
        found = evaluate(shop, version, phases, seeds=3)
    told = console.export_text()
    assert f"{broken} is passed over as another seed" in told
    assert "2 of 3 seeds of the model: with --train-seeds the others are trained" in told
    rows = {row.model: row for row in found.comparison.tables[0].rows}
    assert rows["fused"].seeds == [4, 7]
    assert rows["ALS"].seeds == [4, 5, 6]
    assert rows["popularity"].seeds == []
    ndcg = rows["fused"].figures["ndcg"]
    assert ndcg.least == ndcg.most == pytest.approx(ndcg.mean), "the same model twice"


def test_what_is_not_there_is_named(shop: Settings, version: str) -> None:
    with quiet() as phases:
        with pytest.raises(BadInput) as told:
            evaluate(shop, version, phases, "random")
        assert (told.value.reason, told.value.path) == ("unknown_split", "split")
        (shop.models_dir / "live.json").unlink(missing_ok=True)
        with pytest.raises(NotFound):
            evaluate(shop, None, phases)


def test_training_leaves_a_card_that_is_checked_like_all_files(trained_shop: Shop) -> None:
    models = trained_shop.settings.models_dir
    folder = models / artifacts(models)[0]
    card = (folder / NAME).read_text()
    assert card.startswith("# Model card")
    assert "| fused |" in card
    assert json.loads((folder / MANIFEST).read_text())["checksums"][NAME] == checksum(folder / NAME)
