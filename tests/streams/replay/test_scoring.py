"""A replay makes its lists at its end, of all its rows, with the model in service."""

from io import StringIO

from redis.asyncio import Redis
from rich.console import Console

from features.archive import EventArchive
from features.archive_order import ArchiveOrder
from infra.settings import Settings
from serving import shelf
from streams.progress import Phases
from streams.replay.command import ReplayRequest, replay_with
from streams.replay.pace import Rate
from streams.replay.ranges import Found, Range, in_archive
from streams.replay.records import DONE, SCORING, Records, wanted_of
from streams.replay.running import Replayer
from streams.replay.sources import Size, from_archive
from tests.streams.models import Popular
from tests.streams.replay.past import CLOCK, archive, made, outside, quietly


async def test_every_row_gets_its_list_and_nothing_else_does(settings: Settings, redis: Redis) -> None:
    archive(settings, made(1, 150))
    store = EventArchive(settings.archive_at)
    replayer = Replayer(settings, redis, "again", quietly(), CLOCK)

    async def found() -> Found:
        return in_archive(store, ArchiveOrder(settings.archive_at), Range(), {})

    rules = replayer.pipeline.rules
    wanted = wanted_of("archive", rules, mapping="", since="", until="", code_label="")
    await replayer.take(0)
    replay = await replayer.begin(wanted, found)
    await replayer.run(replay, from_archive(store, replay.windows, Size()), Rate(0, lambda: 0.0))
    assert replay.state == SCORING
    assert not await redis.keys("*:shelf:*")
    before = await outside(redis, "again")
    assert await replayer.finish(replay, Popular("v7")) == 12
    assert await outside(redis, "again") == before
    assert (replay.state, replay.model) == (DONE, "v7")
    rows = await redis.keys("daogou:{p*}:again:*:row:*")
    for key in rows:
        made_list = shelf.opened(await redis.get(key.replace(b":row:", b":shelf:")))
        assert made_list.model_version == "v7"
        assert made_list.row_mark == shelf.mark_of(await redis.get(key))
    assert len(rows) == 12
    await replayer.end()


async def test_without_a_released_model_it_says_so(settings: Settings, redis: Redis) -> None:
    archive(settings, made(1, 50))
    said = StringIO()
    await replay_with(settings, ReplayRequest("again", score=True), Phases(Console(file=said)), CLOCK)
    assert "no model is released" in said.getvalue()
    assert (await Records(redis, "Redis").known("again")).model == ""
