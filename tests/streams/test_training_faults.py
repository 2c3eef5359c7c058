"""Bad data and a full disk in the middle of `daogou train`: named, or counted and gone on from, never silent."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from pydantic import SecretStr

from features import catalog
from features.catalog import Content, Item, Price
from features.catalog_store import CatalogStore
from infra.errors import Refused
from infra.redis import connect
from infra.settings import Settings
from models.artifact import Artifact
from models.checkpoint import CURVE
from models.release import artifacts
from tests.full_disk import no_room_beyond
from tests.models.made_shop import catalogue
from tests.streams.test_training_means import Signalled, trained
from tests.streams.trained import Shop

STRANGE = "i39"  # sold in the archive, not in the catalogue
ODD = [
    Item(item_id="bare", price=Price(price=Decimal(3), currency="EUR")),
    Item(item_id="blank", content=Content(name="", category="tea")),
    Item(item_id="free", content=Content(name="tea 4"), price=Price(price=Decimal("NaN"), currency="EUR")),
    Item(item_id="long", content=Content(name="茶" * 50_000, description="leaf " * 20_000, category="tea")),
]


async def _stock(url: str, items: list[Item]) -> None:
    client = await connect(SecretStr(url), timeout_ms=5000)
    try:
        await client.flushall()
        records = [record for item in items for record in catalog.facets(item, "default")]
        await CatalogStore(client).apply(0, records, "tests", len(records))
    finally:
        await client.aclose()


@pytest.fixture
def settings(trained_shop: Shop, tmp_path: Path) -> Settings:
    return trained_shop.restocked(tmp_path / "data")


def test_items_without_text_of_100_kb_and_of_no_price_and_items_never_seen(
    trained_shop: Shop, settings: Settings
) -> None:
    items = [item for item in catalogue() if item.item_id != STRANGE]
    asyncio.run(_stock(trained_shop.url, items + ODD))
    phases = Signalled()
    report = trained(settings, phases, 20)
    artifact = Artifact.open(settings.models_dir / report.manifest.version)
    assert {item.item_id for item in ODD} < set(artifact.item_ids)
    assert STRANGE not in artifact.item_ids
    assert np.isfinite(np.array(artifact.vectors)).all()
    assert not np.isin([artifact.index[item.item_id] for item in ODD], artifact.candidates).any(), "nobody bought them"
    said = "\n".join(phases.told)
    assert "lines of events name items that the catalogue does not have" in said
    assert "1 items have a price that is no number and count as without one: 'free'" in said


class Filling(Signalled):
    """The disk is full from a phase on, until `room` is closed."""

    def __init__(self, phase: str) -> None:
        super().__init__()
        self.room = ExitStack()
        self._full_from = phase

    @contextmanager
    def phase(self, name: str, total: int, unit: str, *, done: int = 0) -> Iterator[Callable[[int], None]]:
        if name == self._full_from:
            self.room.enter_context(no_room_beyond(512))
        with super().phase(name, total, unit, done=done) as advance:
            yield advance


def test_a_disk_that_is_full_leaves_no_artifact_and_what_was_fitted_need_not_be_done_again(settings: Settings) -> None:
    before = artifacts(settings.models_dir)
    phases = Filling("tested")
    with phases.room, pytest.raises(Refused, match="make room on that disk") as caught:
        trained(settings, phases, 20)
    assert caught.value.reason == "disk_full"
    assert artifacts(settings.models_dir) == before
    assert not list(settings.models_dir.glob(".*.new")), "nothing half written takes up room"
    again = Signalled()
    version = trained(settings, again, 21).manifest.version
    assert len([line for line in again.told if "goes on after step" in line]) == 2, "from the end of both fits"
    assert (settings.models_dir / version / CURVE).is_file()
