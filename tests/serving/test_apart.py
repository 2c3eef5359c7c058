"""Tenants and shoppers stay apart: every operation of the interface is tried on what is another's."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from features.catalog import Content
from infra.settings import Settings
from serving.key_kinds import KeyShown
from tests.serving.shop import NOW, AShop, items, opened
from tests.serving.test_interface import a_trigger, send
from tests.serving.test_keys import until, value
from tests.serving.test_users_own import DEVICE, SECRET, token

LISTS = "/v1/recommendations"
TEA = {"content": {"name": "Sencha"}, "price": {"price": "1.00", "currency": "EUR"}}
VIEW = {"event_name": "view_item", "occurred_at": NOW.isoformat(), "user_id": "ann", "items": [{"item_id": "oolong"}]}
# What nobody but the first tenant may ever be told; no request below says it.
MARKS = ("Geheim", "geheim-viewed", "geheim-label", "geheim-filter", "geheim-session", "t-u-ann-7")


@dataclass(frozen=True)
class Try:
    """A call that asks for what is ann's, or her shop's. `public`: the operation tells nobody's own."""

    method: str
    path: str
    body: Any = None
    public: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


TRIES = (
    Try("POST", "/v1/events", VIEW),
    Try("POST", "/v1/identify", {"anonymous_id": DEVICE, "user_id": "ann"}),
    Try("POST", "/v1/track", {"userId": "ann", "event": "Product Viewed", "properties": {"product_id": "oolong"}}),
    Try("POST", "/v1/page", {"userId": "ann", "name": "home"}),
    Try("POST", "/v1/batch", {"batch": [{"type": "page", "userId": "ann", "name": "home"}]}),
    Try("POST", LISTS, {"user_id": "ann", "include_properties": ["name"]}),
    Try("POST", f"{LISTS}:next", {"next_token": "NEXT"}),
    Try("POST", "/v1/rank", {"user_id": "ann", "item_ids": ["oolong"], "include_properties": ["name"]}),
    Try("GET", "/v1/items/oolong/similar?include_properties=name", public=True),
    Try("GET", "/v1/items/oolong/bought-together?include_properties=name", public=True),
    Try("GET", "/v1/trending?include_properties=name", public=True),
    Try("GET", "/v1/shoppers/ann/recently-viewed?include_properties=name"),
    Try("GET", "/v1/explanations/LIST"),
    Try("GET", "/v1/triggers"),
    Try("GET", "/v1/items/oolong"),
    Try("PATCH", "/v1/items/oolong", {"stock": {"available": False}}),
    Try("DELETE", "/v1/items/oolong"),
    Try("PUT", "/v1/items/oolong", TEA),
    Try("POST", "/v1/items:batch", [TEA | {"item_id": "oolong"}]),
    Try("GET", "/v1/settings/scenario/cart"),
    Try("GET", "/v1/settings/key/web"),
    Try("GET", "/v1/settings/key"),
    Try("DELETE", "/v1/settings/scenario/cart"),
    Try("PUT", "/v1/settings/scenario/cart", {"name": "cart", "blend": [["popular", 1]]}),
    Try("GET", "/page/shopper?user_id=ann"),
    Try("GET", "/page/shoppers"),
    Try("GET", "/page/shop", public=True),
    Try("GET", "/metrics"),
    Try("GET", "/health/live", public=True),
    Try("GET", "/health/ready", public=True),
)
# Such as carry no key: they are the same for everybody.
WITHOUT_KEY = ("/health/live", "/health/ready")


@dataclass
class Shops:
    """Two tenants on one Redis and one Kafka; `next_token` and `listed` are of a list of ann's in the first."""

    mine: AShop
    other: AShop
    next_token: str
    listed: str

    async def ask(self, shop: AShop, one: Try, key: str, of: str | None = None) -> httpx.Response:
        body = one.body
        if isinstance(body, dict) and "next_token" in body:
            body = {**body, "next_token": self.next_token}
        headers = {"X-API-Key": key, "Idempotency-Key": "the-same-for-all"}
        if of is not None:
            headers["X-Shopper-Token"] = token(of)
        return await shop.client.request(one.method, one.path.replace("LIST", self.listed), json=body, headers=headers)


@pytest.fixture
async def shops(settings: Settings, redis: Redis) -> AsyncIterator[Shops]:
    def keyed(prefix: str) -> Settings:
        update = {
            "publishable_keys": (SecretStr(f"{prefix}-pub"),),
            "secret_keys": (SecretStr(f"{prefix}-sec"),),
            "operator_keys": (SecretStr(f"{prefix}-op"),),
            "shopper_token_secrets": (SecretStr(SECRET),),
        }
        return settings.model_copy(update=update)

    secretly = items()
    secretly["oolong"] = msgspec.structs.replace(secretly["oolong"], content=Content(name="Geheim", category="tea"))
    secretly["geheim-viewed"] = msgspec.structs.replace(secretly["green"], item_id="geheim-viewed")
    async with AsyncExitStack() as stack:
        mine = await stack.enter_async_context(opened(keyed("a"), redis, secretly))
        other = await stack.enter_async_context(opened(keyed("b"), redis, items()))
        await _filled(mine)
        asked = {"user_id": "ann", "count": 2, "session_id": "geheim-session"}
        made = await mine.client.post(LISTS, json=asked, headers={"X-API-Key": "a-sec"})
        assert made.status_code == 200, made.text
        yield Shops(mine, other, made.json()["next_token"], made.json()["recommendation_id"])


async def _filled(shop: AShop) -> None:
    """Put into a shop what is to stay there."""
    await shop.met("ann", ("view_item", "geheim-viewed"), ("add_to_cart", "oolong"), session_id="geheim-session")
    await send(shop.settings, a_trigger(shop.settings.tenant, "u-ann", 7))
    operator = {"X-API-Key": "a-op"}
    scenario = {"name": "cart", "blend": [["popular", 1]], "filter": "item.name != 'geheim-filter'"}
    await shop.client.put("/v1/settings/scenario/cart", json=scenario, headers=operator)
    written = await shop.client.put(
        "/v1/settings/key/web", json=value("a-web") | {"label": "geheim-label"}, headers=operator
    )
    assert written.status_code == 200, written.text
    await until(shop, "a-web", 200)
    async with asyncio.timeout(30):
        while not (await shop.client.get("/v1/triggers", headers={"X-API-Key": "a-sec"})).json()["triggers"]:
            await asyncio.sleep(0.01)


async def test_what_is_looked_for_is_there_to_be_found(shops: Shops) -> None:
    """The two tests below would find nothing in an empty shop."""
    found = [(await shops.ask(shops.mine, one, "a-op")).text for one in TRIES]
    assert [mark for mark in MARKS if not any(mark in text for text in found)] == []


async def test_no_operation_is_left_out(shops: Shops) -> None:
    document = (await shops.mine.client.get("/openapi.json")).json()
    tried = [(one.method, one.path.partition("?")[0]) for one in TRIES]

    def is_tried(method: str, path: str) -> bool:
        shape = [part if "{" not in part else None for part in path.split("/")]
        return any(
            method == its
            and len(shape) == len(parts)
            and all(a in (None, b) for a, b in zip(shape, parts, strict=True))
            for its, parts in ((its, its_path.split("/")) for its, its_path in tried)
        )

    shown = [(method.upper(), path) for path, methods in document["paths"].items() for method in methods]
    assert [one for one in shown if not is_tried(*one)] == [], "add it to TRIES"


async def test_no_operation_tells_or_changes_what_is_another_tenants(shops: Shops) -> None:
    before = [(await shops.ask(shops.mine, one, "a-op")).json() for one in _read_only()]
    faults: list[str] = []
    changed: list[str] = []
    for key in ("b-op", "b-sec", "b-pub"):
        for one in TRIES:
            foreign = await shops.ask(shops.mine, one, key, of="ann")
            if one.path not in WITHOUT_KEY and (foreign.status_code, foreign.json()["code"]) != (401, "key_required"):
                faults.append(f"{one} lets {key} in")
            told = await shops.ask(shops.other, one, key, of="ann")
            faults += [f"{one} tells {key} of {mark!r}" for mark in MARKS if mark in told.text]
            if told.status_code >= 500 and one.path not in WITHOUT_KEY:
                faults.append(f"{one} fails with {told.status_code}")
            if one.path.startswith("/v1/items") and told.status_code == 202:
                changed.append(told.json()["consistency_token"])
    assert faults == []
    assert len(changed) == 8, "the other tenant did change its own"
    waiting = {"min_token": changed[-1], "max_wait_ms": 2000}
    heard = await shops.mine.client.post(LISTS, json=waiting, headers={"X-API-Key": "a-sec"})
    assert heard.json()["freshness"]["stale"] is False, "this one has read past it"
    assert [(await shops.ask(shops.mine, one, "a-op")).json() for one in _read_only()] == before


def _read_only() -> Sequence[Try]:
    """What of the shop can be compared before and after: its items, its settings, its messages, its lists."""
    paths = ("/v1/items/oolong", "/v1/settings/", "/v1/triggers", "/v1/explanations/", "/page/shoppers")
    return [one for one in TRIES if one.method == "GET" and one.path.startswith(paths)]


async def test_no_operation_tells_a_page_what_is_another_shoppers(shops: Shops) -> None:
    faults: list[str] = []
    for of in (None, "bob"):
        for one in TRIES:
            if one.public:
                continue
            told = await shops.ask(shops.mine, one, "a-pub", of)
            if told.status_code not in (401, 403):
                faults.append(f"{one} answers {told.status_code} to {of or 'nobody'}")
            faults += [f"{one} tells {of or 'nobody'} of {mark!r}" for mark in MARKS if mark in told.text]
    assert faults == []


def test_what_is_shown_of_a_key_has_no_hash() -> None:
    assert "sha256" not in {one.name for one in msgspec.structs.fields(KeyShown)}


async def test_a_token_of_another_tenants_secret_opens_nothing(shops: Shops) -> None:
    strange = {"X-API-Key": "a-pub", "X-Shopper-Token": token("ann", "t" * 32)}
    answer = await shops.mine.client.post(LISTS, json={"user_id": "ann"}, headers=strange)
    assert (answer.status_code, answer.json()["code"]) == (401, "shopper_token_invalid")
