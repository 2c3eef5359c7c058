"""A shop whose carts are left alone: a catalogue of two items, and a till that fires timers at a given minute."""

from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

import msgspec
from redis.asyncio import Redis

from features.catalog import Content, FacetRecord, Item, Price
from features.catalog_store import CatalogStore
from features.events import to_ms
from features.messages import Trigger
from infra.clock import ManualClock
from infra.errors import KafkaAway
from infra.kafka import Producer
from infra.keys import ShardKeys, partition_of, record_key
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import TRIGGERS
from streams.draining import Drainer
from streams.marketing.backlog import LogEnds
from streams.marketing.firing import Firing
from streams.marketing.sent import Sent
from streams.marketing.stocked import Stocked
from streams.outbox import Outbox, unpack
from streams.pipeline import Pipeline, build_pipeline
from tests.streams.shop import LOG, PARTITIONS, T0, event, partition_of_event

HOME = partition_of_event(event("ann", "page_view"))
# Another shopper of the same partition.
BOB = next(name for name in map("bob{}".format, range(100)) if partition_of_event(event(name, "page_view")) == HOME)


def item(item_id: str, **facets: object) -> Item:
    known = {"content": Content(name=f"Name of {item_id}"), "price": Price(price=Decimal("3.20"), currency="EUR")}
    return Item(item_id=item_id, **{**known, **facets})


async def stocked_pipeline(settings: Settings, redis: Redis) -> Pipeline:
    pipeline = build_pipeline(settings, redis)
    await pipeline.claim(range(PARTITIONS), LOG)
    store = CatalogStore(redis)
    for item_id in ("tea", "cup"):
        whole = item(item_id)
        record = FacetRecord(tenant="default", item_id=item_id, content=whole.content)
        at = partition_of(record_key("default", item_id), PARTITIONS)
        await store.apply(at, [record], "items", 0 if item_id == "tea" else 1)
    return pipeline


class Till:
    """Fires timers at a minute after T0; `ends` are those of the log, `asked` how often they were asked for."""

    def __init__(
        self,
        pipeline: Pipeline,
        redis: Redis,
        settings: Settings,
        stock: tuple[Stocked, LogEnds] | None = None,
        sent: Sent | None = None,
    ) -> None:
        self.ends: dict[int, int] = {}
        self.asked: list[list[int]] = []
        self.away = False
        self.drainer = Drainer(pipeline, Outbox(redis, Producer(settings.kafka, embedded=True)), 1, Metrics())
        self._clock = ManualClock(to_ms(T0))
        self._firing = Firing(
            pipeline, CatalogStore(redis), self.drainer, self._clock, self._log_ends, lambda: False, stock, sent
        )

    async def turn(self, minutes: float) -> Counter[str]:
        self._clock.move_ms(to_ms(T0) + int(minutes * 60_000) - self._clock.now_ms())
        return await self._firing.turn()

    async def _log_ends(self, partitions: Sequence[int]) -> dict[int, int]:
        self.asked.append(list(partitions))
        if self.away:
            raise KafkaAway("away")
        return {partition: self.ends.get(partition, 0) for partition in partitions}


async def turn(pipeline: Pipeline, redis: Redis, settings: Settings, minutes: float) -> Counter[str]:
    return await Till(pipeline, redis, settings).turn(minutes)


async def messages(redis: Redis) -> list[Trigger]:
    found = []
    for partition in range(PARTITIONS):
        for raw in await redis.lrange(ShardKeys(partition).outbox, 0, -1):
            record = unpack(raw)
            assert (record.topic, record.partition) == (TRIGGERS, partition)
            found.append(msgspec.json.decode(record.value or b"", type=Trigger))
    return found
