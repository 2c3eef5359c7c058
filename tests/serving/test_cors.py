"""Pages of other origins: what a browser is told, who is refused, and what is open to whom."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from infra.settings import Settings
from tests.serving.shop import AShop, items, opened

SHOP = "https://shop.example"
OTHER = "https://other.example"
LISTS = "/v1/recommendations"


@pytest.fixture
async def guarded(settings: Settings, redis: Redis) -> AsyncIterator[AShop]:
    """A shop with keys, called by pages of one origin."""
    update = {
        "publishable_keys": (SecretStr("pub"),),
        "secret_keys": (SecretStr("sec"),),
        "allowed_origins": (SHOP,),
    }
    async with opened(settings.model_copy(update=update), redis, items()) as one:
        yield one


async def preflight(shop: AShop, path: str, origin: str, method: str = "POST") -> httpx.Response:
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }
    return await shop.client.options(path, headers=asked)


def varies(answer: httpx.Response) -> set[str]:
    return {name.strip() for name in answer.headers["vary"].split(",")}


async def test_a_preflight_of_an_allowed_origin(guarded: AShop) -> None:
    for path, method in (
        (LISTS, "POST"),
        ("/v1/events", "POST"),
        ("/v1/identify", "POST"),
        ("/v1/items/a/b/similar", "GET"),
    ):
        answer = await preflight(guarded, path, SHOP, method)
        assert (answer.status_code, answer.content) == (204, b"")
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert answer.headers["access-control-allow-methods"] == method
        allowed = {name.strip() for name in answer.headers["access-control-allow-headers"].split(",")}
        assert {"content-type", "x-api-key", "idempotency-key", "traceparent"} <= allowed
        assert varies(answer) >= {"Origin", "Access-Control-Request-Method", "Access-Control-Request-Headers"}
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", [OTHER, "null", "http://shop.example", "https://shop.example:444", "https://shop.example.evil", ""]
)
async def test_an_origin_that_is_not_allowed_is_refused(guarded: AShop, origin: str) -> None:
    answer = await preflight(guarded, LISTS, origin)
    assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
    assert "Origin" in varies(answer)
    called = await guarded.client.post(LISTS, json={}, headers={"Origin": origin, "X-API-Key": "pub"})
    assert (called.status_code, called.json()["code"]) == (403, "origin_not_allowed")
    for one in (answer, called):
        assert "access-control-allow-origin" not in one.headers


async def test_a_page_reads_answers_and_refusals(guarded: AShop) -> None:
    for body, key, status in (({}, "pub", 200), ({"count": 0}, "pub", 422), ({}, "bad", 401)):
        answer = await guarded.client.post(LISTS, json=body, headers={"Origin": SHOP, "X-API-Key": key})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == SHOP
        assert varies(answer) == {"Origin"}
    # Whatever lies between must not give one origin's answer to another.
    without = await guarded.client.post(LISTS, json={}, headers={"X-API-Key": "pub"})
    assert (without.status_code, varies(without)) == (200, {"Origin"})
    own = await guarded.client.post(LISTS, json={}, headers={"Origin": "http://localhost", "X-API-Key": "pub"})
    assert own.status_code == 200


async def test_what_needs_a_secret_key_is_not_for_pages(guarded: AShop) -> None:
    for path, method in (("/v1/items/x", "PUT"), ("/v1/triggers", "GET"), ("/metrics", "GET")):
        answer = await preflight(guarded, path, SHOP, method)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
        assert "access-control-allow-origin" not in answer.headers


async def test_with_keys_metrics_need_a_secret_one_and_pages_and_health_none(guarded: AShop) -> None:
    async def status(path: str, **headers: Any) -> int:
        return (await guarded.client.get(path, headers=headers)).status_code

    assert await status("/metrics") == 401
    assert await status("/metrics", **{"X-API-Key": "pub"}) == 403
    assert await status("/metrics", **{"X-API-Key": "sec"}) == 200
    for path in ("/", "/docs", "/openapi.json", "/health/live", "/health/ready"):
        assert await status(path) == 200
        assert await status(path, Host="shop.example") == 200


async def test_without_keys_everything_but_health_is_for_this_machine(shop: AShop) -> None:
    for headers in ({"Host": "rebound.example"}, {"Origin": OTHER}):
        for path in ("/metrics", "/", "/docs", "/openapi.json", "/page/shoppers"):
            answer = await shop.client.get(path, headers=headers)
            assert (path, answer.status_code, answer.json()["code"]) == (path, 403, "loopback_only")
        for path in ("/health/live", "/health/ready"):
            assert (await shop.client.get(path, headers=headers)).status_code == 200
    assert (await shop.client.options(LISTS, headers={"Origin": SHOP})).status_code == 405
