"""The merged statistics in the API's process: followed, and asked where the model knows nothing."""

import asyncio
from pathlib import Path

from redis.asyncio import Redis

from features.item_changes import Change
from features.item_partials import Partial, add
from features.item_snapshot import Merger, Snapshot, encode, snapshot_of, version_of
from features.item_statistics import rating_mean
from features.snapshot_store import SnapshotStore
from infra import keys
from infra.clock import ManualClock
from infra.metrics import Metrics
from models.artifact import Artifact
from serving.best import BestOfCategories
from serving.model import ModelInService
from serving.statistics_reader import NO_STATISTICS, ItemKnowledge, StatisticsReader
from tests.serving.artifacts import released
from tests.serving.shop import POPULARITY, SIMILAR, AShop

AT = 1_780_000_000_000


def snapshot(**views: int) -> Snapshot:
    """Items viewed so often; black tea is seen with green, and bought with it and with a scone."""
    merger = Merger()
    for item_id, times in views.items():
        partial = Partial()
        add(partial, Change(item_id, AT, AT, views=times))
        merger.add(item_id, partial)
    partial = Partial()
    met = [("green", AT)], [("green", AT), ("scone", AT)]
    add(partial, Change("black", AT, AT, views=1, purchases=1, seen_with=met[0], bought_with=met[1]))
    merger.add("black", partial)
    totals = merger.totals()
    assert totals is not None
    return snapshot_of(totals, rating_mean(totals.stars, totals.ratings))


async def publish(redis: Redis, tenant: str, made: Snapshot) -> str:
    raw = encode(made)
    await SnapshotStore(redis, tenant).publish(version_of(raw), raw)
    return version_of(raw)


async def test_the_newest_snapshot_is_taken_over_and_asked(redis: Redis) -> None:
    reader = StatisticsReader(redis, "default")
    assert await reader.look() is False
    assert (reader.version, reader.popular(), reader.similar("black", 5)) == (NO_STATISTICS, (), ())
    first = await publish(redis, "default", snapshot(green=3, scone=1))
    assert await reader.look() is True
    assert await reader.look() is False
    assert reader.version == first
    assert [item for item, _ in reader.popular()] == ["black", "green", "scone"]
    assert reader.popularity("green") > reader.popularity("scone") > reader.popularity("nosuch") == 0
    assert [item for item, _ in reader.similar("black", 5)] == ["green", "scone"]
    assert [item for item, _ in reader.similar("black", 1)] == ["green"]
    assert reader.similar("nosuch", 5) == ()
    second = await publish(redis, "default", snapshot(green=4))
    assert await reader.look() is True
    assert reader.version == second


async def test_what_cannot_be_read_leaves_the_snapshot_in_service(redis: Redis) -> None:
    reader, store = StatisticsReader(redis, "default"), SnapshotStore(redis, "default")
    first = await publish(redis, "default", snapshot(green=3))
    await reader.try_to_look()
    await store.publish("torn", b"no snapshot")
    await reader.try_to_look()
    later = snapshot(green=5)
    await store.publish("later", encode(Snapshot(9, *[getattr(later, n) for n in Snapshot.__struct_fields__[1:]])))
    await reader.try_to_look()
    assert reader.version == first
    await redis.delete(keys.snapshot("default", "later"))
    assert await reader.look() is False
    second = await publish(redis, "default", later)
    await reader.try_to_look()
    assert reader.version == second


async def test_the_model_is_asked_first(redis: Redis, tmp_path: Path) -> None:
    reader = StatisticsReader(redis, "default")
    await publish(redis, "default", snapshot(green=3, matcha=9))
    await reader.look()
    path: list[Path] = []
    model = ModelInService(lambda: path[0] if path else None, Artifact.open, Metrics())
    knowledge = ItemKnowledge(model, reader, BestOfCategories(ManualClock(AT)))
    assert [item for item, _ in knowledge.popular()][:2] == ["matcha", "black"]
    assert [item for item, _ in knowledge.similar("black", 5)] == ["green", "scone"]
    released(tmp_path, "m1", SIMILAR, POPULARITY)
    path.append(tmp_path / "m1")
    await model.look()
    assert knowledge.version == "m1"
    assert [item for item, _ in knowledge.popular()] == ["scone", "green", "oolong"]
    assert knowledge.popularity("matcha") > 0  # newer than the model
    assert [item for item, _ in knowledge.similar("oolong", 2)] == ["jasmine", "tart"]
    assert [item for item, _ in knowledge.similar("black", 5)] == ["green", "scone"]


async def test_an_item_that_the_model_does_not_know_has_similar_items(shop: AShop) -> None:
    assert (await shop.client.get("/v1/items/black/similar")).json()["items"] == []
    version = await publish(shop.redis, shop.settings.tenant, snapshot(green=3, scone=2))
    async with asyncio.timeout(30):
        while not (found := (await shop.client.get("/v1/items/black/similar")).json()["items"]):
            await asyncio.sleep(0.01)
    assert [one["item_id"] for one in found] == ["green", "scone"]
    assert (await shop.client.get("/health/ready")).json()["statistics"] == version
