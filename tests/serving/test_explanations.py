"""A list explained from its record: the same list again, whatever has changed since, and why an item is not in it."""

import asyncio
from typing import Any

from msgspec import structs
from redis.asyncio import Redis

from features.catalog import Stock
from infra.kafka import Outgoing
from infra.kafka_posting import Poster
from infra.metrics import OF_API, Metrics
from infra.settings import Settings
from infra.topics import DECISIONS
from models.candidates import Candidate
from serving.decision_log import MAX_KEPT_BYTES, DecisionLog
from serving.decisions import encode, name_of
from serving.topic import Topic
from tests.serving.shop import AShop, ids, items, opened

SHELF = tuple(Candidate(i, 0.9 - n / 10, 0.9, "tower") for n, i in enumerate(("oolong", "black", "tart", "scone")))


async def explained(shop: AShop, answer: dict[str, Any], item_id: str | None = None) -> dict[str, Any]:
    query = {} if item_id is None else {"item_id": item_id}
    found = await shop.client.get(f"/v1/explanations/{answer['recommendation_id']}", params=query)
    assert found.status_code == 200, found.text
    return dict(found.json())


async def test_it_is_made_again_from_the_record_after_everything_has_changed(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "jasmine"), ("add_to_cart", "oolong"))
    await shop.shelved("ann", *SHELF)
    answer = await shop.list_for(user_id="ann", count=2)
    assert ids(answer) == ["tart", "scone"]
    await shop.met("ann", ("purchase", "tart"), ("add_to_cart", "scone"))
    await shop.client.patch("/v1/items/tart", json={"stock": {"available": False}})
    told = await explained(shop, answer)
    assert told["made_again"] is True
    assert [one["item_id"] for one in told["items"]] == ["tart", "scone"]
    assert told["shopper_id"] == "u-ann"
    assert told["used"]["cart"] == ["oolong"]
    assert told["versions"]["policy"] == answer["policy_version"]
    assert told["dropped"] == {"in_cart": 1, "out_of_stock": 1}


async def test_an_item_that_several_sources_brought_is_dropped_once(shop: AShop) -> None:
    await shop.met("ann", ("add_to_cart", "oolong"))
    await shop.shelved("ann", *SHELF)
    told = await explained(shop, await shop.list_for(user_id="ann", count=7))
    assert told["dropped"] == {"in_cart": 1, "out_of_stock": 1}


async def test_each_item_that_is_not_there_has_a_stage_and_a_rule(shop: AShop) -> None:
    await shop.met("ann", ("add_to_cart", "oolong"))
    await shop.shelved("ann", *SHELF)
    pin = [{"item_id": "green", "position": 2}]
    answer = await shop.list_for(user_id="ann", count=2, pins=pin, exclude_item_ids=["tart"])
    assert ids(answer) == ["scone", "green"]

    async def why(item_id: str) -> tuple[str | None, str | None]:
        item = (await explained(shop, answer, item_id))["item"]
        return item["stage"], item["rule"]

    assert await why("oolong") == ("dropped", "in_cart")
    assert await why("black") == ("dropped", "out_of_stock")
    assert await why("tart") == ("dropped", "excluded")
    assert await why("brownie") == ("no_candidate", None)
    assert await why("scone") == (None, None)
    pinned = (await explained(shop, answer, "green"))["item"]
    assert (pinned["position"], pinned["text"]) == (2, "It was pinned to slot 2.")


async def test_a_pin_that_is_refused_has_the_rule_that_refused_it(shop: AShop) -> None:
    """No source of the list need ever have brought the item."""
    await shop.met("ann", ("add_to_cart", "oolong"))
    await shop.shelved("ann", SHELF[2])
    wanted = ("oolong", "black", "moon", "green", "jasmine")
    pins = [{"item_id": item_id, "position": n} for n, item_id in enumerate(wanted, 1)]
    asked = {"count": 5, "strict_filtering": True, "exclude_item_ids": ["jasmine"], "filter": "item.id != 'green'"}
    answer = await shop.list_for(user_id="ann", pins=pins, **asked)
    assert (ids(answer), answer["missing_ids"]) == (["tart"], list(wanted))
    told = await explained(shop, answer)
    rules = ("in_cart", "out_of_stock", "unknown_item", "filtered", "excluded")
    assert (told["made_again"], told["dropped"]) == (True, dict.fromkeys(rules, 1))
    for item_id, rule in zip(wanted, rules, strict=True):
        item = (await explained(shop, answer, item_id))["item"]
        assert (item["stage"], item["rule"]) == ("dropped", rule)


async def test_a_record_of_another_process_is_found_on_the_log_and_that_of_another_tenant_is_not(
    shop: AShop, settings: Settings, redis: Redis
) -> None:
    answer = await shop.list_for(count=2)
    async with opened(settings, redis, items(black=Stock(available=False))) as other:
        strange = await other.client.get(f"/v1/explanations/{answer['recommendation_id']}")
        assert (strange.status_code, strange.json()["code"]) == (404, "decision_not_found")
    log: DecisionLog = shop.api.services.decisions
    decision = await log.find(answer["recommendation_id"])
    log.forget()
    async with asyncio.timeout(20):
        while (await shop.client.get(f"/v1/explanations/{answer['recommendation_id']}")).status_code == 404:
            await asyncio.sleep(0.05)
    assert await log.find(answer["recommendation_id"]) == decision
    assert len(encode(decision)) < 4096


class Swallowing(Poster):
    """Takes everything and sends nothing."""

    def __init__(self) -> None:
        pass

    def post(self, record: Outgoing) -> bool:
        return record.value is not None


async def test_what_is_kept_in_memory_is_bounded_in_bytes_however_large_the_requests_are(shop: AShop) -> None:
    excluded = ["x" * 120 + str(n) for n in range(500)]
    answer = await shop.list_for(count=2, exclude_item_ids=excluded)
    decision = await shop.api.services.decisions.find(answer["recommendation_id"])
    log = DecisionLog(Swallowing(), Topic("", DECISIONS, "", embedded=True), "t", 8, Metrics(OF_API))
    for n in range(400):
        assert log.take(structs.replace(decision, recommendation_id=name_of(0, n, "f")))
    assert len(encode(decision)) > 60_000
    assert 10_000_000 < log.kept_bytes <= MAX_KEPT_BYTES
    assert (await log.find(name_of(0, 399, "f"))).at == decision.at
    log.forget()
    assert log.kept_bytes == 0


async def test_an_id_that_is_none_is_refused_and_one_that_is_not_known_is_not_found(shop: AShop) -> None:
    for strange in ("r-1", "x-1-2-3", "r-zz-1-2", "r-1-2-3-4", f"r-1-{'f' * 60}-2"):
        answer = await shop.client.get(f"/v1/explanations/{strange}")
        assert (answer.status_code, answer.json()["code"]) == (422, "recommendation_id_unknown"), strange
    answer = await shop.client.get("/v1/explanations/r-1-19a0000000-abcdef")
    assert (answer.status_code, answer.json()["code"]) == (404, "decision_not_found")


async def test_what_is_only_checked_is_not_recorded(shop: AShop) -> None:
    answer = await shop.list_for(count=2, validate_only=True)
    assert (answer["items"], answer["recorded"]) == ([], False)
