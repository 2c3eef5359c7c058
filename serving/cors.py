"""Pages of other origins: which may call, and what a browser has to be told about it (CORS).

Cookies play no part here, so credentials are never allowed; an origin is allowed exactly or not at all.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from serving.bodies import Headers
from serving.keys import Keys
from serving.problems import Refusal, send_problem

_MAX_AGE_S: Final = 600
_REQUEST_HEADERS: Final = b"authorization, content-type, idempotency-key, traceparent, x-api-key, x-shopper-token"
_ANSWER_HEADERS: Final = b"retry-after, traceparent"
_VARY: Final = (b"vary", b"Origin")
_VARY_PREFLIGHT: Final = (
    b"vary",
    b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
)

Header = tuple[bytes, bytes]


class Origins:
    """The allowed origins."""

    def __init__(self, allowed: Iterable[str]) -> None:
        self._allowed = frozenset(origin.encode() for origin in allowed)

    def check(self, headers: Headers) -> None:
        """Refuse a page of another origin that is not allowed. A browser sends no page's request without its origin.

        Raises:
            Refusal: 403.
        """
        origin = headers.get(b"origin")
        if origin is not None and origin not in self._allowed and not _is_own(origin, headers):
            raise Refusal(
                403,
                "origin_not_allowed",
                "Pages of this origin may not call here. Add it to DAOGOU_ALLOWED_ORIGINS, or call from your server.",
            )

    def told(self, headers: Headers) -> list[Header]:
        """What the answer to any request of an operation for browsers says besides."""
        origin = headers.get(b"origin")
        if origin is None or origin not in self._allowed:
            return [_VARY]
        return [_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", _ANSWER_HEADERS)]

    def answer(self, send: Any, headers: Headers) -> Any:
        """`send`, adding that to whatever is answered."""
        told = self.told(headers)

        async def sending(message: Mapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *told]}
            await send(message)

        return sending


class Preflight:
    """Answers a browser that asks whether a page may call a path, as an ASGI application."""

    def __init__(self, origins: Origins, methods: Collection[str], keys: Keys) -> None:
        self._origins = origins
        self._methods = ", ".join(sorted(methods)).encode()
        self._keys = keys

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:  # noqa: ARG002
        """Serve one OPTIONS request; it carries no key."""
        headers: Headers = dict(scope["headers"])
        try:
            if not self._keys.configured:
                self._keys.check_local(scope, headers)
            self._origins.check(headers)
        except Refusal as error:
            await send_problem(_varying(send), error)
            return
        answered = [_VARY_PREFLIGHT]
        if b"origin" in headers and b"access-control-request-method" in headers:
            answered += [one for one in self._origins.told(headers) if one[0] == b"access-control-allow-origin"]
            answered += [
                (b"access-control-allow-methods", self._methods),
                (b"access-control-allow-headers", _REQUEST_HEADERS),
                (b"access-control-max-age", b"%d" % _MAX_AGE_S),
            ]
        answered.append((b"allow", self._methods + b", OPTIONS"))
        await send({"type": "http.response.start", "status": 204, "headers": answered})
        await send({"type": "http.response.body", "body": b""})


def _varying(send: Any) -> Any:
    async def sending(message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _VARY_PREFLIGHT]}
        await send(message)

    return sending


def _is_own(origin: bytes, headers: Headers) -> bool:
    """Whether the page came from this server: the same name and port, whatever a proxy made of the scheme."""
    try:
        return urlsplit(origin).netloc == headers.get(b"host", b"") != b""
    except ValueError:
        return False
