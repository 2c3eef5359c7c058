"""A small shop for the tests: tea and cake in Redis, shoppers with rows and shelves, the API in-process."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
from redis.asyncio import Redis

from features import catalog, shoppers
from features.catalog import Content, Item, Price, Stock
from features.catalog_store import CatalogStore
from features.events import Event, EventItem, EventName
from infra.keys import ShardKeys, partition_of, record_key
from infra.settings import Settings
from infra.topics import EVENTS
from models.candidates import Candidate, Candidates
from serving import shelf
from serving.app import Api
from serving.shelf import Shelf
from tests.serving.artifacts import released

NOW = datetime.now(UTC).replace(microsecond=0)
LATENESS_MS = 86_400_000
TEAS = ("oolong", "jasmine", "green", "black")
CAKES = ("tart", "scone", "brownie")
SIMILAR = {"oolong": [("jasmine", 0.9), ("tart", 0.5)], "tart": [("scone", 0.8), ("brownie", 0.4)]}
POPULARITY = {"scone": 3.0, "green": 2.0, "oolong": 1.0}


def items(**stock: Stock) -> dict[str, Item]:
    """Seven items; some with a stock of their own."""
    made = {}
    for category, ids in (("tea", TEAS), ("cake", CAKES)):
        for item_id in ids:
            made[item_id] = Item(
                item_id=item_id,
                content=Content(name=item_id.title(), category=category, brand="Maison"),
                price=Price(price=Decimal("2.50"), currency="EUR"),
                stock=stock.get(item_id),
            )
    return made


@dataclass
class AShop:
    """The API of one test, and the hands of the worker: what the worker would write is written here."""

    settings: Settings
    redis: Redis
    api: Api
    client: httpx.AsyncClient
    log: str = ""

    def partition(self, shopper_id: str) -> int:
        return partition_of(record_key(self.settings.tenant, shopper_id), self.settings.partition_count)

    def device_apart(self, user_id: str) -> str:
        """An anonymous id that lies in another partition than the user."""
        ids = (f"{n:x}" * 32 for n in range(16))
        return next(one for one in ids if self.partition(f"a-{one}") != self.partition(f"u-{user_id}"))

    async def met(self, user_id: str, *kinds: tuple[EventName, str], session_id: str = "s") -> None:
        """Fold one event after the other, a minute apart up to now, into a new row of a user."""
        steps = []
        for n, (name, item_id) in enumerate(kinds):
            at = NOW - timedelta(minutes=len(kinds) - n)
            event = Event(
                event_name=name,
                occurred_at=at,
                received_at=at,
                event_id=str(n),
                user_id=user_id,
                session_id=session_id,
                items=(EventItem(item_id=item_id, category="tea" if item_id in TEAS else "cake"),),
                transaction_id=str(n) if name == "purchase" else None,
            )
            steps.append(shoppers.step_of(event))
        row = shoppers.fold(shoppers.empty(), steps, LATENESS_MS).row
        keys = ShardKeys(self.partition(f"u-{user_id}"))
        await self.redis.set(keys.row(self.settings.tenant, f"u-{user_id}"), shoppers.encode(row))

    async def shelved(self, user_id: str, *candidates: Candidate) -> None:
        """Put a shelf beside a user's row, made of it as it is."""
        keys = ShardKeys(self.partition(f"u-{user_id}"))
        row = await self.redis.get(keys.row(self.settings.tenant, f"u-{user_id}")) or b""
        made = Shelf("m1", self.log, 0, int(NOW.timestamp() * 1000), Candidates.of(candidates), shelf.mark_of(row))
        await self.redis.set(keys.shelf(self.settings.tenant, f"u-{user_id}"), shelf.encode(made))

    async def applied(self, partition: int, offset: int) -> None:
        """Move a fence."""
        await self.redis.hset(ShardKeys(partition).fence, self.log, str(offset))

    async def list_for(self, **asked: Any) -> dict[str, Any]:
        """A list that must be answered."""
        answer = await self.client.post("/v1/recommendations", json=asked)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until(self, holds: Callable[[dict[str, Any]], bool], **asked: Any) -> dict[str, Any]:
        """Ask again and again until the list is as wanted."""
        async with asyncio.timeout(30):
            while not holds(answer := await self.list_for(**asked)):
                await asyncio.sleep(0.01)
        return answer


def ids(answer: Mapping[str, Any]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def codes(answer: Mapping[str, Any]) -> list[str]:
    return [reason["code"] for item in answer["items"] for reason in item["reasons"]]


async def stocked(settings: Settings, redis: Redis, catalogue: Mapping[str, Item]) -> None:
    """Put items into Redis, as a load without the broker does."""
    of: dict[int, list[catalog.FacetRecord]] = {}
    for item in catalogue.values():
        partition = partition_of(record_key(settings.tenant, item.item_id), settings.partition_count)
        of.setdefault(partition, []).extend(catalog.facets(item, settings.tenant))
    load = f"load-{uuid.uuid4().hex}"
    for partition, records in of.items():
        await CatalogStore(redis).apply(partition, records, load, len(records))


@contextlib.asynccontextmanager
async def opened(settings: Settings, redis: Redis, catalogue: Mapping[str, Item]) -> AsyncIterator[AShop]:
    """The shop with these items, its model released, its API started; a tenant of its own."""
    mine = settings.model_copy(update={"tenant": f"t{uuid.uuid4().hex[:12]}"})
    await stocked(mine, redis, catalogue)
    released(mine.models_dir, "m1", SIMILAR, POPULARITY)
    api = Api(mine)
    await api.start()
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        try:
            yield AShop(mine, redis, api, client, log=f"{mine.embedded_log}:{EVENTS}")
        finally:
            await api.stop()
