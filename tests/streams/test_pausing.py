"""A pause: nothing is applied, no timer fires, partitions stay; it outlives whoever asked, and is written down."""

import asyncio
from collections.abc import Mapping, Sequence

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from redis.asyncio import Redis

from features.catalog_store import CatalogStore
from features.events import to_ms
from infra.clock import ManualClock
from infra.embedded.redis_server import free_port
from infra.errors import KafkaAway
from infra.kafka import Follower, Outgoing, Producer
from infra.kafka_admin import start_offsets
from infra.keys import LIVE
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import CATALOG, COMMANDS
from streams import pause_asking
from streams.draining import Drainer
from streams.holds import Hold
from streams.marketing.firing import Firing
from streams.outbox import Outbox
from streams.pausing import Gate, Pause, Pauses
from tests.streams.marketing.till import stocked_pipeline
from tests.streams.shop import T0, Log, event
from tests.streams.test_applying import Loop, chunk

PAUSE = Pause(since_ms=1_000, by="ann", why="Redis moves")


def gate_of(redis: Redis, loop: Loop, token: str = "w1") -> Gate:
    return Gate(Pauses(redis, "Redis"), loop.pipeline, [loop.inbox], token, loop.measured)


def paused_since(measured: Metrics) -> float:
    found = text_string_to_metric_families(measured.text().decode())
    [sample] = [s for family in found for s in family.samples if s.name == "daogou_paused_since_seconds"]
    return sample.value


async def test_what_was_taken_is_applied_and_nothing_more_until_the_end_of_the_pause(
    settings: Settings, redis: Redis
) -> None:
    loop, pauses = Loop(settings, redis), Pauses(redis, "Redis")
    gate = gate_of(redis, loop)
    await loop.begin()
    loop.inbox.put(chunk(0, 4))
    await loop.until(3)
    await pauses.begin(PAUSE)
    await gate.look()
    assert gate.closed()
    assert paused_since(loop.measured) == 1
    loop.inbox.put(chunk(4, 8))
    assert loop.inbox.take(100) == []
    assert loop.inbox.waiting == 4
    assert await pauses.end(PAUSE)
    await gate.look()
    assert paused_since(loop.measured) == 0
    await loop.until(7)
    assert (loop.counts.applied, loop.counts.redelivered) == (8, 0)


async def test_a_worker_says_that_it_rests_once_its_batch_is_done(settings: Settings, redis: Redis) -> None:
    loop, pauses = Loop(settings, redis), Pauses(redis, "Redis")
    await Hold(redis, LIVE, "w1", alone=False).take()
    gate = gate_of(redis, loop)
    loop.inbox.put(chunk(0, 4))
    assert loop.inbox.take(100)
    await pauses.begin(PAUSE)
    await gate.look()
    assert await pauses.workers(PAUSE) == (1, 0)
    loop.inbox.put(chunk(4, 8))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await loop.inbox.some()  # the loop comes back for more: the batch is done
    await gate.look()
    assert await pauses.workers(PAUSE) == (1, 1)


async def test_a_pause_survives_whoever_looks_and_the_first_one_holds(settings: Settings, redis: Redis) -> None:
    pauses = Pauses(redis, "Redis")
    assert await pauses.begin(PAUSE) == PAUSE
    assert await pauses.begin(Pause(2_000, "bob")) == PAUSE
    again = gate_of(redis, Loop(settings, redis), "another worker")
    await again.look()
    assert again.pause == PAUSE
    assert not await pauses.end(Pause(2_000, "bob"))
    assert await pauses.now() == PAUSE


async def test_no_timer_fires_and_each_fires_afterwards(settings: Settings, redis: Redis) -> None:
    pipeline, log, closed = await stocked_pipeline(settings, redis), Log(), True
    log.append(event("ann", "add_to_cart", "tea"))
    await pipeline.apply(log.batches())
    drainer = Drainer(pipeline, Outbox(redis, Producer(settings.kafka, embedded=True)), 1, Metrics())

    async def ends(partitions: Sequence[int]) -> dict[int, int]:
        return dict.fromkeys(partitions, 0)

    clock = ManualClock(to_ms(T0) + 3_600_000)
    firing = Firing(pipeline, CatalogStore(redis), drainer, clock, ends, lambda: closed)
    assert await firing.turn() == {}
    closed = False
    assert await firing.turn() == {"ok": 1}


def commands(settings: Settings, since: Mapping[int, int]) -> list[pause_asking.Told]:
    follower = Follower(settings.brokers, COMMANDS, since, embedded=True)
    found: list[dict[str, object]] = []
    while read := follower.read(1000, 2.0):
        found += [msgspec.json.decode(record.value or b"") for record in read]
    follower.close()
    return [msgspec.convert(one, pause_asking.Told) for one in found if one["command"] in ("pause", "resume")]


def test_it_is_written_down_once_however_often_it_is_asked(broker: str, empty: object, settings: Settings) -> None:
    here, clock, said = settings.model_copy(update={"kafka": broker}), ManualClock(5_000), list[str]()
    begin = start_offsets(broker, COMMANDS)
    pause_asking.pause(here, "ann", "a reason", 5.0, clock, said.append)
    clock.move_ms(1_000)
    pause_asking.pause(here, "bob", "", 5.0, clock, said.append)
    pause_asking.status(here, said.append)
    pause_asking.resume(here, "bob", clock, said.append)
    pause_asking.resume(here, "bob", clock, said.append)
    told = commands(here, begin)
    ids = [one.command_id for one in told]
    assert sorted(one.command for one in told) == ["pause", "pause", "pause", "resume"]
    assert len(set(ids)) == 2
    assert {one.by for one in told if one.command == "pause"} == {"ann"}
    assert said[1] == "paused already since 1970-01-01T00:00:05Z by ann: a reason"
    assert said[-2] == "resumed; it was paused since 1970-01-01T00:00:05Z by ann: a reason"
    assert said[-1] == "not paused"


def test_a_second_reason_is_told_to_be_left(broker: str, empty: object, settings: Settings) -> None:
    here, clock, said = settings.model_copy(update={"kafka": broker}), ManualClock(5_000), list[str]()
    pause_asking.pause(here, "ann", "a reason", 5.0, clock, said.append)
    pause_asking.pause(here, "ann", "another", 5.0, ManualClock(6_000), said.append)
    assert said[1] == (
        "paused already since 1970-01-01T00:00:05Z by ann: a reason; that reason stays: resume first to give "
        "another one"
    )


def test_with_kafka_away_the_pause_holds_and_is_written_down_by_the_resume(
    broker: str, empty: object, settings: Settings
) -> None:
    clock, said = ManualClock(5_000), list[str]()
    here = settings.model_copy(update={"kafka": broker})
    away = settings.model_copy(update={"kafka": f"127.0.0.1:{free_port()}"})
    begin = start_offsets(broker, COMMANDS)
    pause_asking.pause(away, "ann", "", 5.0, clock, said.append)
    assert said[0].startswith("paused; the command could not be written on the log yet (Kafka at 127.0.0.1:")
    assert said[1] == "paused   0 workers stand still; go on: daogou streams resume"
    with pytest.raises(KafkaAway, match=r"^still paused since 1970-01-01T00:00:05Z by ann: Kafka at "):
        pause_asking.resume(away, "ann", clock, said.append)
    pause_asking.resume(here, "ann", clock, said.append)
    assert sorted(one.command for one in commands(here, begin)) == ["pause", "resume"]


async def test_what_waits_of_the_catalogue_is_counted_too(broker: str, empty: object, settings: Settings) -> None:
    here, said = settings.model_copy(update={"kafka": broker}), list[str]()
    producer = Producer(broker, embedded=True)
    await producer.start()
    await producer.send_many([Outgoing(CATALOG, 3, "default/tea/stock", b"{}"), Outgoing(CATALOG, 3, "k", b"{}")])
    await asyncio.to_thread(producer.close)
    await asyncio.to_thread(pause_asking.status, here, said.append)
    assert said[-1] == "behind   0 events, 2 records of the catalogue"
