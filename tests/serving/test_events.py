"""The collector: what reaches the log, what is named as wrong, and that nothing else is said to be taken."""

import json
from decimal import Decimal
from typing import Any

import httpx
from pydantic import SecretStr
from redis.asyncio import Redis

from features import events
from infra.embedded.kafka_broker import EmbeddedKafka
from infra.kafka import Follower, Record
from infra.keys import record_key
from infra.settings import Settings
from infra.topics import EVENTS
from serving import tokens
from tests.serving.shop import NOW, AShop, items, opened

VIEW: dict[str, Any] = {
    "event_id": "e1",
    "event_name": "view_item",
    "occurred_at": NOW.isoformat(),
    "user_id": "ann",
    "items": [{"item_id": "oolong"}],
}


def on_the_log(shop: AShop, token: str) -> list[Record]:
    """The records that a token points at."""
    found = []
    for partition, offset in tokens.decode(token)[shop.log].items():
        follower = Follower(shop.settings.kafka, EVENTS, {partition: offset}, embedded=True)
        found += follower.read(1, 10.0)
        follower.close()
    return found


async def test_an_accepted_event_is_on_the_log_completed_and_in_its_shoppers_partition(shop: AShop) -> None:
    answer = await shop.client.post("/v1/events", json=[VIEW])
    assert answer.status_code == 202
    said = answer.json()
    assert (said["accepted"], said["rejected"]) == (1, [])
    (record,) = on_the_log(shop, said["consistency_token"])
    assert record.partition == shop.partition("u-ann")
    assert record.key == record_key(shop.settings.tenant, "u-ann").encode()
    event = events.decode(record.value or b"")
    (line,) = event.items
    assert (line.category, line.brand, line.price) == ("tea", "Maison", Decimal("2.50"))
    assert (event.event_id, event.tenant, event.currency) == ("e1", shop.settings.tenant, "EUR")
    assert event.received_at is not None


async def test_good_events_of_a_mixed_batch_are_taken_and_bad_ones_named(shop: AShop) -> None:
    bad = VIEW | {"event_id": "e2", "event_name": "gaze"}
    worse = VIEW | {"event_id": "e3", "items": [{"item_id": "x"}, {"item_id": "y", "quantity": 0}]}
    answer = await shop.client.post("/v1/events", json=[bad, VIEW, worse, 7, VIEW | {"user_id": "bob"}])
    assert answer.status_code == 202
    said = answer.json()
    assert said["accepted"] == 2
    assert [(r["index"], r["event_id"], r["code"], r["path"]) for r in said["rejected"]] == [
        (0, "e2", "unknown_event", "event_name"),
        (2, "e3", "out_of_range", "items[1].quantity"),
        (3, None, "wrong_type", ""),
    ]
    assert len(on_the_log(shop, said["consistency_token"])) == len({shop.partition("u-ann"), shop.partition("u-bob")})


async def test_one_object_and_plain_text_are_taken_too(shop: AShop) -> None:
    plain = {"Content-Type": "text/plain;charset=UTF-8"}
    no_id = {name: value for name, value in VIEW.items() if name != "event_id"}
    answer = await shop.client.post("/v1/events", content=json.dumps(no_id), headers=plain)
    assert answer.status_code == 202
    (record,) = on_the_log(shop, answer.json()["consistency_token"])
    assert len(events.decode(record.value or b"").event_id) == 16


def login_of(shop: AShop, token: str) -> Record:
    """The record of a login; the device's partition has another."""
    (record,) = [one for one in on_the_log(shop, token) if one.partition == shop.partition("u-ann")]
    return record


async def test_a_login_is_an_event_of_both_ids_on_the_log(shop: AShop) -> None:
    device = shop.device_apart("ann")
    login = {"anonymous_id": device, "user_id": "ann", "traits": {"plan": "gold"}}
    sent = [await shop.client.post("/v1/identify", json=login, headers={"Idempotency-Key": "k1"}) for _ in range(2)]
    heard = []
    for answer in sent:
        assert answer.status_code == 202, answer.text
        record = login_of(shop, answer.json()["consistency_token"])
        assert record.partition == shop.partition("u-ann")
        heard.append(events.decode(record.value or b""))
    assert [one.event_id for one in heard] == ["k1", "k1"]
    first = heard[0]
    assert (first.event_name, first.anonymous_id, first.user_id) == ("identify", device, "ann")
    assert first.traits == {"plan": "gold"}
    assert first.occurred_at == first.received_at
    without_key = (await shop.client.post("/v1/identify", json=login)).json()
    record = login_of(shop, without_key["consistency_token"])
    assert len(events.decode(record.value or b"").event_id) == 16


async def test_a_login_of_one_id_or_with_more_than_is_asked_is_refused(shop: AShop) -> None:
    async def wrong(body: Any) -> tuple[int, str, str]:
        answer = await shop.client.post("/v1/identify", json=body)
        return answer.status_code, answer.json()["code"], answer.json()["errors"][0]["path"]

    assert await wrong({"user_id": "ann"}) == (422, "missing_field", "anonymous_id")
    assert await wrong({"anonymous_id": "a"}) == (422, "missing_field", "user_id")
    both = {"anonymous_id": "a", "user_id": "ann"}
    assert await wrong(both | {"user_id": "\t"}) == (422, "control_character", "user_id")
    assert await wrong(both | {"event_name": "purchase"}) == (422, "unknown_field", "event_name")
    assert await wrong(both | {"traits": {"plan": 7}}) == (422, "wrong_type", "traits[...]")


async def refused(shop: AShop, content: bytes, **headers: str) -> tuple[int, str, list[dict[str, str]]]:
    given = {"Content-Type": "application/json"} | {n.replace("_", "-"): v for n, v in headers.items()}
    answer = await shop.client.post("/v1/events", content=content, headers=given)
    assert answer.headers["content-type"] == "application/problem+json"
    said = answer.json()
    assert said["status"] == answer.status_code
    assert said["title"]
    assert said["detail"]
    assert said["retryable"] is False
    return answer.status_code, said["code"], said["errors"]


async def test_what_cannot_be_taken_is_refused_by_name(shop: AShop) -> None:
    view = json.dumps(VIEW).encode()
    assert (await refused(shop, b"{oops"))[:2] == (400, "not_json")
    assert (await refused(shop, b'{"event_name": "\xff"}'))[:2] == (400, "not_json")
    assert (await refused(shop, b""))[:2] == (400, "not_json")
    assert (await refused(shop, b"[" * 100_000))[:2] == (400, "not_json")
    assert (await refused(shop, b"[]"))[:2] == (422, "wrong_number_of_events")
    assert (await refused(shop, b"[" + b",".join([view] * 501) + b"]"))[:2] == (422, "wrong_number_of_events")
    assert (await refused(shop, b" " * (1_048_577 - len(view)) + view))[:2] == (413, "too_large")
    assert (await refused(shop, view, Content_Type="application/xml"))[:2] == (415, "unsupported_media_type")
    charset = "application/json; charset=latin-1"
    assert (await refused(shop, view, Content_Type=charset))[:2] == (415, "unsupported_charset")
    assert (await refused(shop, view, Content_Encoding="gzip"))[:2] == (415, "unsupported_encoding")
    status, code, errors = await refused(shop, json.dumps(VIEW | {"event_name": "gaze"}).encode())
    assert (status, code, [e["path"] for e in errors]) == (422, "unknown_event", ["event_name"])
    bad = [VIEW | {"occurred_at": "yesterday"}, VIEW | {"user_id": None}]
    status, code, errors = await refused(shop, json.dumps(bad).encode())
    assert (status, code) == (422, "no_valid_event")
    assert [e["path"] for e in errors] == ["[0].occurred_at", "[1].user_id"]


async def test_a_full_body_in_pieces_is_taken_up_to_the_bound(shop: AShop) -> None:
    view = json.dumps(VIEW).encode()

    async def pieces(total: int) -> Any:
        for at in range(0, total - len(view), 65_536):
            yield b" " * min(65_536, total - len(view) - at)
        yield view

    json_type = {"Content-Type": "application/json"}
    taken = await shop.client.post("/v1/events", content=pieces(1_048_576), headers=json_type)
    assert taken.status_code == 202
    over = await shop.client.post("/v1/events", content=pieces(1_048_577), headers=json_type)
    assert (over.status_code, over.json()["code"]) == (413, "too_large")


async def test_the_trace_is_carried_to_the_log_and_back(shop: AShop) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = await shop.client.post("/v1/events", json=VIEW, headers={"traceparent": trace})
    assert answer.headers["traceparent"] == trace
    other = await shop.client.post("/v1/events", json=VIEW, headers={"traceparent": "nonsense"})
    assert "traceparent" not in other.headers


async def test_without_kafka_nothing_is_said_to_be_taken_and_pages_are_still_answered(
    settings: Settings, redis: Redis
) -> None:
    broker = EmbeddedKafka(settings.partition_count, log_id="doomed")
    mine = settings.model_copy(update={"kafka": broker.start(), "embedded_log": "doomed"})
    async with opened(mine, redis, items()) as shop:
        assert (await shop.client.post("/v1/events", json=VIEW)).status_code == 202
        broker.stop()
        answer: httpx.Response = await shop.client.post("/v1/events", json=VIEW)
        assert (answer.status_code, answer.json()["code"]) == (503, "kafka_away")
        assert answer.json()["retryable"] is True
        assert int(answer.headers["retry-after"]) > 0
        assert (await shop.list_for(user_id="ann", count=3))["items"]
        ready = await shop.client.get("/health/ready")
        assert (ready.status_code, [e["path"] for e in ready.json()["errors"]]) == (503, ["kafka"])
        assert (await shop.client.get("/health/live")).status_code == 200


async def test_with_a_publishable_key_users_events_need_their_token(settings: Settings, redis: Redis) -> None:
    keyed = settings.model_copy(update={"publishable_keys": (SecretStr("pub"),), "secret_keys": (SecretStr("sec"),)})
    async with opened(keyed, redis, items()) as shop:
        public = {"X-API-Key": "pub"}
        anonymous = {n: v for n, v in VIEW.items() if n != "user_id"} | {"anonymous_id": "a" * 32}
        for body, key, status in (
            (anonymous, "pub", 202),
            (VIEW, "sec", 202),
            (VIEW, "pub", 401),
            (VIEW, "none", 401),
            ([anonymous, VIEW], "pub", 202),
        ):
            answer = await shop.client.post("/v1/events", json=body, headers={"X-API-Key": key})
            assert answer.status_code == status
        login = {"anonymous_id": "a" * 32, "user_id": "ann"}
        assert (await shop.client.post("/v1/identify", json=login, headers=public)).status_code == 401
        mixed = (await shop.client.post("/v1/events", json=[anonymous, VIEW], headers=public)).json()
        assert (mixed["accepted"], mixed["rejected"][0]["code"]) == (1, "shopper_token_required")
