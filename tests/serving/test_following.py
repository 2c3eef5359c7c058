"""Following a log: whatever goes wrong, it goes on, and it says so meanwhile."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from features.catalog import Content, FacetRecord
from features.catalog_archive import CatalogArchive, Facet
from features.catalog_store import CatalogStore
from infra.errors import KafkaAway, RedisAway, Refused
from infra.kafka import Record
from infra.keys import items, record_key
from infra.metrics import Metrics
from infra.settings import Settings
from serving.archived import archived
from serving.catalogue import Catalogue
from serving.catalogue_follower import CatalogueFollower
from serving.following import Following
from serving.health import Health
from serving.problems import NotReady
from serving.topic import Topic
from serving.triggers import TriggerLog, TriggersQuery
from tests.serving.test_interface import a_trigger

TENANT = "following"


@dataclass
class Script:
    """What comes next, in order: an error to raise, or records to read; nothing at its end."""

    reads: list[Exception | list[Record]] = field(default_factory=list)
    asks: list[Exception] = field(default_factory=list)
    exhausted: asyncio.Event = field(default_factory=asyncio.Event)

    def read(self, most: int, within_s: float) -> list[Record]:
        if not self.reads:
            self.loop.call_soon_threadsafe(self.exhausted.set)
            return []
        return raised(self.reads.pop(0))

    def close(self) -> None:
        pass

    def __post_init__(self) -> None:
        self.loop = asyncio.get_running_loop()


def raised(step: Any) -> Any:
    if isinstance(step, Exception):
        raise step
    return step


@dataclass(frozen=True, slots=True)
class ScriptedTopic(Topic):
    """A log of one partition that behaves as the script says."""

    script: Script | None = None

    def starts(self) -> dict[int, int]:
        assert self.script is not None
        if self.script.asks:
            raise self.script.asks.pop(0)
        return {0: 0}

    def ends(self) -> dict[int, int]:
        return {0: 0}

    def follow(self, positions: Mapping[int, int]) -> Any:
        return self.script


def topic(script: Script) -> Topic:
    return ScriptedTopic("k:1", "t", "log", embedded=True, script=script)


def facet(offset: int, item_id: str, name: str) -> Record:
    value = {"tenant": TENANT, "item_id": item_id, "content": {"name": name}}
    key = record_key(TENANT, item_id).encode()
    return Record("t", 0, offset, key, json.dumps(value).encode(), 0)


def troubles() -> list[Exception]:
    return [KafkaAway("k"), RedisAway("r"), msgspec.DecodeError("d"), ResponseError("WRONGTYPE")]


async def done(work: "asyncio.Task[None]", script: Script) -> None:
    """Run until the script is used up; the work must not have ended by then."""
    async with asyncio.timeout(30):
        waiting = asyncio.ensure_future(script.exhausted.wait())
        await asyncio.wait({work, waiting}, return_when=asyncio.FIRST_COMPLETED)
    assert not work.done()
    work.cancel()
    await asyncio.wait({work})


async def test_the_catalogue_is_followed_again_whatever_happened_while_it_was_loaded_anew(redis: Redis) -> None:
    script, catalogue = Script(), Catalogue()
    follower = CatalogueFollower(
        catalogue, CatalogStore(redis), topic(script), TENANT, where="r:1", metrics=Metrics(), pause_s=0
    )
    await follower.load()
    script.reads = [Refused("gone"), [facet(0, "tea", "Tea")], ValueError("odd"), [facet(0, "tea", "Green tea")]]
    script.asks = troubles()
    await done(asyncio.ensure_future(follower.run()), script)
    item = catalogue.item("tea")
    assert item is not None
    assert catalogue.name("tea") == "Green tea"
    assert follower.trouble == ""


async def test_an_item_that_cannot_be_read_is_left_out_and_counted(redis: Redis) -> None:
    script, catalogue, store, measured = Script(), Catalogue(), CatalogStore(redis), Metrics()
    named = [FacetRecord(tenant=TENANT, item_id=one, content=Content(name=one)) for one in ("cup", "tea")]
    await store.apply(0, named, "another log", 1)
    await redis.hset(items(TENANT, 0), mapping={"tea": b"\xff", "pot": b""})
    follower = CatalogueFollower(catalogue, store, topic(script), TENANT, where="r:1", metrics=measured, pause_s=0)
    with capture_logs() as logged:
        await follower.load()
    assert [catalogue.item(one) is not None for one in ("cup", "tea", "pot")] == [True, False, False]
    assert b"daogou_catalog_unreadable 2.0" in measured.text()
    [told] = [line for line in logged if line.get("code") == "item_unreadable"]
    assert (told["count"], sorted(told["first"])) == (2, ["pot", "tea"])
    script.reads = [[facet(0, "tea", "Tea")]]
    await done(asyncio.ensure_future(follower.run()), script)
    assert catalogue.name("tea") == "Tea"


async def test_one_record_that_cannot_be_read_is_passed_over(redis: Redis) -> None:
    script, catalogue = Script(), Catalogue()
    follower = CatalogueFollower(
        catalogue, CatalogStore(redis), topic(script), TENANT, where="r:1", metrics=Metrics(), pause_s=0
    )
    await follower.load()
    script.reads = [[Record("t", 0, 0, b"\xff", b"\xff", 0), Record("t", 0, 1, None, None, 0), facet(2, "tea", "Tea")]]
    await done(asyncio.ensure_future(follower.run()), script)
    assert (catalogue.name("tea"), catalogue.positions[0]) == ("Tea", 2)


async def test_messages_are_followed_again_whatever_happened_at_the_new_start() -> None:
    script = Script()
    log = TriggerLog(topic(script), TENANT, pause_s=0)
    await log.start()
    sent = a_trigger(TENANT, "u-ann", 1)
    script.reads = [Refused("gone"), [Record("t", 0, 0, sent.key.encode(), sent.value, 0)]]
    script.asks = troubles()
    await done(asyncio.ensure_future(log.run()), script)
    assert [one.trigger_id for one in (await log.page(TriggersQuery())).triggers] == ["t-u-ann-1"]


async def test_trouble_is_told_while_it_lasts() -> None:
    failing, mended, tried = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def once() -> None:
        if not failing.is_set():
            failing.set()
            raise Refused("the position is gone")
        tried.set()
        await asyncio.sleep(0)

    async def anew() -> None:
        if not mended.is_set():
            tried.set()
            raise KafkaAway("Kafka is away")

    following = Following("the log", once, anew, pause_s=0)
    assert following.trouble == ""
    work = asyncio.ensure_future(following.run())
    async with asyncio.timeout(30):
        await tried.wait()
        assert following.trouble == "Kafka is away"
        tried.clear()
        mended.set()
        await tried.wait()
        while following.trouble:
            await asyncio.sleep(0)
    work.cancel()
    await asyncio.wait({work})


async def test_an_error_of_the_program_is_told_without_its_text() -> None:
    told = asyncio.Event()

    async def once() -> None:
        if following.trouble:
            told.set()
            await asyncio.Event().wait()
        raise LookupError("u-ann")

    async def anew() -> None: ...

    following = Following("the log", once, anew, pause_s=0)
    work = asyncio.ensure_future(following.run())
    async with asyncio.timeout(30):
        await told.wait()
    assert "LookupError" in following.trouble
    assert "ann" not in following.trouble
    work.cancel()
    await asyncio.wait({work})


@dataclass
class Told:
    """The parts that readiness asks, all well but for what a test says."""

    caught_up: bool = True
    trouble: str = ""
    items: int = 7
    version: str = "m1"
    wanted: str | None = None

    async def ask(self, commands: object) -> list[bytes]:
        return [b"PONG"]


async def test_readiness_says_what_is_not_followed_and_which_model_is_wanted() -> None:
    well, ill = Told(), Told(trouble="Kafka has no topic")

    def health(catalogue: Told, triggers: Told, shop_settings: Told, model: Told) -> Health:
        return Health(well, catalogue, model, well, triggers, shop_settings, lambda: None, ())

    for n, path in enumerate(("catalogue", "triggers", "settings")):
        catalogue, triggers, shop_settings = (ill if n == of else well for of in range(3))
        with pytest.raises(NotReady) as caught:
            await health(catalogue, triggers, shop_settings, well).ready()
        (fault,) = caught.value.faults
        assert fault.path == path
        assert "Kafka has no topic" in fault.message
    ready = await health(well, well, well, Told(wanted="m2")).ready()
    assert (ready.status, ready.model, ready.model_wanted) == ("ready", "m1", "m2")


async def test_no_item_is_told_where_the_archive_holds_a_catalogue(settings: Settings) -> None:
    def health(catalogue: Told) -> Health:
        return Health(Told(), catalogue, Told(), Told(), Told(), Told(), lambda: None, (), archived(settings))

    assert (await health(Told(items=0)).ready()).items == 0  # a shop that begins
    facet = FacetRecord(tenant="default", item_id="tea")
    CatalogArchive(settings.archive_at).write([Facet(1, "load-x", 0, 0, facet)])
    with pytest.raises(NotReady) as caught:
        await health(Told(items=0)).ready()
    (fault,) = caught.value.faults
    assert fault.path == "catalogue"
    assert "daogou catalogue rebuild" in fault.message
    assert (await health(Told(items=1)).ready()).items == 1
