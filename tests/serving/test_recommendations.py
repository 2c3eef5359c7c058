"""Page views: what is read, what is shown and why, how fresh it is, and what if something is away."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from features.catalog import Content, Item, Stock
from infra.embedded.redis_server import EmbeddedRedis
from infra.keys import ShardKeys
from infra.redis import connect
from infra.settings import Settings
from models.candidates import Candidate
from models.release import POINTER
from serving import tokens
from tests.serving.artifacts import released
from tests.serving.shop import AShop, codes, ids, items, opened

SHELF = (
    Candidate("oolong", 0.9, 0.3, "tower"),
    Candidate("black", 0.8, 0.8, "tower"),
    Candidate("tart", 0.7, 0.7, "item_to_item", "jasmine"),
    Candidate("scone", 0.6, 0.6, "popular"),
    Candidate("green", 0.5, 0.9, "repeat"),
)


async def test_the_shelf_less_what_is_in_the_cart_bought_or_sold_out(shop: AShop) -> None:
    await shop.met("ann", ("purchase", "green"), ("add_to_cart", "oolong"), ("view_item", "jasmine"))
    await shop.shelved("ann", *SHELF)
    answer = await shop.list_for(user_id="ann", count=2, include_properties=["name", "price", "currency"])
    assert ids(answer) == ["tart", "scone"]
    assert codes(answer) == ["because_viewed", "popular"]
    first = answer["items"][0]
    assert first["reasons"][0]["text"] == "Because you looked at “Jasmine”"
    assert first["reasons"][0]["evidence"] == {"item_id": "jasmine"}
    assert first["properties"] == {"name": "Tart", "price": "2.50", "currency": "EUR"}
    assert (first["position"], first["score"], first["source"], first["pinned"]) == (
        1,
        0.7,
        "item_to_item",
        False,
    )
    assert answer["fallback"] == {"used": False, "why": None}
    assert (answer["model_version"], answer["policy_version"]) == ("m1", "home-1")
    assert (answer["experiments"], answer["recorded"]) == ([], True)
    assert answer["freshness"]["stale"] is False
    assert answer["freshness"]["lag_ms"] == 0
    assert answer["freshness"]["applied_through"].endswith("Z")
    assert answer["took_ms"] >= 0


async def test_a_shelf_that_is_used_up_is_filled_from_neighbours_then_by_popularity(
    shop: AShop,
) -> None:
    await shop.met("ann", ("view_item", "tart"))
    await shop.shelved("ann", Candidate("oolong", 0.9, 0.9, "tower"))
    answer = await shop.list_for(user_id="ann", count=20)
    assert ids(answer)[:4] == ["oolong", "scone", "brownie", "green"]
    assert set(ids(answer)) == {"oolong", "scone", "brownie", "green", "jasmine", "tart"}
    assert answer["fallback"] == {"used": True, "why": "too_few_candidates"}
    assert codes(answer)[:4] == ["for_you", "because_viewed", "because_viewed", "popular"]


async def test_repeats_are_shown_where_the_scenario_allows_them(settings: Settings, redis: Redis) -> None:
    repeating = settings.model_copy(update={"repeat_scenarios": ("cart",)})
    async with opened(repeating, redis, items()) as shop:
        await shop.met("ann", ("purchase", "green"))
        await shop.shelved("ann", *SHELF)
        again = await shop.list_for(user_id="ann", scenario="cart", count=1)
        assert (ids(again), codes(again)) == (["green"], ["buy_again"])
        assert "green" not in ids(await shop.list_for(user_id="ann", count=20))


async def test_unknown_shoppers_and_items_are_answered(shop: AShop) -> None:
    for who in ({"user_id": "nobody"}, {"anonymous_id": "0" * 32}, {}):
        answer = await shop.list_for(count=3, **who)
        assert ids(answer) == ["scone", "green", "oolong"]
        assert answer["fallback"] == {"used": True, "why": "unknown_shopper" if who else "no_shopper"}
    answer = await shop.list_for(count=2, scenario="product", item_ids=["oolong", "ghost"])
    assert (ids(answer), answer["missing_ids"]) == (["jasmine", "tart"], ["ghost"])
    assert codes(answer) == ["similar_to_context"] * 2
    similar = await shop.client.get("/v1/items/ghost/similar")
    assert (similar.status_code, similar.json()["code"]) == (404, "not_found")


async def test_none_reads_nothing_of_the_person_and_session_only_the_visit(shop: AShop) -> None:
    await shop.met("ann", ("purchase", "scone"), ("add_to_cart", "green"))
    await shop.shelved("ann", *SHELF)
    none = await shop.list_for(user_id="ann", personalization="none", count=3)
    assert ids(none) == ["scone", "green", "oolong"]
    assert none["fallback"] == {"used": False, "why": None}
    await shop.met("bob", ("view_item", "tart"), session_id="s1")
    await shop.shelved("bob", *SHELF)
    session = await shop.list_for(user_id="bob", personalization="session", session_id="s1", count=2)
    assert (ids(session), codes(session)) == (["scone", "brownie"], ["because_viewed"] * 2)
    other = await shop.list_for(user_id="bob", personalization="session", session_id="s2", count=2)
    assert other["fallback"] == {"used": True, "why": "no_session"}
    assert codes(other) == ["popular", "popular"]


async def test_reasons_come_in_the_language_asked_for_or_none_at_all(shop: AShop) -> None:
    chinese = await shop.client.post(
        "/v1/recommendations", json={"count": 1}, headers={"Accept-Language": "zh-CN,zh;q=0.9"}
    )
    assert chinese.json()["items"][0]["reasons"][0]["text"] == "近期热门"
    assert (await shop.list_for(count=1, explain="none"))["items"][0]["reasons"] == []


async def test_a_request_is_checked_field_by_field(shop: AShop) -> None:
    async def wrong(body: Any) -> tuple[str, str]:
        answer = await shop.client.post("/v1/recommendations", json=body)
        assert answer.status_code == 422, answer.text
        said = answer.json()
        return said["code"], said["errors"][0]["path"]

    assert await wrong({"diversity": 1.5}) == ("out_of_range", "diversity")
    assert await wrong({"pins": [{"item_id": "x", "position": 0}]}) == ("out_of_range", "pins[0].position")
    same_slot = [{"item_id": "x", "position": 1}, {"item_id": "y", "position": 1}]
    beyond = [{"item_id": "x", "position": 6}]
    assert await wrong({"count": 5, "pins": beyond}) == ("out_of_range", "pins[0].position")
    assert await wrong({"pins": same_slot}) == ("pins_collide", "pins")
    assert await wrong({"colour": "red"}) == ("unknown_field", "colour")
    assert await wrong({"count": 0}) == ("out_of_range", "count")
    assert await wrong({"count": 101}) == ("out_of_range", "count")
    assert await wrong({"count": "7"}) == ("wrong_type", "count")
    assert await wrong({"item_ids": ["x"] * 21}) == ("too_long", "item_ids")
    assert await wrong({"item_ids": ["x", 7]}) == ("wrong_type", "item_ids[1]")
    assert await wrong({"exclude_item_ids": ["x"] * 501}) == ("too_long", "exclude_item_ids")
    assert await wrong({"scenario": "attic"}) == ("unknown_value", "scenario")
    assert await wrong({"user_id": ""}) == ("empty", "user_id")
    assert await wrong({"max_wait_ms": 2001}) == ("out_of_range", "max_wait_ms")
    assert await wrong({"include_properties": ["secret"]}) == ("unknown_value", "include_properties[0]")
    for partition in (-1, 99_999):  # of a login: who waits beside it would fail, too
        strange = tokens.encode({f"{tokens.LINK}a-x": {partition: 0}})
        assert await wrong({"user_id": "ann", "min_token": strange}) == ("wrong_token", "min_token")
    assert await wrong({"min_token": "nonsense"}) == ("wrong_token", "min_token")
    assert await wrong([]) == ("wrong_type", "")
    valid = await shop.list_for(user_id="ann", count=5, validate_only=True)
    assert valid["items"] == []


async def test_a_list_waits_for_its_token(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "tart"))
    partition = shop.partition("u-ann")
    await shop.applied(partition, 4)
    token = tokens.encode({shop.log: {partition: 5, (partition + 1) % 8: 99}})
    late = await shop.list_for(user_id="ann", min_token=token, max_wait_ms=0)
    assert late["freshness"]["stale"] is True
    waiting = asyncio.create_task(shop.list_for(user_id="ann", min_token=token, max_wait_ms=2000))
    await shop.applied(partition, 5)
    assert (await waiting)["freshness"]["stale"] is False
    elsewhere = tokens.encode({shop.log: {(partition + 1) % 8: 99}})
    assert (await shop.list_for(user_id="ann", min_token=elsewhere))["freshness"]["stale"] is False


async def test_the_lag_is_how_long_an_event_of_this_server_waits(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "tart"))
    await shop.shelved("ann", Candidate("oolong", 0.9, 0.9, "tower"))
    posted = await shop.client.post(
        "/v1/events",
        json={
            "event_name": "view_item",
            "occurred_at": "2026-11-20T10:00:00Z",
            "user_id": "ann",
            "items": [{"item_id": "tart"}],
        },
    )
    token = posted.json()["consistency_token"]
    behind = await shop.until(lambda answer: answer["freshness"]["lag_ms"] > 0, user_id="ann")
    assert ids(behind)[0] == "oolong"
    await shop.applied(shop.partition("u-ann"), tokens.decode(token)[shop.log][shop.partition("u-ann")])
    assert (await shop.list_for(user_id="ann"))["freshness"]["lag_ms"] == 0


async def test_a_namespace_that_goes_live_is_read_from_then_on(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "tart"))
    assert (await shop.list_for(user_id="ann"))["fallback"]["why"] == "no_shelf"
    partition = shop.partition("u-ann")
    await shop.redis.set(ShardKeys(partition).live, "replayed")
    assert (await shop.list_for(user_id="ann"))["fallback"]["why"] == "unknown_shopper"
    await shop.redis.delete(ShardKeys(partition).live)
    assert (await shop.list_for(user_id="ann"))["fallback"]["why"] == "no_shelf"


async def test_without_redis_lists_go_on_and_recover(settings: Settings, tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path / "redis")
    mine = settings.model_copy(update={"redis": SecretStr(server.start()), "redis_timeout_ms": 100})
    client = await connect(mine.redis, 5000)
    async with opened(mine, client, items()) as shop:
        await shop.met("ann", ("add_to_cart", "scone"))
        await shop.shelved("ann", *SHELF)
        before = await shop.list_for(user_id="ann", count=2)
        assert ids(before) == ["oolong", "black"]
        os.kill(server.pid, signal.SIGSTOP)
        token = tokens.encode({shop.log: {shop.partition("u-ann"): 0}})
        away = await shop.list_for(user_id="ann", count=3, item_ids=["oolong"], min_token=token)
        assert ids(away) == ["jasmine", "tart", "green"]
        assert away["fallback"] == {"used": True, "why": "state_unavailable"}
        assert away["freshness"] == {"applied_through": None, "lag_ms": 0, "stale": True}
        ready = await shop.client.get("/health/ready")
        assert (ready.status_code, [e["path"] for e in ready.json()["errors"]]) == (503, ["redis"])
        os.kill(server.pid, signal.SIGCONT)
        back = await shop.until(lambda answer: not answer["fallback"]["used"], user_id="ann", count=2)
        assert ids(back) == ids(before)
        assert (await shop.client.get("/health/ready")).status_code == 200
    await client.aclose()
    server.stop()


async def test_a_property_asked_for_twice_comes_once_and_each_page_gets_its_own(shop: AShop) -> None:
    for names in (["name", "price", "name"], ["price"], ["brand", "url", "available"], []):
        (item,) = (await shop.list_for(count=1, include_properties=names))["items"]
        known = {"name": "Scone", "price": "2.50", "brand": "Maison", "available": True}
        assert item["properties"] == {name: known[name] for name in names if name in known}
    raw = (await shop.client.post("/v1/recommendations", json={"count": 1, "include_properties": ["name"] * 2})).text
    assert raw.count("Scone") == 1


async def test_a_new_release_is_taken_over_without_a_restart(shop: AShop) -> None:
    assert (await shop.list_for(count=1))["model_version"] == "m1"
    released(shop.settings.models_dir, "m2", {}, {"brownie": 9.0})
    answer = await shop.until(lambda answer: answer["model_version"] == "m2", count=1)
    assert ids(answer) == ["brownie"]
    assert ids((await shop.client.get("/v1/items/oolong/similar")).json()) == []


async def test_a_broken_release_leaves_the_one_before_in_service(shop: AShop) -> None:
    released(shop.settings.models_dir, "m2", {}, {"brownie": 9.0})
    (shop.settings.models_dir / "m2" / "popularity.npy").write_bytes(b"cut")
    released(shop.settings.models_dir, "m3", {}, {"tart": 9.0})
    assert ids(await shop.until(lambda answer: answer["model_version"] == "m3", count=1)) == ["tart"]


async def test_a_release_that_cannot_be_found_out_is_told_and_lists_go_on(shop: AShop) -> None:
    (shop.settings.models_dir / POINTER).write_bytes(b"{}}")
    async with asyncio.timeout(30):
        while (ready := (await shop.client.get("/health/ready")).json())["model_wanted"] is None:
            await asyncio.sleep(0.01)
    assert (ready["status"], ready["model"], ready["model_wanted"]) == ("ready", "m1", "unknown")
    assert ids(await shop.list_for(count=1)) == ["scone"]


@pytest.mark.parametrize("stock", [Stock(available=False), Stock(quantity=0)])
async def test_only_an_empty_shop_gives_an_empty_list(settings: Settings, redis: Redis, stock: Stock) -> None:
    gone = dict.fromkeys(items(), stock)
    async with opened(settings, redis, items(**gone)) as shop:
        assert (await shop.list_for(count=5))["items"] == []


async def test_hidden_items_are_not_shown(settings: Settings, redis: Redis) -> None:
    catalogue = items() | {"scone": Item(item_id="scone", content=Content(name="Scone", hidden=True))}
    async with opened(settings, redis, catalogue) as shop:
        assert "scone" not in ids(await shop.list_for(count=50))


async def test_a_list_made_of_another_row_is_stale_even_where_the_newest_event_is_the_same(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "tart"), ("view_item", "green"))
    await shop.shelved("ann", Candidate("scone", 0.9, 0.9, "tower"))
    assert (await shop.list_for(user_id="ann"))["freshness"]["stale"] is False
    await shop.met("ann", ("view_item", "scone"), ("view_item", "green"))  # as history that was loaded would change it
    assert (await shop.list_for(user_id="ann"))["freshness"]["stale"] is True


async def test_beside_a_shelf_of_the_release_before_the_new_one_says_nothing(shop: AShop) -> None:
    """Until the worker has made the shelf anew, what goes with an item comes from the shelf's own model, too."""
    await shop.met("ann", ("view_item", "jasmine"))
    await shop.shelved("ann", Candidate("green", 0.9, 0.9, "tower"))
    asked: dict[str, Any] = {"user_id": "ann", "scenario": "product", "item_ids": ["oolong"], "count": 3}
    before = await shop.list_for(**asked)
    released(shop.settings.models_dir, "m2", {"oolong": [("scone", 0.9), ("brownie", 0.8)]}, {"scone": 1.0})
    await shop.until(lambda answer: answer["model_version"] == "m2", user_id="nobody")
    after = await shop.list_for(**asked)
    assert (ids(after), after["model_version"]) == (ids(before), "m1")
    assert "scone" not in ids(after)[:2]
    stranger = await shop.list_for(**asked | {"user_id": "nobody"})
    assert (ids(stranger)[:2], stranger["model_version"]) == (["scone", "brownie"], "m2")
