"""An SDK of Segment that points here: its calls arrive as our events, and what has no word of ours is named."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from features import events
from features.events import Event
from infra.settings import Settings
from serving import segment
from tests.serving.shop import NOW, AShop, items, opened
from tests.serving.test_events import on_the_log

TRACK: dict[str, Any] = {
    "messageId": "m1",
    "anonymousId": "d1",
    "event": "Product Added",
    "properties": {"product_id": "oolong", "quantity": 2},
    "context": {"locale": "en-US", "library": {"name": "analytics.js"}},
    "timestamp": NOW.isoformat(),
    "integrations": {"All": True},
}


async def told(shop: AShop, path: str, body: Any, status: int = 200) -> dict[str, Any]:
    answer = await shop.client.post(path, json=body)
    assert answer.status_code == status, answer.text
    return dict(answer.json())


def heard(shop: AShop, said: dict[str, Any]) -> Event:
    (record,) = on_the_log(shop, said["consistency_token"])
    return events.decode(record.value or b"")


async def test_a_track_call_is_our_event(shop: AShop) -> None:
    said = await told(shop, "/v1/track", TRACK)
    assert (said["success"], said["accepted"], said["rejected"]) == (True, 1, [])
    event = heard(shop, said)
    assert (event.event_name, event.event_id, event.anonymous_id) == ("add_to_cart", "m1", "d1")
    assert [(line.item_id, line.quantity, line.category) for line in event.items] == [("oolong", 2, "tea")]


async def test_a_page_call_needs_no_time(shop: AShop) -> None:
    page = {"anonymousId": "d1", "name": "Home", "properties": {"url": "https://shop.example/"}, "sentAt": "2026-01-01"}
    event = heard(shop, await told(shop, "/v1/page", page))
    assert event.event_name == "page_view"
    assert event.received_at is not None
    assert NOW <= event.occurred_at <= event.received_at
    assert event.sent_at is None  # nothing to correct the time with
    assert event.context is not None
    assert event.context.page == "https://shop.example/"


async def test_identify_is_taken_in_both_forms(shop: AShop) -> None:
    device = shop.device_apart("ann")
    theirs = {"messageId": "m2", "anonymousId": device, "userId": "ann", "traits": {"plan": "gold", "age": 7}}
    ours = {"anonymous_id": device, "user_id": "ann", "traits": {"plan": "gold"}}
    names = []
    for body in (theirs, ours):
        said = await told(shop, "/v1/identify", body, 202)
        found = [events.decode(one.value or b"") for one in on_the_log(shop, said["consistency_token"])]
        names.append({(one.user_id, one.anonymous_id) for one in found if one.event_name == "identify"})
    assert names == [{("ann", device)}, {("ann", device)}]
    mixed = await told(shop, "/v1/identify", ours | {"messageId": "m3"}, 422)
    assert (mixed["code"], mixed["errors"][0]["path"]) == ("unknown_field", "messageId")
    nobody = await told(shop, "/v1/identify", {"messageId": "m3"}, 422)
    assert nobody["errors"][0]["path"] == "userId"


async def test_a_batch_takes_the_good_calls_and_names_the_others(shop: AShop) -> None:
    body = {
        "batch": [
            TRACK | {"type": "track", "messageId": "b1"},
            {"type": "page", "messageId": "b2", "anonymousId": "d1"},
            TRACK | {"type": "track", "messageId": "b3", "event": "Coupon Applied"},
            {"type": "group", "messageId": "b4", "anonymousId": "d1", "groupId": "g"},
            TRACK | {"type": "track", "messageId": "b5", "properties": {"product_id": "oolong", "quantity": 0}},
            7,
            {"type": "track", "messageId": "b7", "anonymousId": "d1"},
            {"messageId": "b8", "anonymousId": "d1"},
        ],
        "sentAt": NOW.isoformat(),
        "context": {"timezone": "Europe/Amsterdam"},
    }
    said = await told(shop, "/v1/batch", body)
    assert (said["success"], said["accepted"]) == (False, 2)
    assert [(one["index"], one["event_id"], one["code"], one["path"]) for one in said["rejected"]] == [
        (2, "b3", "unknown_event", "event"),
        (3, "b4", "unknown_event", "type"),
        (4, "b5", "out_of_range", "properties.quantity"),
        (5, None, "wrong_type", ""),
        (6, "b7", "missing_field", "event"),
        (7, "b8", "missing_field", "event"),
    ]
    assert "Product Added" in said["rejected"][0]["message"]


async def test_what_a_batch_says_for_all_is_under_what_a_call_says_itself() -> None:
    first, second = segment.calls(
        {
            "batch": [TRACK | {"type": "track"}, TRACK | {"type": "track", "context": None, "sentAt": "own"}],
            "sentAt": "all",
            "context": {"locale": "nl", "timezone": "Europe/Amsterdam"},
        },
        NOW,
    )
    assert first["context"] == {**TRACK["context"], "timezone": "Europe/Amsterdam"}
    assert second["context"] == {"locale": "nl", "timezone": "Europe/Amsterdam"}
    assert (first["sentAt"], second["sentAt"]) == ("all", "own")


@pytest.mark.parametrize(
    ("path", "body", "code", "at"),
    [
        ("/v1/batch", {}, "missing_field", "batch"),
        ("/v1/batch", {"batch": 7}, "wrong_type", "batch"),
        ("/v1/batch", {"batch": []}, "wrong_number_of_events", "batch"),
        ("/v1/batch", {"batch": [{}] * 501}, "wrong_number_of_events", "batch"),
        ("/v1/batch", [], "missing_field", "batch"),
        ("/v1/track", [TRACK], "wrong_type", ""),
        ("/v1/track", TRACK | {"event": "Coupon Applied"}, "unknown_event", "event"),
        ("/v1/track", TRACK | {"event": None}, "missing_field", "event"),
        ("/v1/track", TRACK | {"anonymousId": None}, "shopper_required", "userId"),
    ],
)
async def test_what_cannot_be_taken_is_refused_by_name(shop: AShop, path: str, body: Any, code: str, at: str) -> None:
    said = await told(shop, path, body, 422)
    assert (said["code"], said["errors"][0]["path"]) == (code, at)


@pytest.fixture
async def guarded(settings: Settings, redis: Redis) -> AsyncIterator[AShop]:
    update = {"publishable_keys": (SecretStr("pub"),), "secret_keys": (SecretStr("sec"),)}
    async with opened(settings.model_copy(update=update), redis, items()) as one:
        yield one


async def test_the_key_is_the_name_of_basic_authentication(guarded: AShop) -> None:
    async def status(body: Any, user: str) -> int:
        return (await guarded.client.post("/v1/track", json=body, auth=(user, ""))).status_code

    assert await status(TRACK, "pub") == 200
    assert await status(TRACK, "other") == 401
    assert await status(TRACK | {"userId": "ann"}, "pub") == 401  # without the shopper's token
