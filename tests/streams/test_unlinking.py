"""The operator's way to undo a merge: told what is linked, and refused where it cannot be undone."""

import asyncio

import pytest
from redis.asyncio import Redis

from features.events import decode
from features.links import known_of
from features.shopper_merge import is_empty
from infra.clock import ManualClock
from infra.errors import NotFound, Refused
from infra.kafka import Follower
from infra.kafka_admin import end_offsets
from infra.settings import Settings
from infra.topics import EVENTS
from streams.unlinking import show, unlink
from tests.features.people import MINUTE, event, login
from tests.features.steps import T
from tests.streams.test_identity import ANN, BEFORE, PHONE, Worker, partition, told

DAY = 24 * 60
NOW = ManualClock(T + 5 * MINUTE)


async def test_what_is_linked_is_told_and_undone_by_a_word_on_the_log(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(*told(*BEFORE, login(PHONE, ANN, 3)))
    await worker.settle()
    of_device = await asyncio.to_thread(show, settings, f"a-{PHONE}")
    assert "user ann" in of_device[0]
    [of_user] = await asyncio.to_thread(show, settings, f"u-{ANN}")
    assert "device phone  can be undone" in of_user
    assert await asyncio.to_thread(show, settings, ANN) == [of_user]
    assert await asyncio.to_thread(show, settings, PHONE) == of_device
    home = partition(f"a-{PHONE}")
    at = (await asyncio.to_thread(end_offsets, settings.kafka, EVENTS))[home]
    word = await asyncio.to_thread(unlink, settings, f"u-{ANN}", f"a-{PHONE}", NOW)
    follower = Follower(settings.kafka, EVENTS, {home: at}, embedded=True)
    (record,) = await asyncio.to_thread(follower.read, 10, 10.0)
    follower.close()
    said = decode(record.value or b"")
    assert (said.event_id, said.event_name) == (word, "identity_unlinked")
    worker.log.append(said)
    await worker.settle()
    assert await worker.met(f"a-{PHONE}") == ["tea", "cup"]
    assert await worker.met(f"u-{ANN}") == []
    [of_user] = await asyncio.to_thread(show, settings, f"u-{ANN}")
    assert "undone" in of_user
    with pytest.raises(NotFound) as refused:
        await asyncio.to_thread(unlink, settings, ANN, PHONE, NOW)
    assert refused.value.reason == "not_linked"


async def test_what_cannot_be_undone_any_more_is_refused_with_the_way_out(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(*told(*BEFORE, login(PHONE, ANN, 3), event("page_view", minute=31 * DAY, user_id=ANN)))
    await worker.settle()
    worker.log.append(event("page_view", minute=31 * DAY + 1, user_id=ANN))
    await worker.settle()
    assert not is_empty(await worker.row(f"u-{ANN}"))
    assert known_of(await worker.row(f"u-{ANN}")).sources[0].forgotten
    with pytest.raises(Refused) as refused:
        await asyncio.to_thread(unlink, settings, ANN, PHONE, NOW)
    assert refused.value.reason == "link_forgotten"
    assert "replay" in refused.value.message


async def test_ids_that_nobody_knows_are_named(settings: Settings, redis: Redis) -> None:
    with pytest.raises(NotFound, match="u-nobody"):
        await asyncio.to_thread(show, settings, "u-nobody")


async def test_a_shopper_without_links_is_told_from_an_id_that_nobody_has(settings: Settings, redis: Redis) -> None:
    worker = Worker(settings, redis)
    worker.log.append(event("page_view", minute=1, user_id="bob"))
    await worker.settle()
    for given in ("bob", "u-bob"):
        assert await asyncio.to_thread(show, settings, given) == ["u-bob is a shopper, and linked with nobody"]
    with pytest.raises(NotFound, match="there is no shopper 'nobody'"):
        await asyncio.to_thread(show, settings, "nobody")
