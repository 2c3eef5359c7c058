"""What a request may ask of its list: filter, booster, diversity, rotation, pins."""

from typing import Any

from infra.keys import ShardKeys
from models.candidates import Candidate
from tests.serving.shop import AShop, ids

SHELF = tuple(Candidate(i, 0.9 - n / 10, 0.9, "tower") for n, i in enumerate(("oolong", "jasmine", "tart", "scone")))


async def for_ann(shop: AShop, **asked: Any) -> dict[str, Any]:
    await shop.met("ann", ("view_item", "green"))
    await shop.shelved("ann", *SHELF)
    return await shop.list_for(user_id="ann", **asked)


async def test_nothing_outside_of_the_filter_is_shown_whatever_fills_the_list(shop: AShop) -> None:
    answer = await for_ann(shop, count=7, filter='item.category == "cake" && item.price < 20.0')
    assert sorted(ids(answer)) == ["brownie", "scone", "tart"]
    assert answer["fallback"] == {"used": True, "why": "too_few_candidates"}
    strict = await for_ann(shop, count=7, filter='item.category == "cake"', strict_filtering=True)
    assert ids(strict) == ["tart", "scone"]


async def test_a_request_cannot_lift_the_filter_of_the_scenario(shop: AShop) -> None:
    """A page in a browser asks with its own filter; what the shop rules out stays out."""
    body = {"name": "home", "blend": [["popular", 1]], "filter": "item.id != 'tart'"}
    written = (await shop.client.put("/v1/settings/scenario/home", json=body)).json()
    await shop.until(lambda a: a["policy_version"] == f"home-{written['version']}")
    answer = await shop.list_for(filter="item.category == 'cake'", pins=[{"item_id": "tart", "position": 1}])
    assert sorted(ids(answer)) == ["brownie", "scone"]
    assert answer["missing_ids"] == ["tart"]


async def test_an_unknown_item_is_missing_once(shop: AShop) -> None:
    assert (await shop.list_for(item_ids=["moon", "moon", "green"]))["missing_ids"] == ["moon"]


async def test_a_filter_reads_the_shopper(shop: AShop) -> None:
    answer = await for_ann(shop, count=3, filter="!(item.category in shopper.categories)")
    assert {shop.api.services.catalogue.category(item) for item in ids(answer)} == {"cake"}


async def test_a_booster_brings_up_what_it_likes(shop: AShop) -> None:
    answer = await for_ann(shop, count=2, booster='item.category == "cake" ? 10.0 : 1.0')
    assert ids(answer) == ["tart", "scone"]
    assert answer["items"][0]["score"] == 7.0


async def test_a_pin_has_its_slot_and_one_that_may_not_be_shown_is_missing(shop: AShop) -> None:
    pins = [
        {"item_id": "brownie", "position": 2},
        {"item_id": "black", "position": 1},
        {"item_id": "no", "position": 3},
    ]
    answer = await for_ann(shop, count=3, pins=pins)
    assert ids(answer) == ["oolong", "brownie", "jasmine"]
    assert answer["items"][1]["pinned"] is True
    assert answer["missing_ids"] == ["black", "no"]


async def test_what_was_shown_sinks_for_a_while(shop: AShop) -> None:
    first = await for_ann(shop, count=2, rotation_rate=1.0, rotation_time_s=600)
    assert ids(first) == ["oolong", "jasmine"]
    second = await shop.list_for(user_id="ann", count=2, rotation_rate=1.0, rotation_time_s=600)
    assert ids(second) == ["tart", "scone"]
    key = ShardKeys(shop.partition("u-ann")).shown(shop.settings.tenant, "u-ann")
    assert 0 < await shop.redis.ttl(key) <= 600
    assert ids(await shop.list_for(user_id="ann", count=2)) == ["oolong", "jasmine"]


async def test_what_was_shown_is_kept_for_the_scenario_that_wants_it_longest(shop: AShop) -> None:
    """One that counts minutes does not make another forget, and nothing is kept for longer than it counts."""
    key = ShardKeys(shop.partition("u-ann")).shown(shop.settings.tenant, "u-ann")
    await for_ann(shop, count=1, rotation_rate=1.0, rotation_time_s=5000)
    assert 600 < await shop.redis.ttl(key) <= 5000
    await shop.list_for(user_id="ann", count=1, rotation_rate=1.0, rotation_time_s=600)
    assert 600 < await shop.redis.ttl(key) <= 5000
    await shop.list_for(user_id="ann", count=1, rotation_rate=1.0, rotation_time_s=6000)
    assert 5000 < await shop.redis.ttl(key) <= 6000


async def test_a_wrong_expression_is_refused_at_the_door(shop: AShop) -> None:
    for name in ("filter", "booster"):
        answer = await shop.client.post("/v1/recommendations", json={name: "item.price <"})
        assert (answer.status_code, answer.json()["code"]) == (422, "expression_wrong")
        assert answer.json()["errors"][0]["path"] == name


async def test_all_reasons_are_told_and_recorded_where_they_are_asked_for(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "green"))
    await shop.shelved("ann", Candidate("oolong", 0.9, 0.9, "item_to_item", "green"))
    answer = await shop.list_for(user_id="ann", count=1, explain="full")
    told = [(one["code"], one["evidence"]) for one in answer["items"][0]["reasons"]]
    assert told == [
        ("because_viewed", {"item_id": "green"}),
        ("because_category", {"category": "tea"}),
        ("for_you", {}),
        ("popular", {}),
    ]
    explained = (await shop.client.get(f"/v1/explanations/{answer['recommendation_id']}")).json()
    assert [tuple(one) for one in explained["items"][0]["reasons"]] == told
    ranked = await shop.client.post("/v1/rank", json={"user_id": "ann", "item_ids": ["oolong"], "explain": "full"})
    assert len(ranked.json()["items"][0]["reasons"]) > 1


async def test_a_visitor_nobody_knows_has_boosted_and_rotated_lists_too(shop: AShop) -> None:
    """What only fills a list up is weighed like the blend: for a new visitor it is the whole list."""
    boosted = await shop.list_for(anonymous_id="new", count=1, booster='item.id == "oolong" ? 100.0 : 1.0')
    assert ids(boosted) == ["oolong"]
    rotating = {"anonymous_id": "new", "count": 1, "rotation_rate": 1.0, "rotation_time_s": 600}
    assert ids(await shop.list_for(**rotating)) == ["scone"]
    assert ids(await shop.list_for(**rotating)) == ["green"]


async def test_what_is_remembered_of_an_item_is_forgotten_when_it_changes(shop: AShop) -> None:
    cheap = {"filter": "item.price < 2.0", "count": 7}
    assert ids(await shop.list_for(**cheap)) == []
    changed = await shop.client.patch("/v1/items/tart", json={"price": {"price": "1.50", "currency": "EUR"}})
    answer = await shop.list_for(**cheap, min_token=changed.json()["consistency_token"])
    assert ids(answer) == ["tart"]
