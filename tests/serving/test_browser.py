"""The interface from pages in a real browser: a page of an allowed origin tells events and gets lists, one of another
origin reads nothing and changes nothing.
"""

import asyncio
import contextlib
import json
import shutil
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from redis.asyncio import Redis

from infra.settings import Settings
from tests.serving.shop import NOW, AShop, items, opened
from tests.serving.test_keys import put, until, value
from tests.serving.test_users_own import SECRET, token

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
EVENT = {
    "event_name": "view_item",
    "occurred_at": NOW.isoformat(),
    "anonymous_id": "b" * 32,
    "items": [{"item_id": "oolong"}],
}
# The page calls, notes what it could read, and tells its own server.
PAGE = """<!doctype html><title>page</title>%(frame)s<script>
const api = %(api)s, calls = %(calls)s, read = {};
(async () => {
  for (const [name, path, init] of calls) {
    try {
      const answer = await fetch(api + path, init);
      read[name] = [answer.status, await answer.text()];
    } catch (error) { read[name] = ["blocked", ""]; }
  }
  read.beacon = [navigator.sendBeacon(api + "/v1/events?key=pub", %(beacon)s), ""];
  await fetch("/told", {method: "POST", body: JSON.stringify(read)});
})();
</script>"""


class Pages:
    """A server of one page, that hears what the page could read."""

    def __init__(self) -> None:
        pages = self
        self.page = b""
        self.told: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        loop = asyncio.get_running_loop()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer(pages.page)

            def do_POST(self) -> None:
                told = json.loads(self.rfile.read(int(self.headers["content-length"])))
                self._answer(b"")
                loop.call_soon_threadsafe(pages.told.set_result, told)

            def _answer(self, body: bytes) -> None:
                self.send_response(200)
                self.send_header("content-type", "text/html; charset=utf-8")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
async def pages() -> AsyncIterator[tuple[Pages, Pages]]:
    both = Pages(), Pages()
    yield both
    for one in both:
        one.close()


@contextlib.asynccontextmanager
async def listening(shop: AShop) -> AsyncIterator[str]:
    """The API on a port of its own."""
    server = uvicorn.Server(uvicorn.Config(shop.api, port=0, lifespan="off", log_level="error"))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    began = asyncio.Event()
    startup = server.startup

    async def started(sockets: Any = None) -> None:
        await startup(sockets)
        began.set()

    server.startup = started  # type: ignore[method-assign]
    serving = asyncio.create_task(server.serve())
    await began.wait()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    await serving


@contextlib.asynccontextmanager
async def looking(url: str, profile: Path) -> AsyncIterator[None]:
    """A browser that looks at a page."""
    flags = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
    browser = await asyncio.create_subprocess_exec(
        str(BROWSER),
        *flags,
        f"--user-data-dir={profile}",
        "--remote-debugging-port=0",
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        browser.send_signal(signal.SIGTERM)
        await browser.wait()


def calls() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Name, path and how `fetch` is to call."""

    def post(body: Any, key: str = "pub", **headers: str) -> dict[str, Any]:
        sent = {"content-type": "application/json", "x-api-key": key, **headers}
        return {"method": "POST", "headers": sent, "body": json.dumps(body)}

    yield "event", "/v1/events", post(EVENT)
    # What a browser asks nobody for: the server itself has to refuse it.
    plain = {"method": "POST", "headers": {"content-type": "text/plain"}, "body": json.dumps(EVENT)}
    yield "unasked", "/v1/events?key=pub", plain
    yield "list", "/v1/recommendations", post({"anonymous_id": "b" * 32, "count": 2})
    yield "of a user", "/v1/recommendations", post({"user_id": "ann"}, **{"x-shopper-token": token("ann")})
    yield "of another", "/v1/recommendations", post({"user_id": "bob"}, **{"x-shopper-token": token("ann")})
    yield "trending", "/v1/trending", {"headers": {"x-api-key": "pub"}}
    yield "no key", "/v1/recommendations", post({}, key="none")
    yield "with another's key", "/v1/recommendations", post({}, key="own")
    for path in ("/v1/items/oolong", "/v1/triggers", "/metrics", "/v1/settings/key", "/openapi.json", "/health/ready"):
        yield path, path, {"headers": {"x-api-key": "op"}}


def page(api: str, frame: str = "") -> bytes:
    frame = f"<iframe src='{frame}'></iframe>" if frame else ""
    parts = {"api": json.dumps(api), "calls": json.dumps(list(calls())), "beacon": json.dumps(json.dumps(EVENT))}
    return (PAGE % (parts | {"frame": frame})).encode()


async def taken(shop: AShop) -> float:
    """Events that were taken."""
    text = (await shop.client.get("/metrics", headers={"X-API-Key": "op"})).text
    samples = (one for family in text_string_to_metric_families(text) for one in family.samples)
    return sum(one.value for one in samples if one.name == "daogou_events_taken_total")


@pytest.mark.skipif(BROWSER is None, reason="there is no chromium on PATH, and no other browser will do")
async def test_what_pages_can_do_in_a_real_browser(
    settings: Settings, redis: Redis, pages: tuple[Pages, Pages], tmp_path: Path
) -> None:
    allowed, other = pages
    update = {
        "publishable_keys": (SecretStr("pub"),),
        "operator_keys": (SecretStr("op"),),
        "shopper_token_secrets": (SecretStr(SECRET),),
        "allowed_origins": (allowed.origin,),
    }
    async with opened(settings.model_copy(update=update), redis, items()) as shop, listening(shop) as api:
        await put(shop, "own", value("own", allowed_origins=[other.origin]))
        await until(shop, "own", 200)
        allowed.page, other.page = page(api, frame=other.origin), page(api)
        async with looking(allowed.origin, tmp_path), asyncio.timeout(60):
            mine, others = await allowed.told, await other.told
            while await taken(shop) < 3:  # the beacon is sent when the browser likes
                await asyncio.sleep(0.01)
        assert await taken(shop) == 3, "an event, one unasked, and a beacon; none of the other page"

    statuses = {name: status for name, (status, _) in mine.items()}
    assert {name: statuses[name] for name in ("event", "unasked", "list", "of a user", "trending")} == {
        "event": 202,
        "unasked": 202,
        "list": 200,
        "of a user": 200,
        "trending": 200,
    }
    assert len(json.loads(mine["list"][1])["items"]) == 2
    refused = {name: json.loads(mine[name][1])["code"] for name in ("of another", "no key")}
    assert refused == {"of another": "shopper_token_of_another", "no key": "key_required"}, "a page reads why"
    closed = ["with another's key", *(name for name in mine if name.startswith("/"))]
    assert {name: statuses[name] for name in closed} == dict.fromkeys(closed, "blocked")

    readable = {name: status for name, (status, _) in others.items() if status != "blocked"}
    assert readable == {"with another's key": 200, "no key": 401, "beacon": True}
