"""The rest of the interface: items, messages, keys, pages, documents, and routes that are none."""

import asyncio
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from redis.asyncio import Redis

from features.events import EVENT_NAMES
from features.messages import Copy, Trigger, TriggerItem
from infra.errors import BadInput, SettingWrong
from infra.kafka import Outgoing, Producer
from infra.keys import partition_of, record_key
from infra.settings import Settings
from infra.topics import TRIGGERS
from serving.app import Api
from serving.expressions import ITEM_FIELDS, SHOPPER_FIELDS
from serving.recommendation_types import BOOSTER_SAID, FILTER_SAID
from serving.topic import open_topic
from serving.triggers import TriggerLog, TriggersQuery
from tests.serving.artifacts import released
from tests.serving.shop import NOW, AShop, ids, items, opened

TEA = {
    "content": {"name": "Sencha", "category": "tea"},
    "price": {"price": "3.10", "currency": "EUR"},
    "stock": {"available": True, "quantity": 3},
}


async def test_a_change_of_an_item_is_in_the_next_list_that_waits_for_it(shop: AShop) -> None:
    async def change(method: str, body: Any, item_id: str = "sencha/2") -> dict[str, Any]:
        answer = await shop.client.request(method, f"/v1/items/{item_id}", json=body)
        assert answer.status_code == 202, answer.text
        token = answer.json()["consistency_token"]
        after = await shop.list_for(
            count=50, include_properties=["price", "quantity"], min_token=token, max_wait_ms=2000
        )
        assert after["freshness"]["stale"] is False
        return {item["item_id"]: item["properties"] for item in after["items"]}

    assert (await change("PUT", TEA))["sencha/2"] == {"price": "3.10", "quantity": 3}
    price = {"price": {"price": "2.90", "currency": "EUR"}}
    assert (await change("PATCH", price))["sencha/2"] == {"price": "2.90", "quantity": 3}
    assert "sencha/2" not in await change("PATCH", {"stock": {"available": True, "quantity": 0}})
    assert "sencha/2" in await change("PATCH", {"stock": {"available": True}})
    assert "sencha/2" not in await change("DELETE", None)


async def test_wrong_changes_of_items_are_refused(shop: AShop) -> None:
    async def refused(method: str, path: str, body: Any) -> tuple[int, str]:
        answer = await shop.client.request(method, path, json=body)
        return answer.status_code, answer.json()["code"]

    assert await refused("PATCH", "/v1/items/ghost", {"stock": {"available": False}}) == (404, "not_found")
    assert await refused("PATCH", "/v1/items/oolong", {}) == (422, "missing_field")
    assert await refused("PUT", "/v1/items/x", {}) == (422, "missing_field")
    assert await refused("PUT", "/v1/items/x", TEA | {"colour": 1}) == (422, "unknown_field")
    wrong_price = TEA | {"price": {"price": "-1", "currency": "EUR"}}
    assert (await refused("PUT", "/v1/items/x", wrong_price))[0] == 422
    assert (await refused("PUT", f"/v1/items/{'x' * 257}", TEA)) == (422, "wrong_form")


async def test_what_goes_with_an_item(shop: AShop) -> None:
    answer = await shop.client.get("/v1/items/oolong/similar?count=1&include_properties=name,price")
    (item,) = answer.json()["items"]
    assert (item["item_id"], item["properties"]) == ("jasmine", {"name": "Jasmine", "price": "2.50"})
    # Black tea is sold out, and nothing goes with itself.
    released(shop.settings.models_dir, "m2", {"oolong": [("black", 0.9), ("oolong", 0.8), ("tart", 0.5)]}, {})
    await shop.until(lambda answer: answer["model_version"] == "m2", count=1)
    assert ids((await shop.client.get("/v1/items/oolong/similar")).json()) == ["tart"]
    for query in ("count=0", "count=101", "count=x", "include_properties=secret", "colour=red"):
        wrong = await shop.client.get(f"/v1/items/oolong/similar?{query}")
        assert (wrong.status_code, wrong.json()["errors"][0]["path"][:5]) == (422, query[:5])


def a_trigger(tenant: str, shopper: str, n: int) -> Outgoing:
    record = Trigger(
        trigger_id=f"t-{shopper}-{n}",
        kind="cart_abandoned",
        tenant=tenant,
        shopper_id=shopper,
        channels=("email",),
        items=(TriggerItem(item_id="oolong", name="Oolong", price=Decimal("2.50"), currency="EUR"),),
        copy=Copy(subject="s", title="t", body="b", locale="en"),
        eligible_at=NOW,
        expires_at=NOW,
        consent_basis="none",
    )
    key = record_key(tenant, shopper)
    return Outgoing(TRIGGERS, partition_of(key, 8), key, msgspec.json.encode(record))


async def send(settings: Settings, *records: Outgoing) -> None:
    producer = Producer(settings.kafka, embedded=True)
    await producer.start()
    await producer.send_many(records)
    producer.close()


async def pages(log: TriggerLog, after: str | None, limit: int = 3) -> tuple[list[str], str | None]:
    """All messages from a cursor on, a page at a time."""
    heard: list[str] = []
    while True:
        page = await log.page(TriggersQuery(after=after, limit=limit))
        heard += [trigger.trigger_id for trigger in page.triggers]
        if page.next == after or page.next is None:
            return heard, after
        after = page.next


async def test_every_message_comes_once_behind_the_cursor(shop: AShop) -> None:
    tenant = shop.settings.tenant
    sent = [a_trigger(tenant, f"u-{who}", n) for n in range(4) for who in ("ann", "bob", "cid")]
    foreign = a_trigger("somebody-else", "u-ann", 9)
    broken = Outgoing(TRIGGERS, 0, record_key(tenant, "u-x"), b"{}")
    await send(shop.settings, *sent[:8], foreign, broken)

    async def heard_until(cursor: str | None, count: int) -> tuple[list[str], str]:
        heard: list[str] = []
        async with asyncio.timeout(30):
            while len(heard) < count:
                query = {"limit": 5} | ({"after": cursor} if cursor else {})
                answer = (await shop.client.get("/v1/triggers", params=query)).json()
                heard += [trigger["trigger_id"] for trigger in answer["triggers"]]
                cursor = answer["next"]
                await asyncio.sleep(0.01)  # an answer from this very process lets nobody else run
        assert cursor is not None
        return heard, cursor

    first, cursor = await heard_until(None, 8)
    await send(shop.settings, *sent[8:])
    second, _ = await heard_until(cursor, 4)
    wanted = {f"t-u-{who}-{n}" for n in range(4) for who in ("ann", "bob", "cid")}
    assert sorted(first + second) == sorted(wanted)
    wrong = await shop.client.get("/v1/triggers?after=nonsense")
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "after")
    assert (await shop.client.get("/v1/triggers?limit=501")).status_code == 422


async def test_messages_older_than_those_held_are_read_from_the_log(settings: Settings) -> None:
    await send(settings, *(a_trigger("long", "u-ann", n) for n in range(20)))
    topic = await asyncio.to_thread(open_topic, settings.kafka, TRIGGERS, settings.embedded_log)
    log = TriggerLog(topic, "long", held=2)
    await log.start()
    following = asyncio.create_task(log.run())
    async with asyncio.timeout(30):
        heard, cursor = await pages(log, None)
        while len(heard) < 20:
            await asyncio.sleep(0.01)
            more, cursor = await pages(log, cursor)
            heard += more
    assert heard == [f"t-u-ann-{n}" for n in range(20)]
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    with pytest.raises(BadInput):
        await log.page(TriggersQuery(after="x"))


async def test_a_publishable_key_may_ask_for_lists_not_for_a_users(settings: Settings, redis: Redis) -> None:
    keys = {"publishable_keys": (SecretStr("pub"),), "secret_keys": (SecretStr("sec"),)}
    async with opened(settings.model_copy(update=keys), redis, items()) as shop:

        async def status(key: str, method: str, path: str, body: Any = None) -> tuple[int, str]:
            answer = await shop.client.request(method, path, json=body, headers={"X-API-Key": key})
            return answer.status_code, answer.json().get("code", "")

        lists = "/v1/recommendations"
        assert await status("pub", "POST", lists, {"anonymous_id": "a" * 32}) == (200, "")
        assert await status("pub", "POST", lists, {"user_id": "ann"}) == (401, "shopper_token_required")
        none = {"user_id": "ann", "personalization": "none"}
        assert await status("pub", "POST", lists, none) == (200, "")
        assert await status("sec", "POST", lists, {"user_id": "ann"}) == (200, "")
        assert await status("bad", "POST", lists, {}) == (401, "key_required")
        assert await status("pub", "GET", "/v1/items/oolong/similar") == (200, "")
        assert await status("pub", "GET", "/v1/triggers") == (403, "secret_key_required")
        assert await status("sec", "GET", "/v1/triggers") == (200, "")
        assert await status("pub", "PUT", "/v1/items/x", TEA) == (403, "secret_key_required")
        assert await status("pub", "GET", "/page/shoppers") == (403, "secret_key_required")
        assert await status("", "GET", "/health/live") == (200, "")


def test_beyond_loopback_only_with_keys(settings: Settings) -> None:
    with pytest.raises(SettingWrong, match="DAOGOU_HOST"):
        Api(settings.model_copy(update={"host": "0.0.0.0"}))


async def test_paths_and_methods_that_are_not_there(shop: AShop) -> None:
    async def problem(method: str, path: str) -> tuple[int, str, str | None]:
        answer = await shop.client.request(method, path)
        assert answer.headers["content-type"] == "application/problem+json"
        return answer.status_code, answer.json()["code"], answer.headers.get("allow")

    assert await problem("GET", "/nothing") == (404, "not_found", None)
    assert await problem("GET", "/v1/events/") == (404, "not_found", None)
    assert await problem("GET", "/v1/events") == (405, "method_not_allowed", "POST")
    assert await problem("POST", "/v1/items/x") == (405, "method_not_allowed", "DELETE, GET, HEAD, PATCH, PUT")
    assert await problem("DELETE", "/") == (405, "method_not_allowed", "GET, HEAD")


async def test_the_document_covers_every_route_and_every_reference_is_there(shop: AShop) -> None:
    document = (await shop.client.get("/openapi.json")).json()
    shown = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert shown >= {
        ("POST", "/v1/events"),
        ("POST", "/v1/identify"),
        ("POST", "/v1/recommendations"),
        ("GET", "/v1/items/{item_id}/similar"),
        ("PUT", "/v1/items/{item_id}"),
        ("PATCH", "/v1/items/{item_id}"),
        ("DELETE", "/v1/items/{item_id}"),
        ("GET", "/v1/explanations/{recommendation_id}"),
        ("GET", "/v1/triggers"),
        ("PUT", "/v1/settings/{kind}/{id}"),
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
    }
    text = json.dumps(document)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', text):
        assert name in document["components"]["schemas"]
    assert r"\\A" not in text
    request = document["components"]["schemas"]["RecommendationRequest"]
    assert request["properties"]["count"] == {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}
    assert request["additionalProperties"] is False
    event = document["components"]["schemas"]["Event"]
    assert sorted(event["required"]) == ["event_name", "occurred_at"]
    assert event["properties"]["event_name"] == {"enum": sorted(EVENT_NAMES)}
    assert not {"received_at", "tenant", "load_id", "replay_id"} & event["properties"].keys()
    events = document["paths"]["/v1/events"]["post"]
    (array,) = [one for one in _alternatives(events) if one.get("type") == "array"]
    assert (array["minItems"], array["maxItems"]) == (1, 500)
    assert {"202", "400", "401", "413", "415", "422", "503"} <= events["responses"].keys()


def _alternatives(operation: dict[str, Any]) -> list[dict[str, Any]]:
    return list(operation["requestBody"]["content"]["application/json"]["schema"]["anyOf"])


async def test_the_pages_need_nothing_from_elsewhere(shop: AShop) -> None:
    for path in ("/", "/docs"):
        page = await shop.client.get(path)
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert not re.findall(r"(?:src|href)=\"(?:https?:)?//", page.text)
    await shop.met("ann", ("view_item", "oolong"))
    assert (await shop.client.get("/page/shoppers")).json() == ["ann"]


async def test_the_page_speaks_both_languages_alike(shop: AShop) -> None:
    page = (await shop.client.get("/")).text
    english, chinese = (re.search(rf"\n  {lang}: {{(.*?) }},\n", page, re.S) for lang in ("en", "zh"))
    assert english is not None
    assert chinese is not None
    keys = re.compile(r"(?:^|,\s*)\s*(\w+):\"")
    assert sorted(keys.findall(english[1])) == sorted(keys.findall(chinese[1]))
    asked = set(re.findall(r"\bt\(\"(\w+)\"", page)) | set(re.findall(r"data-t=\"(\w+)\"", page))
    assert asked <= set(keys.findall(english[1]))


async def test_what_the_page_asks_of_shop_and_shopper(shop: AShop) -> None:
    facts = (await shop.client.get("/page/shop")).json()
    assert facts == {"items": 6, "cart_abandoned_s": shop.settings.cart_abandoned_s}
    await shop.met("ann", ("view_item", "oolong"))
    assert (await shop.client.get("/page/shopper?user_id=ann")).json()["last_purchase_at"] is None
    await shop.met("ann", ("purchase", "oolong"))
    told = (await shop.client.get("/page/shopper?user_id=ann")).json()
    assert told["last_purchase_at"] <= told["now"]
    assert (await shop.client.get("/page/shopper?anonymous_id=nobody")).json()["last_purchase_at"] is None
    assert (await shop.client.get("/page/shopper")).json()["code"] == "shopper_required"


@pytest.mark.parametrize(
    ("asked", "path", "said"),
    [
        ({"count": 0}, "count", "count must be a whole number from 1 to 100."),
        ({"count": "many"}, "count", "count must be a whole number from 1 to 100."),
        ({"user_id": ""}, "user_id", "user_id must be text of 1 to 256 characters."),
        ({"item_ids": 7}, "item_ids", "item_ids must be a list of at most 20 entries."),
        (
            {"scenario": "x"},
            "scenario",
            "scenario must be one of cart, category, home, message, product, search_empty.",
        ),
    ],
)
async def test_a_refusal_says_what_is_allowed(shop: AShop, asked: dict[str, Any], path: str, said: str) -> None:
    answer = (await shop.client.post("/v1/recommendations", json=asked)).json()
    assert (answer["errors"], answer["detail"]) == ([{"path": path, "message": said}], said)


async def test_properties_and_queries_say_what_is_allowed(shop: AShop) -> None:
    wrong = (await shop.client.post("/v1/recommendations", json={"include_properties": ["colour"]})).json()
    assert "include_properties[0] must be one of attributes, available, brand" in wrong["detail"]
    wrong = (await shop.client.get("/v1/items/oolong/similar?count=0")).json()
    assert wrong["detail"] == "count must be a whole number from 1 to 100."


async def test_an_item_that_nobody_knows_is_not_found(shop: AShop) -> None:
    answer = await shop.client.get("/v1/items/nosuch/similar")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert (await shop.client.get("/v1/items/scone/similar")).status_code == 200


async def test_the_document_says_that_further_fields_of_events_are_ignored(shop: AShop) -> None:
    document = (await shop.client.get("/openapi.json")).json()
    assert "not named here are ignored" in document["components"]["schemas"]["Event"]["description"]


async def test_the_document_says_what_a_setting_is_and_what_a_request_may_wish(shop: AShop) -> None:
    document = (await shop.client.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]

    def of(schema: dict[str, Any]) -> set[str]:
        return {one["$ref"].rpartition("/")[2] for one in schema["oneOf"]}

    body = document["paths"]["/v1/settings/{kind}/{id}"]["put"]["requestBody"]["content"]["application/json"]
    assert of(body["schema"]) == {"Scenario", "ExperimentSetting", "KeyRecord"}
    assert of(schemas["Setting"]["properties"]["value"]) == {"Scenario", "ExperimentSetting", "KeyShown"}
    assert {"Experiment", "ExperimentSetting"} <= schemas.keys(), "each by a name of its own"
    wishes = schemas["RecommendationRequest"]["properties"]
    named = "filter booster diversity rotation_rate rotation_time_s pins strict_filtering personalization explain"
    for name in (*named.split(), "min_token", "max_wait_ms"):
        assert wishes[name]["description"], name


def test_what_expressions_read_is_told_in_full() -> None:
    told = (Path(__file__).parents[2] / "docs" / "formats.md").read_text()
    for owner, fields in (("item", ITEM_FIELDS), ("shopper", SHOPPER_FIELDS)):
        for name in fields:
            for text in (FILTER_SAID, BOOSTER_SAID, told):
                assert re.search(rf"\b{owner}\.{name}\b", text), f"{owner}.{name}"


async def test_health_and_metrics(shop: AShop) -> None:
    assert (await shop.client.get("/health/live")).json() == {"status": "live"}
    ready = (await shop.client.get("/health/ready")).json()
    assert ready == {"status": "ready", "items": 7, "model": "m1", "model_wanted": None, "statistics": "none"}
    assert ids(await shop.list_for(user_id="nobody", count=2))
    await shop.client.post("/v1/events", json={"event_name": "gaze"})
    text = (await shop.client.get("/metrics")).text
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["daogou_page_fallbacks_total", "unknown_shopper"] == 1
    assert samples["daogou_items_shown_total", "popular"] == 2
    assert samples["daogou_catalog_items",] == 7
    assert samples["daogou_model_released", "m1"] == 1
    assert samples["daogou_http_seconds_count", "/v1/recommendations", "200"] == 1
    assert sum(value for name, value in samples.items() if name[0] == "daogou_events_refused_total") == 1
    assert "nobody" not in text
    assert not {name[0] for name in samples if name[0].startswith(("daogou_batch", "daogou_events_applied"))}, (
        "another's"
    )
