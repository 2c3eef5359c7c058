"""The client against the server itself, in process and over a socket, and against scripted failures."""

import asyncio
import contextlib
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
import uvicorn
from pydantic import SecretStr
from redis.asyncio import Redis

from features import events
from features.catalog import Content, Price, Stock
from features.events import Event, EventItem
from infra.settings import Settings
from serving.client import AsyncDaogou, Daogou
from serving.client_attempts import Patience, Pause, Send, attempts
from serving.client_calls import get
from serving.client_errors import (
    Away,
    Busy,
    CallFailed,
    Changed,
    EventsUnsent,
    Got,
    Invalid,
    KeyRefused,
    Missing,
    ServerFailed,
    Unreachable,
    Unreadable,
)
from serving.events import Identity
from serving.item_batches import ItemOfBatch
from serving.item_lists import ItemListQuery, TrendingQuery
from serving.items import ContentChange, ItemBody, ItemChange
from serving.paging import NextRequest
from serving.recommendation_types import RankRequest, RecommendationRequest
from tests.serving.shop import NOW, AShop, items, opened
from tests.serving.test_events import on_the_log
from tests.serving.test_users_own import token

SECRET = "sec-7f3a9c"
TOKEN_SECRET = "t" * 32
URL = "http://localhost"
VIEW: dict[str, Any] = {
    "event_name": "view_item",
    "occurred_at": NOW,
    "user_id": "ann",
    "items": [{"item_id": "oolong"}],
}
QUICK = Patience(deadline_s=5.0, attempts=3, first_pause_s=0.001, longest_pause_s=0.002)


@pytest.fixture
async def guarded(settings: Settings, redis: Redis) -> AsyncIterator[AShop]:
    update = {
        "secret_keys": (SecretStr(SECRET),),
        "operator_keys": (SecretStr("op"),),
        "publishable_keys": (SecretStr("pub"),),
        "shopper_token_secrets": (SecretStr(TOKEN_SECRET),),
    }
    async with opened(settings.model_copy(update=update), redis, items(black=Stock(available=False))) as one:
        yield one


def client_of(shop: AShop, key: str | None = None, patience: Patience = QUICK) -> AsyncDaogou:
    return AsyncDaogou(URL, key=key, patience=patience, transport=httpx.ASGITransport(app=shop.api))


async def test_events_go_out_in_portions_and_those_refused_are_named_by_their_place(shop: AShop) -> None:
    many: list[Any] = [VIEW | {"event_id": f"e{n}", "user_id": f"u{n % 7}"} for n in range(1001)]
    many[3] = VIEW | {"event_name": "gaze", "event_id": "bad"}
    many[1000] = VIEW | {"items": [], "event_id": "last"}  # alone in its call
    async with client_of(shop) as client:
        taken = await client.events(many)
        assert taken.accepted == 999
        assert [(one.index, one.event_id, one.code, one.path) for one in taken.rejected] == [
            (3, "bad", "unknown_event", "event_name"),
            (1000, "last", "items_required", "items"),
        ]
        partitions = {shop.partition(f"u-u{n}") for n in range(7)}
        assert {one.partition for one in on_the_log(shop, taken.consistency_token)} == partitions
        assert (await client.events([])).accepted == 0


async def test_an_event_of_our_type_and_one_without_an_id_arrive_as_they_are(shop: AShop) -> None:
    event = Event(
        event_name="add_to_cart",
        event_id="typed",
        occurred_at=NOW - timedelta(minutes=1),
        user_id="ann",
        items=(EventItem(item_id="oolong", price=Decimal("2.40"), quantity=2),),
        currency="EUR",
    )
    async with client_of(shop) as client:
        (record,) = on_the_log(shop, (await client.events([event])).consistency_token)
        heard = events.decode(record.value or b"")
        assert (heard.event_id, heard.items[0].price, heard.currency) == ("typed", Decimal("2.40"), "EUR")
        (record,) = on_the_log(shop, (await client.events([VIEW])).consistency_token)
        assert len(events.decode(record.value or b"").event_id) == 32


async def test_every_call_of_the_interface(shop: AShop) -> None:
    await shop.met("ann", ("view_item", "oolong"))
    async with client_of(shop) as client:
        login = await client.identify(Identity(anonymous_id="d" * 32, user_id="ann"))
        assert login.accepted == 1
        answer = await client.recommend(RecommendationRequest(user_id="ann", count=2, include_properties=("name",)))
        assert len(answer.items) == 2
        assert msgspec.json.decode(answer.items[0].properties)["name"] == answer.items[0].item_id.title()
        assert answer.next_token is not None
        more = await client.next_page(NextRequest(next_token=answer.next_token, count=2))
        assert {one.item_id for one in more.items}.isdisjoint(one.item_id for one in answer.items)
        ranked = await client.rank(RankRequest(item_ids=("tart", "ghost"), user_id="ann"))
        assert ([one.item_id for one in ranked.items], ranked.missing_ids) == (["tart"], ["ghost"])
        similar = await client.similar("oolong", ItemListQuery(count=1, include_properties=("name", "price")))
        assert [one.item_id for one in similar.items] == ["jasmine"]
        await client.bought_together("oolong")
        await client.trending(TrendingQuery(category="tea"))
        assert len((await client.recommend()).items) > 0


async def test_items_are_put_changed_and_taken_out(shop: AShop) -> None:
    price = Price(price=Decimal("3.10"), currency="EUR")
    async with client_of(shop) as client:
        put = await client.put_item("a/b ü?", ItemBody(content=Content(name="Sencha"), price=price))
        assert (await client.item("a/b ü?")).version == put.version
        change = ItemChange(content=ContentChange(brand="Maison"), version=put.version)
        await client.patch_item("a/b ü?", change)
        known = await client.item("a/b ü?")
        assert (known.content, known.price) == (Content(name="Sencha", brand="Maison"), price)
        with pytest.raises(Changed) as caught:
            await client.patch_item("a/b ü?", change)
        assert (caught.value.code, caught.value.path, caught.value.status) == ("conflict", "version", 409)
        batch = [ItemOfBatch(item_id="x", content=Content(name="X")), ItemOfBatch(item_id="ghost", price=price)]
        taken = await client.put_items(batch)
        assert (taken.accepted, [one.index for one in taken.rejected]) == (1, [1])
        await client.delete_item("a/b ü?")
        with pytest.raises(Missing):
            await client.item("a/b ü?")


class LostAnswers(httpx.AsyncBaseTransport):
    """The server, whose first answers get lost on their way."""

    def __init__(self, shop: AShop, lost: int) -> None:
        self._server = httpx.ASGITransport(app=shop.api)
        self._lost = lost
        self.asked = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        answer = await self._server.handle_async_request(request)
        if self.asked <= self._lost:
            raise httpx.ReadError("the connection is gone")
        return answer


async def test_a_change_whose_answer_was_lost_is_no_conflict_with_itself(shop: AShop) -> None:
    transport = LostAnswers(shop, lost=2)
    async with AsyncDaogou(URL, patience=QUICK, transport=transport) as client:
        change = ItemChange(
            content=ContentChange(brand="Other"), version=shop.api.services.writer.get("oolong").version
        )
        changed = await client.patch_item("oolong", change)
        assert transport.asked == 3
        assert (await client.item("oolong")).version == changed.version


async def test_with_a_publishable_key_a_users_own_needs_the_users_token(guarded: AShop) -> None:
    async with client_of(guarded, "pub") as client:
        mine = RecommendationRequest(user_id="ann")
        with pytest.raises(KeyRefused) as caught:
            await client.recommend(mine)
        assert caught.value.code == "shopper_token_required"
        of_ann = token("ann", TOKEN_SECRET)
        assert len((await client.recommend(mine, shopper_token=of_ann)).items) > 0
        assert (await client.events([VIEW], shopper_token=of_ann)).accepted == 1
        login = Identity(anonymous_id="d" * 32, user_id="ann")
        assert (await client.identify(login, shopper_token=of_ann)).accepted == 1


async def test_settings_and_explanations(guarded: AShop) -> None:
    async with client_of(guarded, "op") as client:
        before = await client.setting("scenario", "home")
        checked = await client.put_setting("scenario", "home", before.value, validate_only=True)
        assert checked.validated_only
        written = await client.put_setting("scenario", "home", before.value)
        assert written.version is not None
        assert any(one.id == "home" for one in (await client.settings("scenario")).settings)
        await client.delete_setting("scenario", "home")
        answer = await client.recommend(RecommendationRequest(count=2))
        told = await client.explanation(answer.recommendation_id, answer.items[0].item_id)
        assert told.item is not None
        assert told.item.position == 1


async def test_refusals_are_errors_with_code_path_and_status_and_keys_are_nowhere(
    guarded: AShop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        async with client_of(guarded, SECRET) as client:
            with pytest.raises(Invalid) as invalid:
                await client.recommend(RecommendationRequest(filter="item.price <"))
            assert (invalid.value.status, invalid.value.path, invalid.value.retryable) == (422, "filter", False)
            with pytest.raises(Missing):
                await client.similar("ghost")
            with pytest.raises(KeyRefused) as refused:
                await client.settings("scenario")
            assert refused.value.code == "operator_key_required"
            assert SECRET not in repr(client) + repr(vars(client)) + repr(refused.value)
        async with client_of(guarded, SECRET[:-1]) as wrong:
            with pytest.raises(EventsUnsent) as unsent:
                await wrong.events([VIEW])
            assert (unsent.value.code, unsent.value.status, unsent.value.accepted) == ("key_required", 401, 0)
    assert SECRET[:-1] not in caplog.text


def answers(*told: tuple[int, dict[str, str], Any] | Exception) -> tuple[httpx.MockTransport, list[httpx.Request]]:
    """A server that answers in this order, and what it was asked."""
    script, asked = list(told), list[httpx.Request]()

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        one = script.pop(0)
        if isinstance(one, Exception):
            raise one
        return httpx.Response(one[0], headers=one[1], content=msgspec.json.encode(one[2]))

    return httpx.MockTransport(handle), asked


TAKEN = {"accepted": 1, "rejected": [], "consistency_token": "gA"}


def test_a_repeated_call_has_the_same_ids() -> None:
    transport, asked = answers((503, {"Retry-After": "0"}, {}), httpx.ConnectError("no"), (202, {}, TAKEN))
    with Daogou(URL, key=SECRET, patience=QUICK, transport=transport) as client:
        assert client.events([VIEW]).accepted == 1
    assert len(asked) == 3
    assert len({request.content for request in asked}) == 1
    assert len(json.loads(asked[0].content)[0]["event_id"]) == 32
    transport, asked = answers((429, {}, {}), (202, {}, TAKEN))
    with Daogou(URL, patience=QUICK, transport=transport) as client:
        client.identify(Identity(anonymous_id="a", user_id="b"))
    assert len({request.headers["idempotency-key"] for request in asked}) == 1


def test_what_was_not_sent_is_given_back_with_its_ids() -> None:
    transport, asked = answers((202, {}, TAKEN | {"accepted": 500}), *[(503, {}, {})] * 3)
    with Daogou(URL, patience=QUICK, transport=transport) as client, pytest.raises(EventsUnsent) as caught:
        client.events([VIEW] * 501)
    assert caught.value.accepted == 500
    (unsent,) = caught.value.unsent
    assert unsent["event_id"] == json.loads(asked[1].content)[0]["event_id"]


@pytest.mark.parametrize(
    ("told", "kind", "code", "tries"),
    [
        ((400, {}, {}), Invalid, "http_400", 1),
        ((429, {}, {}), Busy, "http_429", 3),
        ((500, {}, {}), ServerFailed, "http_500", 1),
        ((502, {}, "proxy"), ServerFailed, "http_502", 1),
        ((503, {"Retry-After": "soon"}, {}), Away, "http_503", 3),
        ((200, {}, {"items": 7}), Unreadable, "unreadable_answer", 1),
        (httpx.ReadTimeout(SECRET), Unreachable, "too_slow", 3),
        (httpx.RemoteProtocolError(SECRET), Unreachable, "unreachable", 3),
    ],
)
def test_failures_by_kind(told: Any, kind: type[CallFailed], code: str, tries: int) -> None:
    transport, asked = answers(*[told] * tries)
    with Daogou(URL, key=SECRET, patience=QUICK, transport=transport) as client, pytest.raises(kind) as caught:
        client.recommend()
    assert (caught.value.code, len(asked)) == (code, tries)
    assert SECRET not in repr(caught.value)


def paused(
    patience: Patience, answer: Got, random: Callable[[], float] = lambda: 1.0
) -> tuple[list[float], CallFailed]:
    """The pauses of a call that always gets this answer, by a clock that only pauses move."""
    now, pauses, told = 0.0, list[float](), None
    steps = attempts(get("/x", int), patience, lambda: now, random)
    while True:
        try:
            step = steps.send(told)
        except CallFailed as error:
            return pauses, error
        if isinstance(step, Pause):
            pauses.append(step.seconds)
            now += step.seconds
            told = None
        else:
            assert isinstance(step, Send)
            assert 0 < step.within_s <= patience.deadline_s - now
            told = answer


def test_pauses_grow_and_end_with_attempts_and_deadline() -> None:
    away = Got(503, {}, b"{}")
    assert paused(Patience(100, 6, 1, 5), away)[0] == [1, 2, 4, 5, 5]
    assert paused(Patience(100, 6, 1, 5), away, lambda: 0.0)[0] == [0.5, 1, 2, 2.5, 2.5]
    assert paused(Patience(7, 6, 1, 5), away)[0] == [1, 2]
    assert paused(Patience(100, 3, 1, 5), Got(429, {"retry-after": "9"}, b"{}"))[0] == [9, 9]
    pauses, error = paused(Patience(5, 3, 1, 5), Got(429, {"retry-after": "9"}, b"{}"))
    assert (pauses, error.retry_after_s) == ([], 9)


@contextlib.contextmanager
def silent() -> Iterator[int]:
    """A server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


async def test_a_server_that_says_nothing_is_given_up_at_the_deadline() -> None:
    patience = Patience(deadline_s=0.1, attempts=5, first_pause_s=1)
    with silent() as port:
        with Daogou(f"http://127.0.0.1:{port}", patience=patience) as client, pytest.raises(Unreachable) as caught:
            client.recommend()
        assert caught.value.code == "too_slow"
        async with AsyncDaogou(f"http://127.0.0.1:{port}", patience=patience) as other:
            with pytest.raises(Unreachable):
                await other.recommend()


async def test_over_a_socket(shop: AShop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(shop.api, lifespan="off", log_config=None))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        def calls() -> tuple[int, int]:
            with Daogou(url, patience=QUICK) as client:
                return client.events([VIEW]).accepted, len(client.recommend(RecommendationRequest(count=3)).items)

        assert await asyncio.to_thread(calls) == (1, 3)
        async with AsyncDaogou(url, patience=QUICK) as client:
            assert len((await client.recommend(RecommendationRequest(count=3))).items) == 3
        server.should_exit = True
        await serving
