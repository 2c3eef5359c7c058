"""What belongs to a user opens to the user's token, or to a secret key; what is anonymous tells nothing of a person."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from features.catalog import Stock
from infra.keys import ShardKeys
from infra.settings import Settings
from tests.serving.shop import NOW, AShop, ids, items, opened
from tests.serving.test_explanations import SHELF

SECRET = "s" * 32
LISTS = "/v1/recommendations"
DEVICE = "d" * 32


def token(user_id: str, secret: str = SECRET) -> str:
    return jwt.encode({"sub": user_id, "exp": int(NOW.timestamp()) + 3600}, secret, algorithm="HS256")


@pytest.fixture
async def guarded(settings: Settings, redis: Redis) -> AsyncIterator[AShop]:
    update = {
        "publishable_keys": (SecretStr("pub"),),
        "secret_keys": (SecretStr("sec"),),
        "shopper_token_secrets": (SecretStr(SECRET),),
    }
    async with opened(settings.model_copy(update=update), redis, items(black=Stock(available=False))) as one:
        yield one


async def call(
    shop: AShop, method: str, path: str, body: Any = None, *, key: str = "pub", of: str | None = None
) -> httpx.Response:
    headers = {"X-API-Key": key} | ({} if of is None else {"X-Shopper-Token": token(of)})
    return await shop.client.request(method, path, json=body, headers=headers)


VIEW = {"event_name": "view_item", "occurred_at": NOW.isoformat(), "user_id": "ann", "items": [{"item_id": "oolong"}]}
OF_ANN: list[tuple[str, str, Any, int]] = [
    ("POST", LISTS, {"user_id": "ann"}, 200),
    ("POST", "/v1/rank", {"user_id": "ann", "item_ids": ["oolong", "green"]}, 200),
    ("POST", "/v1/events", VIEW, 202),
    ("POST", "/v1/identify", {"anonymous_id": DEVICE, "user_id": "ann"}, 202),
    ("POST", "/v1/track", {"userId": "ann", "event": "Product Viewed", "properties": {"product_id": "oolong"}}, 200),
    ("GET", "/v1/shoppers/ann/recently-viewed", None, 200),
]


@pytest.mark.parametrize(("method", "path", "body", "good"), OF_ANN, ids=[path for _, path, _, _ in OF_ANN])
async def test_a_users_own_needs_the_users_token(guarded: AShop, method: str, path: str, body: Any, good: int) -> None:
    for of, status, code in (
        (None, 401, "shopper_token_required"),
        ("bob", 403, "shopper_token_of_another"),
        ("ann", good, None),
    ):
        answer = await call(guarded, method, path, body, of=of)
        assert (answer.status_code, answer.json().get("code")) == (status, code), answer.text
    assert (await call(guarded, method, path, body, key="sec")).status_code == good
    wrong = {"X-API-Key": "pub", "X-Shopper-Token": token("ann", "f" * 32)}
    answer = await guarded.client.request(method, path, json=body, headers=wrong)
    assert (answer.status_code, answer.json()["code"]) == (401, "shopper_token_invalid")


async def test_of_many_events_those_of_others_are_named(guarded: AShop) -> None:
    told = [VIEW, {**VIEW, "user_id": "bob"}, {**VIEW, "user_id": None, "anonymous_id": DEVICE}]
    answer = (await call(guarded, "POST", "/v1/events", told, of="ann")).json()
    assert answer["accepted"] == 2
    assert [(one["index"], one["code"]) for one in answer["rejected"]] == [(1, "shopper_token_of_another")]


async def test_the_next_page_of_a_users_list_is_the_users(guarded: AShop) -> None:
    first = (await call(guarded, "POST", LISTS, {"user_id": "ann", "count": 2}, of="ann")).json()
    more = {"next_token": first["next_token"], "count": 2}
    assert (await call(guarded, "POST", f"{LISTS}:next", more)).status_code == 401
    assert (await call(guarded, "POST", f"{LISTS}:next", more, of="bob")).status_code == 403
    second = await call(guarded, "POST", f"{LISTS}:next", more, of="ann")
    assert not set(ids(first)) & set(ids(second.json()))


async def test_why_a_users_list_is_as_it_is(guarded: AShop) -> None:
    await guarded.met("ann", ("view_item", "jasmine"), ("add_to_cart", "oolong"))
    await guarded.shelved("ann", *SHELF)
    made = (await call(guarded, "POST", LISTS, {"user_id": "ann", "count": 2}, of="ann")).json()
    path = f"/v1/explanations/{made['recommendation_id']}"
    assert (await call(guarded, "GET", path)).json()["code"] == "shopper_token_required"
    assert (await call(guarded, "GET", path, of="bob")).status_code == 403
    mine = (await call(guarded, "GET", path, of="ann")).json()
    assert mine["used"]["cart"] == ["oolong"]
    assert mine == (await call(guarded, "GET", path, key="sec")).json()


async def test_an_anonymous_list_is_explained_without_the_person(guarded: AShop, redis: Redis) -> None:
    """Even the shopper's id is a capability: whoever reads an explanation must not learn it."""
    await guarded.met("ann", ("view_item", "jasmine"), ("add_to_cart", "oolong"), ("dislike_item", "tart"))
    await _become(guarded, redis, "u-ann", f"a-{DEVICE}")
    asked = {
        "anonymous_id": DEVICE,
        "session_id": "session-of-ann",
        "count": 3,
        "item_ids": ["brownie"],
        "exclude_item_ids": ["green"],
    }
    made = (await call(guarded, "POST", LISTS, asked)).json()
    path = f"/v1/explanations/{made['recommendation_id']}"
    whole = await call(guarded, "GET", path, key="sec")
    assert DEVICE in whole.text
    assert whole.json()["used"]["cart"] == ["oolong"]
    told = await call(guarded, "GET", path)
    assert told.status_code == 200
    shown = set(ids(made))
    for private in {DEVICE, "session-of-ann", "oolong", "jasmine", "tart", "brownie", "green"} - shown:
        assert private not in told.text, private
    answer = told.json()
    assert answer["made_again"] is True
    assert [one["item_id"] for one in answer["items"]] == ids(made)
    assert all(evidence == {} for one in answer["items"] for _, evidence in one["reasons"])
    assert not {"in_cart", "disliked", "owned", "context", "excluded"} & answer["dropped"].keys()
    for item_id in ("oolong", "tart", "brownie", "green"):
        item = (await call(guarded, "GET", f"{path}?item_id={item_id}")).json()["item"]
        assert (item["stage"], item["rule"], item["sources"]) == ("no_candidate", None, [])


async def test_a_pin_that_the_person_keeps_out_says_nothing_of_the_person(guarded: AShop, redis: Redis) -> None:
    await guarded.met("ann", ("add_to_cart", "oolong"), ("purchase", "scone"))
    await _become(guarded, redis, "u-ann", f"a-{DEVICE}")
    pins = [{"item_id": item_id, "position": n} for n, item_id in enumerate(("oolong", "scone", "black"), 1)]
    made = (await call(guarded, "POST", LISTS, {"anonymous_id": DEVICE, "count": 3, "pins": pins})).json()
    path = f"/v1/explanations/{made['recommendation_id']}"
    assert (await call(guarded, "GET", f"{path}?item_id=oolong", key="sec")).json()["item"]["rule"] == "in_cart"
    for item_id in ("oolong", "scone"):
        told = (await call(guarded, "GET", f"{path}?item_id={item_id}")).json()
        assert (told["item"]["stage"], told["item"]["rule"]) == ("no_candidate", None)
        assert not {"in_cart", "owned"} & told["dropped"].keys()
    of_shop = (await call(guarded, "GET", f"{path}?item_id=black")).json()["item"]
    assert (of_shop["stage"], of_shop["rule"]) == ("dropped", "out_of_stock")


async def test_a_list_of_nobody_tells_nobodys_id(guarded: AShop) -> None:
    asked = {"user_id": "ann", "personalization": "none", "count": 2}
    made = (await call(guarded, "POST", LISTS, asked)).json()
    told = await call(guarded, "GET", f"/v1/explanations/{made['recommendation_id']}")
    assert (told.status_code, "ann" in told.text) == (200, False)
    assert told.json()["request"].get("user_id") is None


async def test_what_a_device_looked_at_needs_its_id_alone(guarded: AShop) -> None:
    answer = await call(guarded, "GET", f"/v1/shoppers/{DEVICE}/recently-viewed?kind=anonymous")
    assert answer.status_code == 200


async def _become(shop: AShop, redis: Redis, one: str, other: str) -> None:
    """Give one shopper the row of another."""
    tenant = shop.settings.tenant
    row = await redis.get(ShardKeys(shop.partition(one)).row(tenant, one))
    await redis.set(ShardKeys(shop.partition(other)).row(tenant, other), row)
