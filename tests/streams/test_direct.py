"""A direct load counts what it did: each event once, and dead letters by reason."""

import asyncio
import json
from io import StringIO
from pathlib import Path
from typing import Any

import pyarrow.dataset as ds
import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from rich.console import Console

from features.aggregates import ITEM_CONTENT
from features.catalog_archive import CatalogArchive
from features.events import decode
from features.feature_log import CREATED_AT, folder_of
from infra import redis as infra_redis
from infra.clock import ManualClock
from infra.keys import LIVE, ShardKeys, feast_project, partition_of
from infra.settings import Settings
from streams.direct import DirectLoad, Written
from streams.load import LoadRequest, load
from streams.load_report import print_report
from streams.offline_features import build_features
from streams.outbox import unpack
from tests.features.online_reader import OnlineReader
from tests.features.past import made_events
from tests.streams.files import written
from tests.streams.loads import NOW, direct, quietly, rows, run
from tests.streams.test_load_interrupted import Plug, PlugPulledError


def loaded(settings: Settings, count: int, total: int) -> Written:
    """A load that was to bring `total` events, of which all but `count` turned out to be none."""

    async def write() -> Written:
        client = await infra_redis.connect(settings.redis, 5000)
        try:
            events = made_events(count, seed=1)
            return await DirectLoad(settings, client, "load-of-the-test", quietly(), NOW.now_ms()).run(
                [], events, total
            )
        finally:
            await client.aclose()

    return asyncio.run(write())


def test_what_was_refused_on_the_way_was_not_applied_before(settings: Settings, empty: Redis) -> None:
    first = loaded(settings, count=20, total=25).counts()
    assert (first["archived"], first["applied before"]) == (20, 0)
    assert first["applied"] + first["duplicates"] + first["late"] == 20
    again = loaded(settings, count=20, total=25).counts()
    assert (again["archived"], again["applied"], again["applied before"]) == (0, 0, 20)


def test_dead_letters_are_told_by_reason(settings: Settings, empty: Redis, retail: Path) -> None:
    """A row that nobody can read: every event of that shopper goes to the dead letters, and the report says why."""
    run(settings, direct(retail))
    broken = next(iter(rows(empty)))
    empty.flushall()
    empty.set(broken, b"no row")
    report = run(settings.model_copy(update={"data_dir": settings.data_dir / "again"}), direct(retail))
    dead = report.applied["dead letters"]
    assert dead > 0
    assert report.dead_letters == {"row_unreadable": dead}
    assert report.applied["applied"] + dead == 40
    shown = StringIO()
    print_report(report, Console(file=shown, width=120))
    assert f"dead letters: row_unreadable {dead}" in shown.getvalue()


def test_the_catalogue_is_in_the_archive_before_it_is_in_redis(settings: Settings, empty: Redis, retail: Path) -> None:
    """The plug is pulled at the first facet that Redis has: the archive has them all, and holds each once for good."""
    with pytest.raises(PlugPulledError):
        run(settings, direct(retail), Plug("catalogue", 1))
    facets = CatalogArchive(settings.archive_at).facets()
    assert len(facets) == 10, "name and price of five items"
    run(settings, direct(retail))
    run(settings, direct(retail))
    assert CatalogArchive(settings.archive_at).facets() == facets


async def test_an_items_features_are_the_same_online_and_offline(
    settings: Settings, empty: Redis, redis: AsyncRedis, tmp_path: Path
) -> None:
    header = "id,name,category,brand,price,availability"
    first = written(tmp_path, "a.csv", header, "t1,Tea,Food > Tea,Leaf,3 EUR,in_stock", "p1,Pot,Pots,Clay,9 EUR,")
    second = written(tmp_path, "b.csv", header, "p1,Pot,Large pots,Clay,8 EUR,out_of_stock")
    for later, path in enumerate((first, second)):
        with quietly() as phases:
            clock = ManualClock(NOW.now_ms() + later)
            await asyncio.to_thread(load, settings, LoadRequest(items=path, direct=True), phases, clock)
    with quietly() as phases:
        await asyncio.to_thread(build_features, settings, phases)
    rows_of: list[dict[str, Any]] = ds.dataset(folder_of(settings.offline_dir, ITEM_CONTENT)).to_table().to_pylist()
    newest = {row["item"]: row for row in sorted(rows_of, key=lambda row: row[CREATED_AT])}
    names = list(ITEM_CONTENT.fields)
    found = await OnlineReader(redis, feast_project(LIVE)).read(ITEM_CONTENT, sorted(newest), names)
    assert [{name: newest[key][name] for name in names} for key in sorted(newest)] == found
    assert [(each["category"], each["price"], each["available"]) for each in found] == [
        ("Large pots", 8.0, False),
        ("Tea", 3.0, True),
    ]


def test_a_load_with_logins_merges_who_logged_in(settings: Settings, empty: Redis, tmp_path: Path) -> None:
    def event(n: int, name: str, **more: object) -> str:
        at = f"2026-11-{10 + n}T10:00:00Z"
        return json.dumps({"event_id": f"e{n}", "event_name": name, "occurred_at": at, "anonymous_id": "d1", **more})

    source = tmp_path / "history.jsonl"
    lines = [
        event(0, "view_item", items=[{"item_id": "tea"}]),
        event(1, "identify", user_id="ann"),
        event(2, "view_item", items=[{"item_id": "cup"}]),
    ]
    source.write_text("\n".join(lines))
    report = run(settings, LoadRequest(str(source), "jsonlines", direct=True))
    assert (report.events, report.applied["applied"]) == (3, 4)
    partition = partition_of("default|a-d1", settings.partition_count)
    first, second = [unpack(raw) for raw in empty.lrange(ShardKeys(partition).outbox, 0, -1)]
    assert first.key == second.key == "default|u-ann"
    known = decode(first.value or b"")
    assert (known.event_name, known.anonymous_id, known.load_id) == ("shopper_absorbed", "d1", None)
