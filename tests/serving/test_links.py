"""A login at the door: what was before it is the user's on the next page, and nobody else's."""

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from features import events
from features.events import Event
from features.links import Span, pack_link, unpack_link
from features.shoppers import decode_state
from infra.embedded.redis_server import EmbeddedRedis
from infra.kafka import Follower, Producer
from infra.kafka_admin import end_offsets
from infra.keys import ShardKeys
from infra.redis import connect
from infra.settings import Settings
from infra.topics import EVENTS
from serving import tokens
from serving.app import Api
from streams.batch import PartitionBatch
from streams.direct import ArchivedRecord
from streams.outbox import Outbox
from streams.partition import RowRef
from streams.pipeline import Pipeline, build_pipeline
from tests.serving.shop import NOW, AShop, ids, items, opened
from tests.serving.test_events import on_the_log

DEVICE = "d" * 32


def event(name: str, item_id: str | None = None, **more: Any) -> dict[str, Any]:
    given = {"event_name": name, "occurred_at": NOW.isoformat(), "event_id": f"{name}-{item_id}-{more}", **more}
    return given if item_id is None else given | {"items": [{"item_id": item_id}]}


@dataclass
class Worker:
    """The worker's work, one turn at a time: applies what is new on the log, and sends what comes of it."""

    shop: AShop
    pipeline: Pipeline
    outbox: Outbox
    at: dict[int, int] = field(default_factory=dict)

    async def turn(self) -> int:
        """Apply what was put on the log; how many records that were."""
        ends = await asyncio.to_thread(end_offsets, self.shop.settings.kafka, EVENTS)
        taken = 0
        for partition, end in ends.items():
            records = []
            while self.at[partition] < end:
                records += await asyncio.to_thread(self._read, partition)
            if records:
                await self.pipeline.apply([PartitionBatch(partition, self.shop.log, records)])
            taken += len(records)
        return taken

    def _read(self, partition: int) -> list[ArchivedRecord]:
        follower = Follower(self.shop.settings.kafka, EVENTS, {partition: self.at[partition]}, embedded=True)
        read = follower.read(500, 10.0)
        follower.close()
        self.at[partition] += len(read)
        return [ArchivedRecord(one.offset, one.key, one.value, one.timestamp_ms) for one in read]

    async def hand_over(self) -> None:
        for partition, owned in self.pipeline.owned.items():
            await self.outbox.drain(partition, owned.epoch)

    async def settle(self) -> None:
        while await self.turn():
            await self.hand_over()


@pytest.fixture
async def worker(shop: AShop, redis: Redis) -> AsyncIterator[Worker]:
    pipeline = build_pipeline(shop.settings, redis)
    await pipeline.claim(range(shop.settings.partition_count), shop.log)
    producer = Producer(shop.settings.kafka, embedded=True)
    await producer.start()
    ends = await asyncio.to_thread(end_offsets, shop.settings.kafka, EVENTS)
    yield Worker(shop, pipeline, Outbox(redis, producer), dict(ends))
    producer.close()


async def posted(shop: AShop, *told: dict[str, Any]) -> str:
    answer = await shop.client.post("/v1/events", json=list(told))
    assert answer.status_code == 202, answer.text
    assert answer.json()["rejected"] == []
    return str(answer.json()["consistency_token"])


async def login(shop: AShop, user_id: str, device: str = DEVICE) -> str:
    answer = await shop.client.post("/v1/identify", json={"anonymous_id": device, "user_id": user_id})
    assert answer.status_code == 202, answer.text
    return str(answer.json()["consistency_token"])


async def met(worker: Worker, shopper_id: str) -> list[str]:
    ref = RowRef(worker.shop.partition(shopper_id), worker.shop.settings.tenant, shopper_id)
    (row,) = await worker.pipeline.store.rows([ref])
    assert row is not None
    return [one.item_id for one in decode_state(row).interactions]


def heard(shop: AShop, token: str) -> list[Event]:
    logs = {log: offsets for log, offsets in tokens.decode(token).items() if log == shop.log}
    return [events.decode(one.value or b"") for one in on_the_log(shop, tokens.encode(logs))]


async def test_a_login_is_told_to_the_partition_of_the_device_too(shop: AShop) -> None:
    apart = shop.device_apart("ann")
    token = await login(shop, "ann", apart)
    by_name = {one.event_name: one for one in heard(shop, token)}
    assert set(by_name) == {"identify", "identity_linked"}
    link = by_name["identity_linked"].link
    assert link is not None
    assert (link.user_id, link.since) == ("ann", by_name["identify"].occurred_at)
    device = shop.partition(f"a-{apart}")
    offset = tokens.decode(token)[shop.log][device]
    assert tokens.decode(token)[f"{tokens.LINK}a-{apart}"] == {device: offset}


async def test_a_page_after_the_login_knows_the_cart_that_was_filled_before_it(shop: AShop, worker: Worker) -> None:
    await posted(shop, event("add_to_cart", "oolong", anonymous_id=DEVICE))
    await worker.settle()
    before = await shop.list_for(anonymous_id=DEVICE)
    assert "oolong" not in ids(before)
    token = await login(shop, "ann")
    await worker.settle()
    answer = await shop.list_for(user_id="ann", min_token=token)
    assert "oolong" not in ids(answer), "what lies in the cart is not recommended"
    assert answer["freshness"]["stale"] is False
    assert "oolong" in ids(await shop.list_for(user_id="somebody-else"))


async def test_a_token_of_a_login_waits_until_the_user_has_what_was_before(shop: AShop, worker: Worker) -> None:
    await posted(shop, event("add_to_cart", "oolong", anonymous_id=DEVICE))
    await worker.settle()
    token = await login(shop, "ann")
    await worker.turn()
    early = await shop.list_for(user_id="ann", min_token=token, max_wait_ms=20)
    assert early["freshness"]["stale"] is True, "both partitions have applied the login; the hand-over is on its way"
    waiting = asyncio.ensure_future(shop.list_for(user_id="ann", min_token=token, max_wait_ms=2000))
    await worker.hand_over()
    await worker.settle()
    answer = await waiting
    assert answer["freshness"]["stale"] is False
    assert "oolong" not in ids(answer)
    again = await login(shop, "ann")
    await worker.settle()
    answer = await shop.list_for(user_id="ann", min_token=again, max_wait_ms=20)
    assert answer["freshness"]["stale"] is False, "the same user again: there is nothing to wait for"


async def test_events_of_a_linked_device_go_straight_to_its_user(shop: AShop, worker: Worker, redis: Redis) -> None:
    await login(shop, "ann")
    await worker.settle()
    raw = await redis.get(ShardKeys(shop.partition(f"a-{DEVICE}")).link(shop.settings.tenant, f"a-{DEVICE}"))
    link = unpack_link(raw)
    assert link is not None
    later = {"anonymous_id": DEVICE, "occurred_at": "2100-01-01T00:00:00Z"}
    (one,) = heard(shop, await posted(shop, event("view_item", "green", **later)))
    assert (one.user_id, one.anonymous_id, one.link) == ("ann", DEVICE, link)
    (straggler,) = heard(shop, await posted(shop, event("view_item", "tart", anonymous_id=DEVICE)))
    assert (straggler.user_id, straggler.link) == (None, None), "it is older than the link: its partition decides"
    await worker.settle()
    assert await met(worker, "u-ann") == ["tart", "green"]


async def test_after_the_link_to_another_user_the_list_is_that_users(shop: AShop, worker: Worker) -> None:
    await posted(shop, event("add_to_cart", "oolong", anonymous_id=DEVICE))
    await login(shop, "ann")
    await worker.settle()
    of_device = await shop.list_for(anonymous_id=DEVICE)
    assert "oolong" not in ids(of_device), "with a secret key, or none, a linked id stands for its user"
    await login(shop, "bob")
    await worker.settle()
    assert "oolong" in ids(await shop.list_for(anonymous_id=DEVICE, count=100))
    assert "oolong" not in ids(await shop.list_for(user_id="ann", count=100))
    assert "oolong" in ids(await shop.list_for(user_id="bob", count=100))


@contextlib.asynccontextmanager
async def beside(shop: AShop, **changed: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Another API process of the same shop, with other settings."""
    api = Api(shop.settings.model_copy(update=changed))
    await api.start()
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=api), base_url="http://localhost") as client:
        try:
            yield client
        finally:
            await api.stop()


async def test_with_a_publishable_key_a_device_does_not_open_its_users_row(shop: AShop, worker: Worker) -> None:
    await posted(shop, event("add_to_cart", "oolong", anonymous_id=DEVICE))
    await login(shop, "ann")
    await worker.settle()
    async with beside(shop, publishable_keys=(SecretStr("pk-1"),), secret_keys=(SecretStr("sk-1"),)) as client:
        for key, shown in (("pk-1", True), ("sk-1", False)):
            asked, headers = {"anonymous_id": DEVICE, "count": 100}, {"X-Api-Key": key}
            answer = await client.post("/v1/recommendations", json=asked, headers=headers)
            assert answer.status_code == 200, answer.text
            assert ("oolong" in ids(answer.json())) is shown


async def test_when_redis_does_not_answer_an_event_goes_by_its_own_id(settings: Settings, tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis")
    mine = settings.model_copy(update={"redis": SecretStr(server.start()), "redis_timeout_ms": 100})
    client = await connect(mine.redis, 5000)
    later = event("view_item", "green", anonymous_id=DEVICE, occurred_at="2100-01-01T00:00:00Z")
    async with opened(mine, client, items()) as shop:
        key = ShardKeys(shop.partition(f"a-{DEVICE}")).link(shop.settings.tenant, f"a-{DEVICE}")
        await client.set(key, pack_link(Span(1_700_000_000_000, "a-link", "ann")))
        (one,) = heard(shop, await posted(shop, later))
        assert (one.user_id, one.anonymous_id) == ("ann", DEVICE)
        os.kill(server.pid, signal.SIGSTOP)
        (one,) = heard(shop, await posted(shop, later))
        assert (one.user_id, one.anonymous_id) == (None, DEVICE)
        os.kill(server.pid, signal.SIGCONT)
    await client.aclose()
    server.stop()
