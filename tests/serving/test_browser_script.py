"""The script in a real browser, in a page of another origin, against the server itself."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
import uvicorn
from pydantic import SecretStr
from redis.asyncio import Redis

from features import events
from infra.settings import Settings
from tests.serving import browser
from tests.serving.browser import Devtools, Tab
from tests.serving.shop import AShop, items, opened
from tests.serving.test_events import on_the_log
from tests.serving.test_users_own import token

KEY = "pk_browser"
TOKEN_SECRET = "t" * 32
PROGRAM = browser.found()
needs_browser = pytest.mark.skipif(PROGRAM is None, reason=f"no browser here: one of {', '.join(browser.NAMES)}")
VIEW = 'daogou.track("view_item", {items: [{item_id: "oolong"}]})'


@dataclass
class Heard:
    """One call: what came, and what was answered."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""
    status: int = 0
    answer: bytes = b""

    @property
    def events(self) -> list[dict[str, Any]]:
        return list(json.loads(self.body))


@dataclass
class Between:
    """The server, with an ear at its door; it answers what is in `instead` first."""

    app: Any
    calls: list[Heard] = field(default_factory=list)
    instead: list[tuple[str, int]] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        heard = Heard(scope["method"], scope["path"], scope["query_string"].decode(), headers)

        async def hearing() -> Any:
            message = await receive()
            heard.body += message.get("body", b"")
            return message

        async def saying(message: Any) -> None:
            heard.status = message.get("status", heard.status)
            heard.answer += message.get("body", b"")
            await send(message)

        if scope["method"] == "POST" and self.instead and self.instead[0][0] == scope["path"]:
            _, status = self.instead.pop(0)
            while (await hearing()).get("more_body"):
                pass
            allow = (b"access-control-allow-origin", headers.get("origin", "*").encode())
            expose = (b"access-control-expose-headers", b"retry-after")
            await saying({"type": "http.response.start", "status": status, "headers": [allow, expose]})
            await saying({"type": "http.response.body", "body": b"{}"})
        else:
            await self.app(scope, hearing, saying)
        self.calls.append(heard)
        self.changed.set()

    def of(self, path: str, *statuses: int) -> list[Heard]:
        posts = [one for one in self.calls if one.method == "POST" and one.path == path]
        return [one for one in posts if not statuses or one.status in statuses]

    def taken(self) -> list[dict[str, Any]]:
        """The events that were answered 202."""
        return [event for call in self.of("/v1/events", 202) for event in call.events]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@dataclass
class Site:
    """A shop's page, its server, and a browser that opens it."""

    shop: AShop
    between: Between
    devtools: Devtools
    url: str
    profile: str = ""

    async def page(self, consent: str = "none", gather_ms: int = 50) -> Tab:
        return await self.devtools.page(f"{self.url}/?{consent}&{gather_ms}", self.profile)


@contextlib.asynccontextmanager
async def served(app: Any, listener: socket.socket) -> AsyncIterator[None]:
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None, timeout_graceful_shutdown=2))
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield
    finally:
        server.should_exit = True
        await task


def page_of(script: str) -> Any:
    """The shop's own server: one page, with the script of the other."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        consent, _, gather = scope["query_string"].decode().partition("&")
        told = f'data-key="{KEY}" data-consent="{consent}" data-pause="20" data-gather="{gather}"'
        tag = f'<script src="{script}" {told}></script>'
        body = f'<!doctype html><html lang="en"><title>Shop</title>{tag}</html>'.encode()
        headers = [(b"content-type", b"text/html; charset=utf-8")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


@pytest.fixture(scope="module")
def pipes() -> Iterator[tuple[int, int]]:
    assert PROGRAM is not None
    with browser.started(PROGRAM) as both:
        yield both


@pytest.fixture
async def site(settings: Settings, redis: Redis, pipes: tuple[int, int]) -> AsyncIterator[Site]:
    with socket.create_server(("127.0.0.1", 0)) as ours, socket.create_server(("127.0.0.1", 0)) as theirs:
        url = f"http://localhost:{theirs.getsockname()[1]}"
        update = {
            "publishable_keys": (SecretStr(KEY),),
            "secret_keys": (SecretStr("sec"),),
            "allowed_origins": (url,),
            "shopper_token_secrets": (SecretStr(TOKEN_SECRET),),
        }
        async with opened(settings.model_copy(update=update), redis, items()) as shop:
            between = Between(shop.api)
            script = f"http://127.0.0.1:{ours.getsockname()[1]}/daogou.js"
            async with (
                served(between, ours),
                served(page_of(script), theirs),
                browser.listening(pipes) as devtools,
            ):
                profile = await devtools.profile()
                yield Site(shop, between, devtools, url, profile)
                await devtools.ask("Target.disposeBrowserContext", browserContextId=profile)


def stored(tab: Tab) -> Any:
    return tab.run("Object.keys(localStorage).sort()")


@needs_browser
async def test_events_arrive_and_a_list_knows_of_them(site: Site) -> None:
    tab = await site.page("granted")
    await tab.run(VIEW)
    answer = await tab.run('daogou.recommend({count: 3, scenario: "home"})')
    assert len(answer["items"]) == 3
    (call,) = site.between.of("/v1/events", 202)
    assert (call.headers["origin"], call.headers["content-type"]) == (site.url, "text/plain")
    assert "cookie" not in call.headers
    (record,) = on_the_log(site.shop, json.loads(call.answer)["consistency_token"])
    event = events.decode(record.value or b"")
    assert event.event_name == "view_item"
    assert event.sent_at is not None
    assert event.anonymous_id is not None
    assert len(bytes.fromhex(event.anonymous_id)) == 16
    assert event.context is not None
    assert event.context.page == f"{site.url}/"
    (asked,) = site.between.of("/v1/recommendations", 200)
    said = json.loads(asked.body)
    assert said["anonymous_id"] == event.anonymous_id
    assert said["session_id"] == event.session_id
    assert said["min_token"] == json.loads(call.answer)["consistency_token"]
    # The same device and visit on the next page; what was shown and clicked belongs to its list.
    await tab.go(f"{site.url}/?granted&50")
    await tab.run("(a => { daogou.shown(a); daogou.clicked(a, a.items[1].item_id) })(" + json.dumps(answer) + ")")
    await tab.run("daogou.flush()")
    impression, click = site.between.taken()[1:]
    for one in (impression, click):
        assert one["anonymous_id"] == event.anonymous_id
        assert one["session_id"] == event.session_id
        assert one["recommendation_id"] == answer["recommendation_id"]
    assert [line["item_id"] for line in impression["items"]] == [item["item_id"] for item in answer["items"]]
    assert click["items"] == [{"item_id": answer["items"][1]["item_id"], "index": 2}]


@needs_browser
async def test_nothing_is_stored_or_told_without_consent(site: Site) -> None:
    tab = await site.page()
    assert await tab.run(VIEW) is None
    assert await tab.run('daogou.identify("ann", "token")') is None
    assert len(await tab.run("daogou.recommend({count: 2}).then(a => a.items)")) == 2
    await tab.run("daogou.consent(false)")
    await tab.run("daogou.flush()")
    assert await stored(tab) == []
    assert await tab.run("document.cookie") == ""
    await tab.close()
    other = await site.page()  # its calls are behind those of the page before
    assert await other.run("daogou.anonymousId") is None
    assert {one.path for one in site.between.calls} == {"/daogou.js", "/v1/recommendations"}
    (asked,) = site.between.of("/v1/recommendations")
    assert json.loads(asked.body) == {"count": 2, "personalization": "none"}


@needs_browser
async def test_consent_is_told_and_taking_it_back_forgets_all(site: Site) -> None:
    tab = await site.page(gather_ms=600_000)
    await tab.run("daogou.consent(true)")
    await tab.run("daogou.consent(true)")
    await tab.run(VIEW)
    await tab.run("daogou.flush()")
    device = await tab.run("daogou.anonymousId")
    assert await stored(tab) == ["daogou.anonymous_id", "daogou.consent", "daogou.session"]
    await tab.run(f"{VIEW}; daogou.consent(false)")  # what was not sent yet is not told any more
    await tab.run("daogou.flush()")
    told = [(event["event_name"], event.get("consent")) for event in site.between.taken()]
    assert told == [
        ("consent_updated", {"personalization": True}),
        ("view_item", None),
        ("consent_updated", {"personalization": False}),
    ]
    assert {event["anonymous_id"] for event in site.between.taken()} == {device}
    assert await stored(tab) == ["daogou.consent"]
    await tab.go(f"{site.url}/?granted&50")  # what the shop says does not undo it
    assert await tab.run(VIEW) is None
    await tab.run("daogou.consent(true)")
    assert await tab.run("daogou.anonymousId") != device


@needs_browser
async def test_events_survive_a_page_that_is_closed(site: Site) -> None:
    tab = await site.page("granted", gather_ms=600_000)
    await tab.run(VIEW)
    await tab.close()
    await site.between.until(lambda: bool(site.between.taken()))
    (call,) = site.between.of("/v1/events")
    assert call.headers["sec-fetch-mode"] == "no-cors"  # a beacon: nobody is left to read an answer
    assert (call.query, call.headers["content-type"]) == (f"key={KEY}", "text/plain")
    assert "x-api-key" not in call.headers
    (record,) = on_the_log(site.shop, json.loads(call.answer)["consistency_token"])
    assert events.decode(record.value or b"").event_name == "view_item"


@needs_browser
async def test_what_failed_for_now_is_sent_again_with_the_same_ids(site: Site) -> None:
    tab = await site.page("granted")
    site.between.instead = [("/v1/events", 503), ("/v1/events", 429)]
    await tab.run(VIEW)
    await site.between.until(lambda: bool(site.between.taken()))
    calls = site.between.of("/v1/events")
    assert [call.status for call in calls] == [503, 429, 202]
    assert len({call.events[0]["event_id"] for call in calls}) == 1
    await tab.run("daogou.flush()")
    assert await tab.run("[daogou.waiting, daogou.dropped]") == [0, 0]
    # What no repeating changes is given up, and keeps nothing behind it.
    await tab.run('daogou.track("gaze", {})')
    await tab.run("daogou.flush()")
    assert await tab.run("[daogou.waiting, daogou.dropped]") == [0, 1]
    assert site.between.of("/v1/events")[-1].status == 422


@needs_browser
async def test_the_queue_is_bounded_and_an_event_counts_once(site: Site) -> None:
    tab = await site.page("granted")
    site.between.instead = [("/v1/events", 503)] * 100
    await tab.run(f"for (let n = 0; n < 250; n++) {VIEW}")
    assert await tab.run("[daogou.waiting, daogou.dropped]") == [200, 50]
    await tab.run('daogou.track("view_cart", {event_id: "once"}); daogou.track("view_cart", {event_id: "once"})')
    assert await tab.run("[daogou.waiting, daogou.dropped]") == [200, 51]
    site.between.instead = []
    await site.between.until(lambda: len(site.between.taken()) >= 200)
    assert all(len(call.events) <= 50 for call in site.between.of("/v1/events"))
    assert [one["event_id"] for one in site.between.taken()].count("once") == 1


@needs_browser
async def test_a_login_goes_with_the_shoppers_token(site: Site) -> None:
    tab = await site.page("granted")
    site.between.instead = [("/v1/identify", 503)]
    of_ann = token("ann", TOKEN_SECRET)
    assert (await tab.run(f'daogou.identify("ann", "{of_ann}")'))["accepted"] == 1
    tries = site.between.of("/v1/identify")
    assert [one.status for one in tries] == [503, 202]
    assert {one.headers["x-shopper-token"] for one in tries} == {of_ann}
    assert len({one.headers["idempotency-key"] for one in tries}) == 1
    assert len((await tab.run("daogou.recommend({count: 1, max_wait_ms: 0})"))["items"]) == 1
    (asked,) = site.between.of("/v1/recommendations", 200)
    assert asked.headers["x-shopper-token"] == of_ann
    assert json.loads(asked.body)["user_id"] == "ann"
    await tab.run(VIEW)
    await tab.run("daogou.flush()")
    assert "user_id" not in site.between.taken()[-1]  # the device's own; the log knows whose it is
    # Somebody else's token opens nothing.
    assert await tab.run(f'daogou.identify("bob", "{of_ann}").catch(error => error.code)') == "shopper_token_of_another"


async def test_the_script_is_small_and_served_to_pages_everywhere(shop: AShop) -> None:
    answer: httpx.Response = await shop.client.get("/daogou.js")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/javascript")
    assert "max-age=3600" in answer.headers["cache-control"]
    assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
    assert len(answer.content) < 10_000


@needs_browser
async def test_what_no_beacon_takes_is_sent_by_the_next_page(site: Site) -> None:
    tab = await site.page("granted", gather_ms=600_000)
    await tab.run(f"navigator.sendBeacon = () => false; {VIEW}")
    event_id = await tab.run('daogou.track("view_cart", {})')
    await tab.go(f"{site.url}/?granted&50")
    await site.between.until(lambda: event_id in [one["event_id"] for one in site.between.taken()])
    assert "daogou.queue" not in await stored(tab)
