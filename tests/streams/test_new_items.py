"""New items come into the model in service by themselves: found in the catalogue, encoded, candidates."""

import asyncio
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis

from features.catalog import Content, FacetRecord, Item, Price
from features.catalog_store import CatalogStore
from features.shoppers import State
from infra import keys
from infra.errors import ArtifactBroken, DaogouError, Unavailable
from infra.metrics import Metrics
from infra.settings import Settings
from models.artifact import Artifact
from models.candidates import Candidates
from models.cold import FILE, ColdItems
from models.item_features import text_of
from models.scorer import Scorer, opened
from models.text_transformer import TransformerEncoder
from streams.derived import Scoring
from streams.new_item_vectors import ArtifactVectors, Sources
from streams.new_items import AT_ONCE, NewItems
from streams.pipeline import build_pipeline
from streams.text_process import TextProcess
from tests.streams.trained import Shop as TrainedShop

PARTITIONS = 4


@dataclass(frozen=True)
class Knowing:
    """A model that knows items by name, and scores nothing."""

    version: str
    items: frozenset[str] = frozenset()

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[Candidates]:
        raise AssertionError("nobody asks")


@dataclass
class Taking:
    """Takes items up, unless something is wrong."""

    trouble: Exception | None = None
    asked: list[list[str]] = field(default_factory=list)
    prepared: list[str] = field(default_factory=list)
    meanwhile: object = None

    def knows(self, scorer: Scoring, item_id: str) -> bool:
        assert isinstance(scorer, Knowing)
        return item_id in scorer.items

    async def taken_up(self, scorer: Scoring, items: Sequence[Item]) -> Scoring:
        assert isinstance(scorer, Knowing)
        self.asked.append([item.item_id for item in items])
        if self.trouble is not None:
            raise self.trouble
        if callable(self.meanwhile):
            self.meanwhile()
        return replace(scorer, items=scorer.items | {item.item_id for item in items})

    async def prepare(self, scorer: Scoring) -> None:
        self.prepared.append(scorer.version)
        if self.trouble is not None:
            raise self.trouble

    def close(self) -> None: ...


class Shop:
    """A catalogue in Redis, and what takes its new items up."""

    def __init__(self, settings: Settings, redis: Redis) -> None:
        self.redis = redis
        self.catalogue = CatalogStore(redis)
        self.derived = build_pipeline(settings, redis).derived
        self.taking = Taking()
        self.measured = Metrics()
        self.job = self.anew()
        self._offset = 0

    def anew(self, most: int = 1000) -> NewItems:
        """The job of a worker that starts."""
        return NewItems(self.derived, self.catalogue, self.taking, "default", PARTITIONS, self.measured, most=most)

    async def add(self, *item_ids: str, named: bool = True) -> None:
        for item_id in item_ids:
            partition = keys.partition_of(keys.record_key("default", item_id), PARTITIONS)
            record = FacetRecord(tenant="default", item_id=item_id, price=Price(price=Decimal(3), currency="EUR"))
            if named:
                record = FacetRecord(tenant="default", item_id=item_id, content=Content(name=item_id))
            self._offset += 1
            await self.catalogue.apply(partition, [record], "log", self._offset)

    @property
    def known(self) -> set[str]:
        assert isinstance(self.derived.scorer, Knowing)
        return set(self.derived.scorer.items)


@pytest.fixture
def shop(settings: Settings, redis: Redis) -> Shop:
    return Shop(settings, redis)


async def test_a_new_item_is_known_at_the_next_look_and_asked_for_once(shop: Shop) -> None:
    await shop.job.look()  # no model: nothing to do
    shop.derived.scorer = Knowing("v1", frozenset({"tea"}))
    await shop.add("tea", "pot")
    await shop.job.look()
    assert shop.known == {"tea", "pot"}
    await shop.add("hat")
    await shop.job.look()
    await shop.job.look()
    assert shop.known == {"tea", "pot", "hat"}
    assert shop.taking.asked == [["pot"], ["hat"]]


async def test_after_a_start_and_after_a_release_all_are_taken_up_again(shop: Shop) -> None:
    await shop.add("tea", "pot")
    for version in ("v1", "v2"):
        shop.derived.scorer = Knowing(version)
        await shop.job.look()
        assert shop.known == {"tea", "pot"}
    shop.derived.scorer = Knowing("v2")
    await shop.anew().look()
    assert shop.known == {"tea", "pot"}


async def test_what_takes_items_up_is_made_ready_once_for_a_model_before_the_first_item(shop: Shop) -> None:
    for version in ("v1", "v1", "v2"):
        shop.derived.scorer = Knowing(version)
        for _ in range(2):
            await shop.job.look()
            await asyncio.sleep(0)
    assert shop.taking.prepared == ["v1", "v2"]
    assert shop.taking.asked == []


async def test_what_cannot_be_made_ready_stops_no_look(shop: Shop) -> None:
    shop.taking.trouble = Unavailable("the encoder's process ended")
    shop.derived.scorer = Knowing("v1")
    await shop.job.look()
    await asyncio.sleep(0)
    shop.taking.trouble = None
    await shop.add("tea")
    await shop.job.look()
    assert shop.known == {"tea"}


async def test_an_item_without_content_waits_for_it(shop: Shop) -> None:
    shop.derived.scorer = Knowing("v1")
    await shop.add("tea", named=False)
    await shop.job.look()
    assert shop.known == set()
    await shop.add("tea")
    await shop.job.look()
    assert shop.known == {"tea"}


async def test_many_come_some_at_a_time_and_no_more_than_the_bound(shop: Shop) -> None:
    shop.derived.scorer = Knowing("v1")
    await shop.add(*(f"i{n:04}" for n in range(AT_ONCE + 3)))
    await shop.job.look()
    assert len(shop.known) == AT_ONCE
    await shop.job.look()
    assert len(shop.known) == AT_ONCE + 3
    shop.derived.scorer, bounded = Knowing("v2"), shop.anew(most=AT_ONCE)
    for _ in range(3):
        await bounded.look()
    assert len(shop.known) == AT_ONCE
    assert b'daogou_new_items_total{outcome="passed_over"} 3.0' in shop.measured.text()


async def test_a_model_released_meanwhile_is_not_replaced(shop: Shop) -> None:
    await shop.add("tea")
    shop.derived.scorer, released = Knowing("v1"), Knowing("v2", frozenset({"jar"}))
    shop.taking.meanwhile = lambda: setattr(shop.derived, "scorer", released)
    await shop.job.look()
    assert shop.derived.scorer is released
    shop.taking.meanwhile = None
    await shop.job.look()
    assert shop.known == {"jar", "tea"}


async def test_what_fails_waits_longer_each_time_and_comes_in_the_end(shop: Shop) -> None:
    shop.derived.scorer = Knowing("v1")
    await shop.add("tea")
    shop.taking.trouble = Unavailable("the encoder's process ended")
    for _ in range(8):
        await shop.job.look()
    assert len(shop.taking.asked) == 3, "at looks 1, 3 and 6"
    shop.taking.trouble = None
    for _ in range(8):
        await shop.job.look()
    assert shop.known == {"tea"}


async def test_a_model_that_cannot_take_items_up_is_left_alone_until_the_next(shop: Shop) -> None:
    shop.derived.scorer = Knowing("v1")
    await shop.add("tea")
    shop.taking.trouble = ArtifactBroken("an older version made it", code="no_cold_items")
    for _ in range(5):
        await shop.job.look()
    assert len(shop.taking.asked) == 1
    shop.taking.trouble, shop.derived.scorer = None, Knowing("v2")
    await shop.job.look()
    assert shop.known == {"tea"}


async def test_an_item_that_cannot_be_read_stops_no_other(shop: Shop) -> None:
    shop.derived.scorer = Knowing("v1")
    await shop.add("tea", "pot")
    partition = keys.partition_of(keys.record_key("default", "pot"), PARTITIONS)
    await shop.redis.hset(keys.items("default", partition), "pot", b"\xff")
    await shop.job.look()
    await shop.job.look()
    assert shop.known == {"tea"}
    assert b'daogou_new_items_total{outcome="unreadable"} 1.0' in shop.measured.text()


NEW = Item(item_id="new", content=Content(name="tea 7", category="tea"), price=Price(price=Decimal(3), currency="EUR"))


def vectors_of(settings: Settings, **changed: Any) -> ArtifactVectors:
    sources = Sources(settings.models_dir, settings.enriched_dir, settings.text_encoder, os.environ)
    return ArtifactVectors(replace(sources, **changed))


async def test_a_trained_artifact_takes_up_an_item_by_its_encoders_process(trained_shop: TrainedShop) -> None:
    settings, version = trained_shop.settings, trained_shop.report.manifest.version
    artifact = Artifact.open(settings.models_dir / version)
    scorer = Scorer(opened(artifact))
    vectors = vectors_of(settings)
    try:
        wider = await vectors.taken_up(scorer, [NEW])
    finally:
        vectors.close()
    assert isinstance(wider, Scorer)
    assert wider.knows("new")
    texts = TransformerEncoder.open(settings.text_encoder).encode([text_of(NEW)], lambda _: None)
    cold = ColdItems.open(artifact.path)
    lenders = cold.lenders(artifact.vectors, artifact.candidates, artifact.neighbours, artifact.neighbour_scores)
    vector, spoken = cold.taken_up([NEW], texts, lenders)
    assert spoken is not None, "an artifact holds its items' texts"
    assert wider.fitted.vectors[-1] == pytest.approx(vector[0], abs=1e-5)
    (listed,) = wider.score([State()], 1000, 0)
    assert "new" in listed.item_ids
    assert wider.version == version


async def test_the_encoders_process_is_there_before_the_first_item_and_stays_for_the_next_model(
    trained_shop: TrainedShop, tmp_path: Path
) -> None:
    version = trained_shop.report.manifest.version
    settings = trained_shop.copied(tmp_path / "data")
    scorer = Scorer(opened(Artifact.open(settings.models_dir / version)))
    shutil.copytree(settings.models_dir / version, settings.models_dir / "next")
    vectors, idle = vectors_of(settings), vectors_of(settings, idle_s=600)
    try:
        await vectors.prepare(scorer)
        process = process_of(vectors)
        assert process is not None
        await vectors.taken_up(scorer, [NEW])
        later = Scorer(msgspec.structs.replace(scorer.fitted, version="next"))
        await vectors.prepare(later)
        await vectors.taken_up(later, [NEW])
        assert process_of(vectors) is process
        await idle.prepare(scorer)
        assert process_of(idle) is None, "who wants the memory back gets a process once there is an item"
    finally:
        vectors.close()
        idle.close()


def process_of(vectors: ArtifactVectors) -> object:
    """The encoder's process, if there is one."""
    encoding = vectors._encoding
    assert isinstance(encoding, TextProcess)
    return encoding._process


async def test_an_artifact_of_another_encoder_or_an_older_version_takes_nothing_up(
    trained_shop: TrainedShop, tmp_path: os.PathLike[str]
) -> None:
    version = trained_shop.report.manifest.version
    settings = trained_shop.copied(type(trained_shop.settings.data_dir)(tmp_path) / "data")
    scorer = Scorer(opened(Artifact.open(settings.models_dir / version)))
    with pytest.raises(ArtifactBroken, match="DAOGOU_TEXT_ENCODER"):
        await vectors_of(settings, text_encoder="another").taken_up(scorer, [NEW])
    (settings.models_dir / version / FILE).unlink()
    with pytest.raises(ArtifactBroken, match="Train again"):
        await vectors_of(settings).taken_up(scorer, [NEW])


async def test_the_process_says_what_is_wrong_and_is_started_anew(trained_shop: TrainedShop, tmp_path: Path) -> None:
    there = tmp_path / "encoder"
    process = TextProcess(str(there), os.environ)
    process.within_s = 300.0  # a busy machine imports transformers slowly
    with pytest.raises(DaogouError, match="could not be encoded"):
        await process.encode(["tea"])
    shutil.copytree(trained_shop.settings.text_encoder, there)
    try:
        found = await process.encode(["tea", "pots"])
    finally:
        process.forget()
    assert found.shape == (2, 12)
    assert found == pytest.approx(TransformerEncoder.open(str(there)).encode(["tea", "pots"], lambda _: None), abs=1e-5)
    deaf = TextProcess("", os.environ, [sys.executable, "-c", "import time; time.sleep(60)"])
    deaf.within_s = 0.2
    with pytest.raises(Unavailable, match="TimeoutError"):
        await deaf.encode(["tea"])
