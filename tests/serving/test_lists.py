"""Next pages, given items in a shopper's order, and lists about items."""

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from infra.errors import BadInput
from models.candidates import Candidate
from serving import paging
from serving.paging import Continued, NextRequest
from serving.recommendation_types import RecommendationRequest
from tests.serving.shop import AShop, ids

SHELF = tuple(Candidate(i, 0.9 - n / 10, 0.9, "tower") for n, i in enumerate(("oolong", "jasmine", "tart", "scone")))


async def page(shop: AShop, token: str, **asked: Any) -> dict[str, Any]:
    answer = await shop.client.post("/v1/recommendations:next", json={"next_token": token, **asked})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_pages_go_on_without_repeats_until_nothing_is_left(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "green"))
    await shop.shelved("ann", *SHELF)
    first = await shop.list_for(user_id="ann", count=2, pins=[{"item_id": "brownie", "position": 1}])
    assert ids(first) == ["brownie", "oolong"]
    second = await page(shop, first["next_token"], count=2)
    assert ids(second) == ["jasmine", "tart"]
    third = await page(shop, second["next_token"])
    assert ids(third) == ["scone", "green"]
    assert third["next_token"] is None


async def test_a_token_that_is_none_or_too_old_is_refused(shop: AShop) -> None:
    old = paging.token_of(Continued(0, RecommendationRequest(), ["x"]))
    for token, code in (("no token", "wrong_token"), ("AAAA", "wrong_token"), (old, "next_token_expired")):
        answer = await shop.client.post("/v1/recommendations:next", json={"next_token": token})
        assert (answer.status_code, answer.json()["code"]) == (422, code)
        assert answer.json()["errors"][0]["path"] == "next_token"


@given(st.binary(max_size=60).map(lambda raw: raw.hex()), st.text(min_size=1, max_size=20))
def test_whatever_a_token_holds_it_is_opened_or_refused(one: str, other: str) -> None:
    for token in (one or "x", other):
        with contextlib.suppress(BadInput):
            paging.opened(NextRequest(next_token=token), 0)


def test_a_list_that_has_become_too_long_does_not_go_on() -> None:
    assert paging.token_of(Continued(0, RecommendationRequest(), ["x"] * 1001)) is None
    assert paging.token_of(Continued(0, RecommendationRequest(), ["x" * 256] * 400)) is None


async def test_given_items_come_in_the_shoppers_order_and_those_that_may_not_be_shown_are_named(shop: AShop) -> None:
    await shop.met("ann", ("purchase", "tart"), ("add_to_cart", "oolong"))
    await shop.shelved("ann", *SHELF)
    asked = {"user_id": "ann", "item_ids": ["green", "black", "scone", "tart", "oolong", "moon", "brownie"]}
    answer = (await shop.client.post("/v1/rank", json=asked)).json()
    assert ids(answer)[:3] == ["oolong", "tart", "scone"]
    assert sorted(ids(answer)) == ["brownie", "green", "oolong", "scone", "tart"]
    assert answer["missing_ids"] == ["black", "moon"]
    assert answer["recorded"] is True
    explained = (await shop.client.get(f"/v1/explanations/{answer['recommendation_id']}")).json()
    assert explained["made_again"] is True


async def test_what_goes_with_an_item_and_what_is_met_more(shop: AShop) -> None:
    together = (await shop.client.get("/v1/items/oolong/bought-together", params={"count": 1})).json()
    assert [one["item_id"] for one in together["items"]] == ["jasmine"]
    assert (await shop.client.get("/v1/items/moon/bought-together")).status_code == 404
    trending = (await shop.client.get("/v1/trending", params={"include_properties": "name"})).json()
    assert [one["item_id"] for one in trending["items"]] == ["scone", "green", "oolong"]
    assert trending["items"][0]["properties"] == {"name": "Scone"}
    of_tea = (await shop.client.get("/v1/trending", params={"category": "tea"})).json()
    assert of_tea["items"] == []  # nothing was met since the statistics began


async def test_what_was_looked_at_last_comes_first(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "green"), ("view_item", "tart"), ("purchase", "scone"), ("view_item", "green"))
    answer = (await shop.client.get("/v1/shoppers/ann/recently-viewed", params={"count": 5})).json()
    assert [one["item_id"] for one in answer["items"]] == ["green", "tart"]
    nobody = (await shop.client.get("/v1/shoppers/nobody/recently-viewed", params={"kind": "anonymous"})).json()
    assert nobody["items"] == []
