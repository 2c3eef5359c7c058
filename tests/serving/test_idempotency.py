"""Calls made again with their Idempotency-Key: one change, one answer, and no other call passes for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Redis

from infra.errors import BadInput, Conflict, KafkaAway, RedisAway
from infra.redis_lane import RedisLane
from infra.settings import Settings
from serving.idempotency import KEPT_S, UNDER_WAY_S, Asked, Once, UnderWay
from tests.serving.shop import AShop, items, opened

TEA = {"content": {"name": "Sencha", "category": "tea"}, "price": {"price": "3.10", "currency": "EUR"}}
HOME = {"name": "home", "blend": [["popular", 1]]}


def asked(body: bytes = b"body", **changed: Any) -> Asked:
    whole = {"tenant": "t", "caller": "c", "method": "PUT", "path": b"/x", "key": b"k", "body": body}
    return Asked(**(whole | changed))


@pytest.fixture
async def once(redis: Redis, redis_url: str) -> AsyncIterator[Once]:
    lane = RedisLane(SecretStr(redis_url), 1000)
    await lane.start()
    numbers = iter(range(1000))
    yield Once(lane, lambda: str(next(numbers)))
    await lane.close()


async def test_the_work_is_done_once_and_answered_alike(once: Once, redis: Redis) -> None:
    done = 0

    async def work() -> bytes:
        nonlocal done
        done += 1
        return b"answer %d" % done

    assert [await once.answer(asked(), work) for _ in range(3)] == [b"answer 1"] * 3
    with pytest.raises(Conflict) as caught:
        await once.answer(asked(b"another body"), work)
    assert (caught.value.reason, done) == ("idempotency_conflict", 1)
    (key,) = await redis.keys("*")
    assert KEPT_S - 5 < await redis.ttl(key) <= KEPT_S
    assert b"body" not in await redis.get(key), "what was sent is not kept"


async def test_a_call_under_way_is_not_made_beside_itself(once: Once, redis: Redis) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def slow() -> bytes:
        begun.set()
        await may_end.wait()
        return b"done"

    async def never() -> bytes:
        raise AssertionError("beside itself")

    first = asyncio.create_task(once.answer(asked(), slow))
    await begun.wait()
    with pytest.raises(UnderWay) as caught:
        await once.answer(asked(), never)
    assert caught.value.retryable
    (key,) = await redis.keys("*")
    assert 0 < await redis.ttl(key) <= UNDER_WAY_S, "a process that ends now does not hold the key for long"
    may_end.set()
    assert await first == b"done" == await once.answer(asked(), never)


async def test_what_failed_may_be_tried_again(once: Once) -> None:
    async def fails() -> bytes:
        raise KafkaAway("no broker")

    async def works() -> bytes:
        return b"done"

    with pytest.raises(KafkaAway):
        await once.answer(asked(), fails)
    assert await once.answer(asked(b"corrected"), works) == b"done"


async def test_who_lost_its_mark_does_not_take_anothers(once: Once, redis: Redis) -> None:
    async def too_slow() -> bytes:
        await redis.flushall()
        assert await once.answer(asked(), works) == b"the second's"
        raise KafkaAway("no broker")

    async def works() -> bytes:
        return b"the second's"

    with pytest.raises(KafkaAway):
        await once.answer(asked(), too_slow)
    assert await once.answer(asked(), too_slow) == b"the second's"


async def test_without_redis_nothing_is_done(redis_url: str) -> None:
    async def never() -> bytes:
        raise AssertionError("nothing is known of this key")

    with pytest.raises(RedisAway):
        await Once(RedisLane(SecretStr(redis_url), 1000), lambda: "n").answer(asked(), never)


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"a b", b"\xff", b"a\n"])
def test_a_key_that_is_none_is_refused(key: bytes) -> None:
    with pytest.raises(BadInput) as caught:
        asked(key=key).check()
    assert caught.value.path == "Idempotency-Key"


FIELDS = ("tenant", "caller", "method", "path", "key")
_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)


@given(st.tuples(*[_text] * 5), st.tuples(*[_text] * 5))
def test_two_calls_share_a_place_only_if_they_are_one(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    def place(of: tuple[str, ...]) -> str:
        tenant, caller, method, path, key = of
        return asked(tenant=tenant, caller=caller, method=method, path=path.encode(), key=key.encode()).place

    assert (place(one) == place(other)) is (one == other)


@pytest.fixture
async def guarded(settings: Settings, redis: Redis) -> AsyncIterator[AShop]:
    keys = {"secret_keys": (SecretStr("sec"), SecretStr("sec-2")), "operator_keys": (SecretStr("op"),)}
    async with opened(settings.model_copy(update=keys), redis, items()) as one:
        yield one


CHANGES: list[tuple[str, str, Any, Any]] = [
    ("PUT", "/v1/items/sencha", TEA, TEA | {"stock": {"available": False}}),
    ("PATCH", "/v1/items/oolong", {"stock": {"available": False}}, {"stock": {"available": True}}),
    ("DELETE", "/v1/items/oolong", None, {"a": "body, which is not read"}),
    ("POST", "/v1/items:batch", [TEA | {"item_id": "x"}], [TEA | {"item_id": "y"}]),
    ("PUT", "/v1/settings/scenario/home", HOME, HOME | {"blend": [["shelf", 1]]}),
    ("DELETE", "/v1/settings/scenario/home", None, None),
]


@pytest.mark.parametrize(("method", "path", "body", "other"), CHANGES, ids=[f"{m} {p}" for m, p, _, _ in CHANGES])
async def test_every_change_takes_a_key(guarded: AShop, method: str, path: str, body: Any, other: Any) -> None:
    async def change(sent: Any, of: str = "op", key: str = "k-1") -> httpx.Response:
        headers = {"X-API-Key": of, "Idempotency-Key": key}
        return await guarded.client.request(method, path, json=sent, headers=headers)

    first, again = await change(body), await change(body)
    assert first.status_code in (200, 202), first.text
    assert (again.status_code, again.content) == (first.status_code, first.content), "even the token is the same"
    if method != "DELETE":
        conflict = await change(other)
        assert (conflict.status_code, conflict.json()["code"]) == (409, "idempotency_conflict")
    fresh = await change(body, key="k-2")
    assert (fresh.status_code, fresh.content != first.content) == (first.status_code, True), "the log moved on"
    if "/settings/" not in path:
        of_another = await change(body, of="sec")
        assert of_another.content != first.content, "keys are each caller's own"
    wrong = await change(body, key="a b")
    assert (wrong.status_code, wrong.json()["errors"][0]["path"]) == (422, "Idempotency-Key")


async def test_the_document_says_so(guarded: AShop) -> None:
    document = (await guarded.client.get("/openapi.json")).json()
    takes = {
        (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, one in methods.items()
        if any(parameter["name"] == "Idempotency-Key" for parameter in one["parameters"])
    }
    assert takes >= {(method, path.replace("oolong", "{item_id}")) for method, path, _, _ in CHANGES[1:4]}
    assert all(method != "GET" for method, _ in takes)
