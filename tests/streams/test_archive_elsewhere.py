"""What a shop does with its archive, wherever that lies: load, verify, replay, rebuild, features."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from redis import Redis
from redis.asyncio import Redis as AsyncRedis
from typer.testing import CliRunner

from features.archive_order import ArchiveOrder
from features.catalog_archive import CatalogArchive
from infra.settings import Settings, environment
from streams.archive_looking import listed, verify
from streams.catalogue_rebuild import rebuild
from streams.cli import app
from streams.load import LoadRequest, load
from streams.offline_features import build_features
from streams.replay.command import ReplayRequest, replay_with
from streams.replay.live import live_fences
from streams.replay.order import note_begun
from streams.replay.records import Replay
from tests.streams.loads import direct, quietly, run
from tests.streams.replay.past import CLOCK, apply_live, archive, held, made


@pytest.fixture
def elsewhere(settings: Settings, empty: Redis, new_uri: Callable[[], str]) -> Settings:
    return settings.model_copy(update={"archive": new_uri()})


def test_a_direct_load_is_archived_verified_and_built_into_features(elsewhere: Settings, retail: Path) -> None:
    run(elsewhere, direct(retail))
    files = len(listed(elsewhere))
    run(elsewhere, direct(retail))
    with quietly() as phases:
        found = verify(elsewhere, phases, against_log=False)
        counts = build_features(elsewhere, phases)
    assert (found.faults, found.told) == ([], [])
    assert found.records > 40
    assert len(listed(elsewhere)) == files
    assert counts.events == 40
    assert not elsewhere.archive_dir.exists()


async def test_logs_are_replayed_in_their_order_and_give_what_live_has(
    elsewhere: Settings, redis: AsyncRedis, retail: Path
) -> None:
    log = made(21, 150)
    await note_begun(elsewhere, redis, log.name)
    await apply_live(elsewhere, redis, log, 0, 9)
    request = LoadRequest(str(retail), "online-retail", direct=True)
    await asyncio.to_thread(load, elsewhere, request, quietly(), CLOCK)
    await apply_live(elsewhere, redis, log, 9)
    archive(elsewhere, log)
    assert len(ArchiveOrder(elsewhere.archive_at).entries()) == 2
    assert await live_fences(redis, elsewhere)
    done: Replay = await replay_with(elsewhere, ReplayRequest("again", "archive", score=False), quietly(), CLOCK)
    assert "order files" in done.order
    assert await held(redis, "again") == await held(redis, "live")


def test_a_catalogue_comes_back_from_it(elsewhere: Settings, empty: Redis, tmp_path: Path, retail: Path) -> None:
    run(elsewhere, direct(retail))
    items = sorted(key for key in empty.keys("daogou:*:items"))
    before = [empty.hgetall(key) for key in items]
    assert before
    empty.flushall()
    with quietly() as phases:
        rebuilt = rebuild(elsewhere.model_copy(update={"kafka": ""}), phases)
    assert [empty.hgetall(key) for key in items] == before
    assert rebuilt.facets == len(CatalogArchive(elsewhere.archive_at).facets()) > 0


def test_the_commands_name_it(elsewhere: Settings, retail: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment(elsewhere).items():
        monkeypatch.setenv(name, value)
    invoke = CliRunner().invoke
    assert invoke(app, ["archive", "list"]).output == f"nothing in {elsewhere.archive_at}\n"
    run(elsewhere, direct(retail))
    assert "40 records" in invoke(app, ["archive", "list"]).output
    assert "all is as it was written" in invoke(app, ["archive", "verify"]).output


def test_nothing_but_the_tests_asks_for_the_folder_in_the_data_folder() -> None:
    """What does would not see an archive that lies elsewhere."""
    root = Path(__file__).parents[2]
    asking = [
        str(file.relative_to(root))
        for floor in ("streams", "serving", "models", "features")
        for file in (root / floor).rglob("*.py")
        if "settings.archive_dir" in file.read_text()
    ]
    assert asking == []
