"""Changes of items: many at once, and changes made from a version that may be old."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import catalog
from features.catalog import Content, FacetRecord, Item, Price, Stock
from infra.kafka import Outgoing
from infra.topics import CATALOG
from serving.catalogue import Catalogue
from serving.items import ContentChange, completed
from serving.unheard import CatalogueBehind, Unheard
from tests.serving.shop import AShop
from tests.serving.test_interface import send

TEA: dict[str, Any] = {"item_id": "sencha", "content": {"name": "Sencha", "category": "tea"}}
PRICE = {"price": "3.10", "currency": "EUR"}


async def batch(shop: AShop, *items: Any) -> tuple[int, dict[str, Any]]:
    answer = await shop.client.post("/v1/items:batch", content=json.dumps(items))
    return answer.status_code, answer.json()


async def changed(shop: AShop, method: str, body: Any, item_id: str = "oolong", status: int = 202) -> dict[str, Any]:
    answer = await shop.client.request(method, f"/v1/items/{item_id}", json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


async def got(shop: AShop, item_id: str = "oolong") -> dict[str, Any]:
    return dict((await shop.client.get(f"/v1/items/{item_id}")).json())


@pytest.mark.parametrize("name", ["", "  "])
async def test_an_item_without_a_name_is_refused(shop: AShop, name: str) -> None:
    content = {"content": {"name": name}}
    for method in ("PUT", "PATCH"):
        said = await changed(shop, method, content, status=422)
        assert (said["code"], said["errors"][0]["path"]) == ("empty", "content.name"), method
    status, said = await batch(shop, TEA, {"item_id": "blank", **content})
    assert (status, said["accepted"]) == (202, 1)
    assert (said["rejected"][0]["code"], said["rejected"][0]["path"]) == ("empty", "content.name")


async def test_good_items_of_a_mixed_batch_are_taken_and_bad_ones_named(shop: AShop) -> None:
    status, said = await batch(
        shop,
        TEA,
        {"item_id": "sencha", "price": PRICE},
        {"item_id": "ghost", "price": PRICE},
        {"item_id": "oolong", "stock": {"available": False}},
        {"item_id": "x", "content": {"name": "X"}, "price": {"price": "-1", "currency": "EUR"}},
        {"item_id": "y"},
        7,
        {"item_id": "z", "colour": 1},
    )
    assert (status, said["accepted"]) == (202, 3)
    assert [(one["index"], one["item_id"], one["code"], one["path"]) for one in said["rejected"]] == [
        (2, "ghost", "not_found", "item_id"),
        (4, "x", "out_of_range", "price.price"),
        (5, "y", "missing_field", "content"),
        (6, None, "wrong_type", ""),
        (7, "z", "unknown_field", "colour"),
    ]
    after = await shop.list_for(
        count=50, include_properties=["price"], min_token=said["consistency_token"], max_wait_ms=2000
    )
    assert after["freshness"]["stale"] is False
    shown = {item["item_id"]: item["properties"] for item in after["items"]}
    assert shown["sencha"] == {"price": "3.10"}
    assert "oolong" not in shown
    assert {one["item_id"]: one["version"] for one in said["items"]} == {
        name: (await got(shop, name))["version"] for name in ("sencha", "oolong")
    }


async def test_a_batch_without_a_good_item_or_of_the_wrong_size_is_refused(shop: AShop) -> None:
    status, said = await batch(shop, {"item_id": "y"}, {"item_id": "ghost", "price": PRICE})
    assert (status, said["code"]) == (422, "no_valid_item")
    assert [one["path"] for one in said["errors"]] == ["[0].content", "[1].item_id"]
    assert (await batch(shop))[1]["code"] == "wrong_number_of_items"
    assert (await batch(shop, *[TEA] * 1001))[1]["code"] == "wrong_number_of_items"
    assert (await batch(shop, *[TEA] * 1000))[0] == 202
    assert (await shop.client.post("/v1/items:batch", content=b"{}")).json()["code"] == "wrong_type"


async def test_a_change_of_content_is_completed(shop: AShop) -> None:
    await changed(shop, "PATCH", {"content": {"description": "Half fermented"}})
    # Made at once of what was not heard back yet: neither of the two is lost.
    await asyncio.gather(
        changed(shop, "PATCH", {"content": {"url": "https://shop.example/oolong"}}),
        changed(shop, "PATCH", {"content": {"brand": None}}),
    )
    assert (await got(shop))["content"] == {
        "name": "Oolong",
        "category": "tea",
        "description": "Half fermented",
        "url": "https://shop.example/oolong",
    }
    await changed(shop, "PUT", {"content": {"name": "New"}})
    said = await changed(shop, "PATCH", {"content": {"colour": "red"}}, status=422)
    assert (said["code"], said["errors"][0]["path"]) == ("unknown_field", "content.colour")
    assert (await got(shop))["content"] == {"name": "New"}


async def test_a_change_from_an_old_version_is_a_conflict(shop: AShop) -> None:
    first = (await got(shop))["version"]
    second = (await changed(shop, "PATCH", {"price": PRICE, "version": first}))["version"]
    assert second > first
    said = await changed(shop, "PATCH", {"stock": {"available": True}, "version": first}, status=409)
    assert (said["code"], said["errors"][0]["path"]) == ("conflict", "version")
    # Of two at once, made of the same version, one is taken.
    both = [
        shop.client.patch("/v1/items/oolong", json={"content": {"brand": brand}, "version": second})
        for brand in ("A", "B")
    ]
    assert sorted(answer.status_code for answer in await asyncio.gather(*both)) == [202, 409]
    # What somebody else puts on the log is a change, too.
    third = (await got(shop))["version"]
    facet = FacetRecord(tenant=shop.settings.tenant, item_id="oolong", stock=Stock(quantity=2))
    partition = shop.partition("oolong")
    await send(shop.settings, Outgoing(CATALOG, partition, catalog.key_of(facet), catalog.encode_record(facet)))
    token = shop.api.services.writer.token([("oolong", third + 1)])
    assert (await shop.list_for(min_token=token, max_wait_ms=2000))["freshness"]["stale"] is False
    await changed(shop, "PATCH", {"price": PRICE, "version": third}, status=409)
    await changed(shop, "PATCH", {"price": PRICE, "version": (await got(shop))["version"]})


async def test_a_version_that_this_server_has_not_heard_of_is_waited_for_and_then_refused(shop: AShop) -> None:
    said = await changed(shop, "PATCH", {"price": PRICE, "version": 2**40}, status=409)
    assert said["code"] == "version_ahead"
    assert (await shop.client.get("/v1/items/ghost")).status_code == 404
    await changed(shop, "DELETE", None)
    assert (await shop.client.get("/v1/items/oolong")).status_code == 404
    await changed(shop, "PATCH", {"price": PRICE}, status=404)


@given(
    st.builds(Content, name=st.text(), brand=st.none() | st.text(), hidden=st.booleans()),
    st.fixed_dictionaries({}, optional={"name": st.text(), "brand": st.none() | st.text(), "hidden": st.booleans()}),
)
def test_a_change_is_what_it_names_and_else_what_was(content: Content, fields: dict[str, Any]) -> None:
    after = completed(content, ContentChange(**fields))
    for name in Content.__struct_fields__:
        assert getattr(after, name) == fields.get(name, getattr(content, name))


def test_what_is_on_its_way_counts_until_it_is_heard_and_is_bounded() -> None:
    catalogue = Catalogue()
    catalogue.replace_all({"a": Item(item_id="a", content=Content(name="A"))}, {0: 7})
    unheard = Unheard(catalogue, most=2)
    assert unheard.known("a", 0) == (catalogue.item("a"), 7, False)
    cheaper = FacetRecord(tenant="t", item_id="a", price=Price(price=Decimal(1), currency="EUR"))
    sold_out = FacetRecord(tenant="t", item_id="a", stock=Stock(available=False))
    first, second = unheard.begin([(0, cheaper), (0, sold_out)])
    item, version, moving = unheard.known("a", 0)
    assert item is not None
    assert (item.price, item.stock, version, moving) == (cheaper.price, sold_out.stock, 7, True)
    with pytest.raises(CatalogueBehind):
        unheard.begin([(0, cheaper)])
    unheard.failed([second])
    unheard.acknowledged([first], [9])
    item, version, moving = unheard.known("a", 0)
    assert item is not None
    assert (item.price, item.stock, version, moving) == (cheaper.price, None, 9, False)
    catalogue.apply(cheaper, 9)
    catalogue.positions[0] = 9
    assert unheard.known("a", 0) == (catalogue.item("a"), 9, False)
    unheard.begin([(0, cheaper), (0, sold_out)])  # what was heard makes room
