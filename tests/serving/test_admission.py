"""What a process takes upon itself: bounds, who is always answered, and that one long turn is no overload."""

import asyncio

import pytest
from redis.asyncio import Redis

from infra.metrics import OF_API, Metrics
from infra.settings import Settings
from serving import tokens
from serving.admission import Admission, Overloaded
from tests.serving.shop import AShop, items, opened


def an_admission() -> Admission:
    return Admission(3, 2, 0.025, Metrics(OF_API))


def test_what_is_under_way_and_what_is_worked_on_are_bounded() -> None:
    admission = an_admission()
    for busy, working, refused in ((3, 2, False), (4, 2, True), (3, 3, True), (3, 0, False)):
        admission.busy, admission.working = busy, working
        if refused:
            with pytest.raises(Overloaded) as caught:
                admission.check()
            assert caught.value.retryable
        else:
            admission.check()
    admission.working = 3
    with admission.aside():
        admission.check()
    with pytest.raises(Overloaded):
        admission.check()


def test_one_long_turn_is_no_overload_two_in_a_row_are_until_the_next_short_one() -> None:
    admission = an_admission()
    for lag_s, refused in ((0.5, False), (0.02, False), (0.03, False), (0.03, True), (0.03, True), (0.02, False)):
        admission.looked(lag_s)
        if refused:
            with pytest.raises(Overloaded):
                admission.check()
        else:
            admission.check()


async def test_the_loop_is_looked_at() -> None:
    metrics = Metrics(OF_API)
    admission = Admission(1, 1, 10.0, metrics)
    watching = asyncio.ensure_future(admission.watch())
    async with asyncio.timeout(20):
        while b"daogou_loop_lag_seconds 0.0\n" in metrics.text():
            await asyncio.sleep(0.01)
    watching.cancel()


async def test_beyond_the_bound_requests_are_refused_and_health_and_metrics_are_answered(
    settings: Settings, redis: Redis
) -> None:
    async with opened(settings.model_copy(update={"requests_max": 3, "working_max": 1}), redis, items()) as shop:
        never = tokens.encode({shop.log: {shop.partition("u-ann"): 10**12}})
        wait = {"user_id": "ann", "min_token": never, "max_wait_ms": 2000}
        held = [asyncio.ensure_future(shop.client.post("/v1/recommendations", json=wait)) for _ in range(3)]
        async with asyncio.timeout(20):
            while (refused := await shop.client.post("/v1/recommendations", json={})).status_code == 200:
                await asyncio.sleep(0)
        assert refused.status_code == 503
        assert refused.json()["code"] == "overloaded"
        assert refused.headers["retry-after"] == "1"
        assert [(await shop.client.get(path)).status_code for path in ("/health/live", "/metrics")] == [200, 200]
        assert 'daogou_requests_refused_total{why="busy"}' in (await shop.client.get("/metrics")).text
        assert {one.status_code for one in await asyncio.gather(*held)} == {200}
        assert (await shop.client.post("/v1/recommendations", json={})).status_code == 200


async def test_a_caller_who_goes_away_holds_no_place(shop: AShop) -> None:
    never = tokens.encode({shop.log: {shop.partition("u-ann"): 10**12}})
    admission = next(iter(shop.api._routes._direct.values()))._admission
    asked = asyncio.ensure_future(
        shop.client.post("/v1/recommendations", json={"user_id": "ann", "min_token": never, "max_wait_ms": 2000})
    )
    async with asyncio.timeout(20):
        while admission.busy == 0:
            await asyncio.sleep(0)
    asked.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asked
    assert (admission.busy, admission.working) == (0, 0)
