"""Keys of the log: made and revoked while pages are answered, known by their hash alone, each with its own limits."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Redis

from infra.clock import ManualClock
from infra.kafka import Outgoing
from infra.key_records import KeyRecord, digest, key_text
from infra.keys import partition_of, record_key
from infra.setting_records import encode
from infra.settings import Settings
from infra.topics import SETTINGS
from serving.app import Api
from serving.keys import Keys
from serving.problems import Refusal, render
from serving.rate_limits import Bucket, TooMany
from tests.serving.shop import NOW, AShop, items, opened
from tests.serving.test_interface import send

LISTS = "/v1/recommendations"
SHOP, OTHER = "https://shop.example", "https://other.example"
MADE = datetime(2026, 1, 1, tzinfo=UTC)


def record(key: str, role: Any = "publishable", **more: Any) -> KeyRecord:
    return KeyRecord(sha256=hashlib.sha256(key.encode()).hexdigest(), role=role, label="x", created_at=MADE, **more)


def value(key: str, role: str = "publishable", **more: Any) -> dict[str, Any]:
    hashed = hashlib.sha256(key.encode()).hexdigest()
    return {"sha256": hashed, "role": role, "label": "site", "created_at": NOW.isoformat(), **more}


@pytest.fixture
async def keyed(settings: Settings, redis: Redis) -> AsyncIterator[AShop]:
    """A shop with one operator key in its settings."""
    with_key = settings.model_copy(update={"operator_keys": (SecretStr("op"),), "allowed_origins": (SHOP,)})
    async with opened(with_key, redis, items()) as one:
        yield one


async def put(shop: AShop, key_id: str, body: dict[str, Any]) -> httpx.Response:
    return await shop.client.put(f"/v1/settings/key/{key_id}", json=body, headers={"X-API-Key": "op"})


async def status(shop: AShop, key: str, method: str = "POST", path: str = LISTS, **headers: str) -> tuple[int, str]:
    sent = {"X-API-Key": key, **headers}
    answer = await shop.client.request(method, path, json={} if method == "POST" else None, headers=sent)
    return answer.status_code, answer.json().get("code", "")


async def until(shop: AShop, key: str, wanted: int) -> None:
    """Ask with a key until it is answered so."""
    async with asyncio.timeout(30):
        while (await status(shop, key))[0] != wanted:
            await asyncio.sleep(0.01)  # an answer from this very process lets nobody else run


async def test_a_key_is_good_when_it_is_written_and_not_when_it_is_revoked(keyed: AShop) -> None:
    assert await status(keyed, "pk") == (401, "key_required")
    assert (await put(keyed, "web", value("pk"))).status_code == 200
    await until(keyed, "pk", 200)
    assert await status(keyed, "pk", "GET", "/v1/triggers") == (403, "secret_key_required")
    other = Api(keyed.settings)
    await other.start()
    try:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=other), base_url="http://localhost") as client:
            beside = AShop(keyed.settings, keyed.redis, other, client)
            assert await status(beside, "pk") == (200, ""), "another process has it from the log"
            await put(keyed, "web", value("pk", revoked_at=NOW.isoformat()))
            for shop in (keyed, beside):
                await until(shop, "pk", 401)
    finally:
        await other.stop()
    held = (await keyed.client.get("/v1/settings/key/web", headers={"X-API-Key": "op"})).json()
    assert held["value"]["revoked_at"] is not None, "who it was stays on the record"


async def test_neither_a_key_nor_its_hash_is_ever_told(keyed: AShop) -> None:
    await put(keyed, "web", value("pk"))
    await until(keyed, "pk", 200)
    hashed = hashlib.sha256(b"pk").hexdigest()
    for path in ("/v1/settings/key", "/v1/settings/key/web"):
        told = await keyed.client.get(path, headers={"X-API-Key": "op"})
        assert told.status_code == 200
        assert hashed not in told.text
        assert "sha256" not in told.text
    for key, code in (("pk", 403), ("nobody's", 401)):
        assert (await keyed.client.get("/v1/settings/key", headers={"X-API-Key": key})).status_code == code


@pytest.mark.parametrize(
    ("wrong", "code", "path"),
    [
        ({"sha256": "pk"}, "wrong_form", "sha256"),
        ({"role": "root"}, "unknown_value", "role"),
        ({"created_at": "2026-01-01T00:00:00"}, "time_without_offset", "created_at"),
        ({"allowed_origins": ["shop.example"]}, "wrong_form", "allowed_origins[0]"),
        ({"allowed_origins": [SHOP], "role": "secret"}, "not_for_pages", "allowed_origins"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "out_of_range", "expires_at"),
        ({"burst": 3}, "missing_field", "burst"),
        ({"key": "pk"}, "unknown_field", "key"),
    ],
)
async def test_a_record_that_will_not_do_is_refused(keyed: AShop, wrong: Any, code: str, path: str) -> None:
    answer = await put(keyed, "web", value("pk") | wrong)
    assert answer.status_code == 422, answer.text
    assert (answer.json()["code"], answer.json()["errors"][0]["path"]) == (code, path)


async def test_a_record_that_cannot_be_read_closes_the_key(keyed: AShop) -> None:
    await put(keyed, "web", value("pk"))
    await until(keyed, "pk", 200)
    key = record_key(keyed.settings.tenant, "key", "web")
    later = encode(b'{"sha512":"of a later version"}', NOW, "somebody")
    await send(keyed.settings, Outgoing(SETTINGS, partition_of(key, 8), key, later))
    await until(keyed, "pk", 401)


async def test_a_key_of_another_tenant_is_nobodys(keyed: AShop, settings: Settings, redis: Redis) -> None:
    await put(keyed, "web", value("sk", "secret"))
    await until(keyed, "sk", 200)
    with_key = settings.model_copy(update={"operator_keys": (SecretStr("op-of-another"),)})
    async with opened(with_key, redis, items()) as other:
        for key in ("sk", "op"):
            assert await status(other, key) == (401, "key_required")
        assert (await other.client.get("/v1/settings/key", headers={"X-API-Key": "op-of-another"})).json() == {
            "settings": []
        }


async def test_pages_of_a_keys_own_origins_may_call_and_no_others(keyed: AShop) -> None:
    await put(keyed, "web", value("own", allowed_origins=[OTHER]))
    await put(keyed, "any", value("any"))
    await until(keyed, "own", 200)
    await until(keyed, "any", 200)
    assert await status(keyed, "own", Origin=OTHER) == (200, "")
    assert await status(keyed, "any", Origin=SHOP) == (200, "")
    for key, origin in (("own", SHOP), ("any", OTHER), ("own", "https://third.example")):
        answer = await keyed.client.post(LISTS, json={}, headers={"X-API-Key": key, "Origin": origin})
        assert (answer.status_code, answer.json()["code"]) == (403, "origin_not_allowed")
        assert "access-control-allow-origin" not in answer.headers
    for origin, allowed in ((SHOP, 204), (OTHER, 204), ("https://third.example", 403)):
        asked = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        assert (await keyed.client.options(LISTS, headers=asked)).status_code == allowed


async def test_a_key_that_calls_too_often_is_told_when_to_come_again(keyed: AShop) -> None:
    await put(keyed, "slow", value("slow", requests_per_s=0.001, burst=2))
    await put(keyed, "quick", value("quick"))
    await until(keyed, "quick", 200)
    await until(keyed, "slow", 200)
    for _ in range(2):
        answer = await keyed.client.post(LISTS, json={}, headers={"X-API-Key": "slow", "Origin": SHOP})
    assert (answer.status_code, answer.json()["code"], answer.json()["retryable"]) == (429, "rate_limited", True)
    assert 900 < int(answer.headers["retry-after"]) <= 1000
    assert answer.headers["access-control-allow-origin"] == SHOP, "its page can read that, and wait"
    assert await status(keyed, "quick") == (200, "")


def test_the_end_of_the_last_key_opens_nothing_and_one_that_cannot_be_read_neither() -> None:
    keys = Keys([], [])
    here: dict[str, Any] = {"client": ("127.0.0.1", 1), "headers": [], "query_string": b""}
    assert keys.known(here, {}).role == "operator"
    keys.take("k", record("pk"))
    for after in (record("pk", revoked_at=MADE), None):
        keys.take("k", after)
        with pytest.raises(Refusal, match="known key"):
            keys.known(here, {b"x-api-key": b"pk"})
    unread = Keys([], [])
    unread.take("k", None)
    with pytest.raises(Refusal, match="known key"):
        unread.known(here, {})


def test_keys_of_the_settings_stand_and_a_key_expires() -> None:
    clock = ManualClock(int(MADE.timestamp() * 1000))
    keys = Keys([], [SecretStr("sk")], clock=clock)
    keys.take("k", record("sk", revoked_at=MADE))
    keys.take("short", record("pk", expires_at=MADE + timedelta(hours=1)))
    assert keys.known({}, {b"x-api-key": b"sk"}).role == "secret"
    assert keys.known({}, {b"x-api-key": b"pk"}).name == "key:short"
    clock.move_ms(3_600_000)
    with pytest.raises(Refusal) as caught:
        keys.known({}, {b"x-api-key": b"pk"})
    assert (caught.value.http_status, caught.value.reason) == (401, "key_expired")


def test_one_keys_change_does_not_fill_its_bucket() -> None:
    now = 0.0
    keys = Keys([], [], requests_per_s=1.0, monotonic=lambda: now)

    def call() -> None:
        keys.count(keys.known({}, {b"x-api-key": b"pk"}))

    keys.take("k", record("pk"))
    call()
    call()
    keys.take("k", record("pk", allowed_origins=(SHOP,)))
    with pytest.raises(TooMany):
        call()
    now = 1.0
    call()


@given(per_s=st.floats(0.01, 1000), burst=st.integers(1, 100), gaps=st.lists(st.floats(0, 5), min_size=1, max_size=200))
def test_no_more_is_let_through_than_the_burst_and_the_rate(per_s: float, burst: int, gaps: list[float]) -> None:
    bucket, now, passed = Bucket(per_s, burst, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        try:
            bucket.take(now)
            passed += 1
        except TooMany as refused:
            wait_s = refused.retry_after_s
            assert wait_s >= 1
            again = Bucket(per_s, burst, 0.0)
            again._held, again._at_s = bucket._held, now
            again.take(now + wait_s)  # who comes again when told to is let through
    assert passed <= burst + per_s * now + 1e-6


def test_a_limit_says_when_to_come_again() -> None:
    told, _, headers = render(TooMany(3.2))
    assert (told, dict(headers)[b"retry-after"]) == (429, b"4")


def test_a_key_says_what_it_is_and_is_known_by_its_hash() -> None:
    assert key_text("secret", bytes(32)) == "sk_" + "A" * 43
    assert digest(b"pk").hex() == hashlib.sha256(b"pk").hexdigest()
