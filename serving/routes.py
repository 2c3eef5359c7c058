"""The routes: one table of method, path, types and handler. The OpenAPI document is made from it."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from features.events import Event
from infra.clock import Clock
from infra.metrics import Metrics
from serving import bodies, segment
from serving.catalogue import Catalogue
from serving.decision_log import DecisionLog
from serving.events import Accepted, Collector, Identity
from serving.explaining import Explanation, ExplanationQuery
from serving.explaining_to import explained_to
from serving.health import Health, Liveness, Readiness
from serving.idempotency import Once
from serving.item_lists import check_item_id
from serving.items import (
    ItemBody,
    ItemChange,
    ItemChanged,
    ItemWriter,
)
from serving.model import ModelInService
from serving.operations import Call, Operation, Page, query_of
from serving.page_facts import ShopFacts, ShopperFacts, ShopperQuery, shopper_facts
from serving.problems import Fault, NotReady
from serving.recommendations import Recommender
from serving.settings_log import ShopSettings
from serving.shopper_reader import ShopperReader
from serving.statistics_reader import ItemKnowledge
from serving.triggers import TriggerLog, Triggers, TriggersQuery

_SHOPPERS_TO_TRY: Final = 40

_any: Final = msgspec.json.Decoder()
_identity: Final = msgspec.json.Decoder(Identity)
_put: Final = msgspec.json.Decoder(ItemBody)
_patch: Final = msgspec.json.Decoder(ItemChange)


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers call."""

    tenant: str
    collector: Collector
    recommender: Recommender
    writer: ItemWriter
    catalogue: Catalogue
    model: ModelInService
    knowledge: ItemKnowledge
    reader: ShopperReader
    triggers: TriggerLog
    decisions: DecisionLog
    settings: ShopSettings
    health: Health
    once: Once
    metrics: Metrics
    clock: Clock
    cart_abandoned_s: int


class Handlers:
    """One method per operation."""

    def __init__(self, services: Services) -> None:
        self._s = services

    async def events(self, call: Call) -> Accepted:
        """Take events."""
        return await self._s.collector.collect(call.raw, call.may_be, call.trace)

    async def identify(self, call: Call) -> Accepted:
        """Take a login, in our form or in Segment's; the same Idempotency-Key makes it the same event."""
        told = bodies.decode(_any, call.raw)
        if segment.is_segment(told):
            now = datetime.fromtimestamp(self._s.clock.now_ms() / 1000, UTC)
            return await self._s.collector.take((segment.one("identify", told, now),), call.may_be, call.trace)
        who = bodies.decode(_identity, call.raw)
        return await self._s.collector.identify(who, call.may_be, call.trace, call.header(b"idempotency-key"))

    async def put_item(self, call: Call) -> ItemChanged:
        """Add or replace an item."""
        return await self._s.writer.put(check_item_id(call.path("item_id")), bodies.decode(_put, call.raw))

    async def patch_item(self, call: Call) -> ItemChanged:
        """Change some of an item."""
        return await self._s.writer.patch(check_item_id(call.path("item_id")), bodies.decode(_patch, call.raw))

    async def delete_item(self, call: Call) -> ItemChanged:
        """Take an item out."""
        return await self._s.writer.remove(check_item_id(call.path("item_id")))

    async def triggers(self, call: Call) -> Triggers:
        """Messages behind a cursor."""
        return await self._s.triggers.page(query_of(call, TriggersQuery))

    async def explanation(self, call: Call) -> Explanation:
        """Why a list is as it is."""
        query = query_of(call, ExplanationQuery)
        decision = await self._s.decisions.find(call.path("recommendation_id"))
        return explained_to(call.caller, call.may_be, decision, query.item_id)

    async def live(self, _: Call) -> Liveness:
        """The process answers."""
        return Liveness()

    async def ready(self, call: Call) -> Readiness:
        """All is there, and this process does not end."""
        if call.scope.get("state", {}).get("draining"):
            raise NotReady((Fault("process", "it ends, and answers what is asked of it until then"),))
        return await self._s.health.ready()

    async def metrics(self, _: Call) -> Page:
        """Prometheus' text."""
        return Page(self._s.metrics.text(), "text/plain; version=0.0.4; charset=utf-8")

    async def shop(self, _: Call) -> ShopFacts:
        """The shop, for the page."""
        return ShopFacts(self._s.catalogue.shown_count, self._s.cart_abandoned_s)

    async def shopper(self, call: Call) -> ShopperFacts:
        """A shopper, for the page."""
        state = await self._s.recommender.state_of(query_of(call, ShopperQuery).shopper_id)
        return shopper_facts(state, self._s.clock.now_ms())

    async def shoppers_to_try(self, _: Call) -> list[str]:
        """A few user ids for the page."""
        return await self._s.reader.some(self._s.tenant, _SHOPPERS_TO_TRY)


def operations(services: Services) -> list[Operation]:
    """The interface."""
    do = Handlers(services)
    item = "/v1/items/{item_id}"
    return [
        Operation(
            "POST",
            "/v1/events",
            "Put events on the log. 202 means that Kafka has acknowledged them.",
            do.events,
            Accepted,
            access="publishable",
            status=202,
            body=list[Event] | Event,
            refusals=(503,),
        ),
        Operation(
            "POST",
            "/v1/identify",
            "Say that a visitor is a user: an event of this moment; with the same Idempotency-Key the same event. "
            "Segment's identify call is taken, too.",
            do.identify,
            Accepted,
            access="publishable",
            status=202,
            body=Identity,
            refusals=(503,),
        ),
        Operation(
            "PUT",
            item,
            "Add or replace an item.",
            do.put_item,
            ItemChanged,
            status=202,
            body=ItemBody,
            refusals=(503,),
            once=True,
        ),
        Operation(
            "PATCH",
            item,
            "Change fields of the content, price or stock; with a version, only if the item has not changed since.",
            do.patch_item,
            ItemChanged,
            status=202,
            body=ItemChange,
            refusals=(404, 409, 503),
            once=True,
        ),
        Operation(
            "DELETE",
            item,
            "Take an item out.",
            do.delete_item,
            ItemChanged,
            status=202,
            refusals=(503,),
            once=True,
        ),
        Operation(
            "GET",
            "/v1/triggers",
            "Messages that are due.",
            do.triggers,
            Triggers,
            query=TriggersQuery,
            refusals=(503,),
        ),
        Operation(
            "GET",
            "/v1/explanations/{recommendation_id}",
            "Why a list is as it is and, with item_id, why an item is in it or is not: from its decision record.",
            do.explanation,
            Explanation,
            access="publishable",
            query=ExplanationQuery,
            refusals=(404, 503),
        ),
        Operation(
            "GET", "/health/live", "Whether the process answers.", do.live, Liveness, access="health", always=True
        ),
        Operation(
            "GET",
            "/health/ready",
            "Whether all it needs is there.",
            do.ready,
            Readiness,
            access="health",
            always=True,
            refusals=(503,),
        ),
        Operation("GET", "/metrics", "Prometheus metrics.", do.metrics, "text/plain", always=True),
        Operation("GET", "/page/shop", "The shop.", do.shop, ShopFacts, access="publishable", documented=False),
        Operation("GET", "/page/shopper", "A shopper.", do.shopper, ShopperFacts, query=ShopperQuery, documented=False),
        Operation("GET", "/page/shoppers", "Shoppers to try.", do.shoppers_to_try, list[str], documented=False),
    ]
