"""Nasty requests by hand, and poisoned entries in Redis: each is answered as it should be, and a page after it, too."""

import http.client
import json
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

from infra.keys import ShardKeys, partition_of, record_key
from infra.redis import connect
from infra.settings import Settings
from tests.benchmarks.page_shop import COUNT, PageShop, Shopper

_LIST: Final = "/v1/recommendations"
KEY: Final = "an-operator-key-of-the-fuzzing"
_JSON: Final = {"Content-Type": "application/json", "X-API-Key": KEY}
WITHIN_S: Final = 5.0
_COUNTS: Final[tuple[Any, ...]] = (0, -1, 10**9, 10**400, 1.5, "20", None, True, [], 1e308)
HUGE: Final = "x" * 10_240
DEEP: Final = 100_000
IDS: Final = (
    HUGE,
    "a\x00b",
    "\r\nX-Injected: 1",
    "\x1b[2J\x07",
    "\u202e\u200b\ufeff",
    "👩‍👩‍👧‍👦",
    "' OR 1=1; DROP TABLE shoppers; --",
    "*1\r\n$8\r\nFLUSHALL\r\n",
    "FLUSHALL",
    "{p1}:row:default:u-s1",
    "__class__",
    "__proto__",
    "../../etc/passwd",
    "%00%0a",
    "${jndi:ldap://localhost/x}",
    "",
    " ",
)
EXPRESSIONS: Final = (
    "item.price <",
    ")",
    "true true",
    "item.price > 'a'",
    "1",
    "item",
    "item.__class__",
    "item.secret",
    "shopper.email == 'a'",
    "settings.redis",
    "__import__('os').system('id')",
    "item.name.__class__.__mro__",
    "item.attributes['__class__'] == 'x'",
    "item.name.matches('(a+)+$')",
    "item.name.matches('" + "(a*)*" * 150 + "')",
    "item.name.matches('(((a{1,1000}){1,1000}){1,1000})')",
    "item.categories.all(x, item.categories.all(y, true))",
    "[1,2,3].map(x, x)",
    "size(item.name + item.name) > 9223372036854775807 + 1",
    "item.price / 0.0 > 1.0",
    "1 / 0 == 1",
    "9999999999999999999999 > 1",
    "1e999 > 1.0",
    "'\\x' == 'a'",
    "!" * 900 + "true",
    "-" * 900 + "1 == 1",
    "(" * 480 + "true" + ")" * 480,
    "[" * 400 + "]" * 400 + " == []",
    "&&".join(["true"] * 160),
    "x" * 1001,
    "x" * 500_000,
    "item.name == '" + "é" * 900 + "'",
    "\x00",
    "null == null",
    "b'a' == b'a'",
    "1u == 1u",
    "duration('1s') > duration('2s')",
    "true ? 1 : 2",
)


class Tried(NamedTuple):
    """A request, and the statuses that are right."""

    name: str
    method: str
    path: str
    body: bytes | None
    right: tuple[int, ...]
    headers: dict[str, str] = _JSON


def tried(port: int, shop: PageShop) -> tuple[int, list[str]]:
    """Every one of them, and the page after each: how many there were, and what was wrong."""
    faults: list[str] = []
    count = 0
    for one in requests():
        count += 1
        status, said, body = _asked(port, one)
        if status not in one.right:
            faults.append(f"{one.name}: {status}, not {one.right}: {body[:200]!r}")
        elif status >= 400:
            faults += _no_problem(one.name, status, said, body)
        faults += served(port, shop, shop.shoppers[count % len(shop.shoppers)], one.name)
    return count, faults


def served(port: int, shop: PageShop, shopper: Shopper, after: str) -> list[str]:
    """What is wrong with a page of a shopper now."""
    status, _, body = _asked(port, Tried("page", "POST", _LIST, shopper.body, (200,)))
    wrong = [f"{status}"] if status != 200 else shop.faults(shopper, json.loads(body))
    return [f"after {after}: the page of {shopper.user_id}: {fault}" for fault in wrong]


async def poisoned(port: int, shop: PageShop, settings: Settings) -> tuple[int, list[str]]:
    """Entries that are none: a page comes all the same, and without them it is as before."""
    client = await connect(settings.redis, 5000)
    shopper = shop.shoppers[0]
    shopper_id = f"u-{shopper.user_id}"
    keys = ShardKeys(partition_of(record_key(settings.tenant, shopper_id), settings.partition_count))
    row, shelf = (of(settings.tenant, shopper_id) for of in (keys.row, keys.shelf))
    shown = keys.shown(settings.tenant, shopper_id)
    good: dict[str, bytes | None] = {key: await client.get(key) for key in (row, shelf, shown)}
    body = json.dumps({"user_id": shopper.user_id, "count": COUNT, "rotation_rate": 0.5}).encode()
    count, faults = 0, []
    for key in (shelf, shown, row):
        for value in _poison(good[shelf] or b""):
            count += 1
            await client.set(key, value)
            faults += _full(port, body, f"{key.rpartition(':')[0]} = {value[:20]!r}")
            faults += served(port, shop, shop.shoppers[1], "poison beside it")
        await client.delete(key)
        await client.rpush(key, b"a list")
        count += 1
        faults += _full(port, body, f"{key.rpartition(':')[0]} of another type")
        await client.delete(key)
        before = good[key]
        if before is not None:
            await client.set(key, before)
    await client.aclose()
    return count, faults + served(port, shop, shopper, "poison")


def _full(port: int, body: bytes, after: str) -> list[str]:
    status, _, said = _asked(port, Tried("page", "POST", _LIST, body, (200,)))
    if status != 200:
        return [f"with {after}: {status} {said[:200]!r}"]
    ids = [item["item_id"] for item in json.loads(said)["items"]]
    return [] if len(ids) == len(set(ids)) == COUNT else [f"with {after}: {len(set(ids))} items"]


def _poison(shelf: bytes) -> Iterator[bytes]:
    yield from (
        b"",
        b"\x00",
        b"null",
        b"\xc1",
        b"\xff" * 64,
        b"\x93\x01\x02\x03",
        b"\xdd\xff\xff\xff\xff",
        b"\x91" * 9000,
    )
    yield shelf[: len(shelf) // 2]
    yield shelf[:60] + bytes(60) + shelf[120:]


def requests() -> Iterator[Tried]:
    """All of them."""
    yield from _counts()
    yield from _ids()
    yield from _expressions()
    yield from _json()
    yield from _headers()


def _counts() -> Iterator[Tried]:
    for count in _COUNTS:
        for path in (_LIST, "/v1/recommendations:next"):
            body = json.dumps({"user_id": "s1", "count": count}).encode()
            yield Tried(f"count {str(count)[:20]} of {path}", "POST", path, body, (422,))
        path = f"/v1/items/i1/similar?count={str(count)[:300]}"
        yield Tried(f"GET {path[:60]}", "GET", path.replace(" ", "%20"), None, (200,) if count == "20" else (422,))
    for name, value in (("max_wait_ms", 10**9), ("diversity", -1), ("rotation_rate", 1e308), ("rotation_time_s", 0)):
        body = json.dumps({"user_id": "s1", name: value}).encode()
        yield Tried(f"{name} {value}", "POST", _LIST, body, (422,))


def _ids() -> Iterator[Tried]:
    for item in IDS:
        shown = repr(item[:30])
        fits = 1 <= len(item) <= 256 and item.isprintable()
        for name in ("user_id", "anonymous_id", "session_id"):
            yield Tried(f"{name} {shown}", "POST", _LIST, json.dumps({name: item}).encode(), (200, 422))
        for more in ({"item_ids": [item]}, {"exclude_item_ids": [item]}, {"pins": [{"item_id": item, "position": 1}]}):
            yield Tried(f"{next(iter(more))} {shown}", "POST", _LIST, json.dumps(more).encode(), (200, 422))
        yield Tried(f"rank {shown}", "POST", "/v1/rank", json.dumps({"item_ids": [item, "i1"]}).encode(), (200, 422))
        event: dict[str, Any] = {
            "event_name": "view_item",
            "occurred_at": "2026-11-01T10:00:00Z",
            "user_id": item,
            "event_id": item,
            "items": [{"item_id": item}],
        }
        yield Tried(
            f"event {shown}", "POST", "/v1/events", json.dumps([event]).encode(), (202,) if fits else (202, 422)
        )
        yield Tried(f"min_token {shown}", "POST", _LIST, json.dumps({"min_token": item}).encode(), (422,))
        yield Tried(f"next_token {shown}", "POST", f"{_LIST}:next", json.dumps({"next_token": item}).encode(), (422,))
        in_path = "".join(f"%{byte:02x}" for byte in item.encode())
        for path in (f"/v1/items/{in_path}/similar", f"/v1/explanations/{in_path}", f"/v1/settings/scenario/{in_path}"):
            yield Tried(f"GET {path[:60]}", "GET", path, None, (200, 400, 404, 422, 431))


def _expressions() -> Iterator[Tried]:
    for text in EXPRESSIONS:
        for name in ("filter", "booster"):
            body = json.dumps({"user_id": "s1", name: text}).encode()
            yield Tried(f"{name} {text[:60]!r}", "POST", _LIST, body, (200, 422))


def _json() -> Iterator[Tried]:
    deep = b"[" * DEEP + b"]" * DEEP
    for path in (_LIST, "/v1/events", "/v1/rank", "/v1/identify"):
        yield Tried(f"deep for {path}", "POST", path, deep, (400, 422))
        yield Tried(f"deep object for {path}", "POST", path, b'{"a":' * DEEP + b"1" + b"}" * DEEP, (400, 422))
        for raw in (
            b"",
            b"{",
            b"null",
            b"\xff\xfe{\x00}\x00",
            b'{"user_id": "\xc3\x28"}',
            b'{"user_id":"\\ud800"}',
            b"NaN",
        ):
            yield Tried(f"{raw[:24]!r} for {path}", "POST", path, raw, (400, 422))
    for raw, right in (
        (b'{"user_id": "s1", "user_id": "s2"}', (200, 422)),
        (b'{"count": 5, "count": 1000000}', (422,)),
        ("{}".encode("utf-16"), (400,)),
        (b"\xef\xbb\xbf{}", (400,)),
        (json.dumps({f"k{n}": n for n in range(50_000)}).encode(), (422,)),
        (json.dumps({"exclude_item_ids": [f"i{n}" for n in range(100_000)]}).encode()[: 2**20], (400, 413, 422)),
        (b'{"user_id": ' + b"9" * 500_000 + b"}", (422,)),
        (b" " * (2**20 + 1), (413,)),
        (json.dumps({"experiment_overrides": {"a" * 10_000: "b" * 10_000}}).encode(), (422,)),
        (json.dumps({"include_properties": ["__class__"]}).encode(), (422,)),
    ):
        yield Tried(f"body {raw[:40]!r}", "POST", _LIST, raw, right)
    for scenario in (b'{"blend": []}', b'{"blend": [["shelf", 1]], "version": -1}', deep, b"[]"):
        yield Tried(f"scenario {scenario[:30]!r}", "PUT", "/v1/settings/scenario/home", scenario, (400, 422))


def _headers() -> Iterator[Tried]:
    page = json.dumps({"user_id": "s1"}).encode()
    for name, value, right in (
        ("Content-Type", "application/json; charset=utf-16", (415,)),
        ("Content-Type", "application/xml", (415,)),
        ("Content-Type", "\xff\xfe", (415,)),
        ("Content-Encoding", "gzip", (415,)),
        ("Accept-Language", "x" * 10_000, (200, 431)),
        ("Accept-Language", "\xff\xfe;q=" + "9" * 400, (200,)),
        ("traceparent", "00-" + "z" * 60, (200,)),
        ("X-API-Key", "\xff" * 300, (200, 401)),
        ("Authorization", "Basic !!!!", (200, 401)),
        ("Authorization", "Basic " + "A" * 5000, (200, 401)),
        ("X-Shopper-Token", "a.b.c", (200, 401)),
        ("Idempotency-Key", "\xff" * 5000, (200, 422)),
        ("Origin", "null", (200, 403)),
    ):
        yield Tried(f"{name}: {value[:30]!r}", "POST", _LIST, page, right, _JSON | {name: value})
    for path in (
        "/v1/nothing",
        "//",
        "/v1/recommendations/",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/v1/items/",
        "/" + "x" * 9000,
    ):
        yield Tried(f"GET {path[:40]}", "GET", path, None, (400, 404, 405, 414, 422))
    for method in ("GET", "PUT", "DELETE", "TRACE"):
        yield Tried(f"{method} {_LIST}", method, _LIST, None, (405,))


def _asked(port: int, one: Tried) -> tuple[int, str, bytes]:
    """Status (0: no answer), media type and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=WITHIN_S)
    try:
        connection.request(one.method, one.path, one.body, one.headers)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("content-type", ""), answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, "", repr(error).encode()
    finally:
        connection.close()


def _no_problem(name: str, status: int, media: str, body: bytes) -> list[str]:
    """Whether a refusal is a problem document; what the server's own parser of HTTP refuses has none."""
    if status in (400, 414, 431) and media.startswith("text/plain"):
        return []
    try:
        found = json.loads(body)
    except ValueError:
        return [f"{name}: {status} with {media} {body[:100]!r}"]
    wanted = {"type", "title", "status", "detail", "code", "retryable", "errors"}
    good = media == "application/problem+json" and found.keys() == wanted and found["status"] == status
    return [] if good else [f"{name}: {status} is no problem document: {body[:200]!r}"]
