"""Pages of other origins: which may call, and what a browser has to be told about it (CORS).

Cookies play no part here, so credentials are never allowed; an origin is allowed exactly or not at all.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from serving.bodies import Headers
from serving.keys import Keys, Known
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
    """The allowed origins: of the settings, and those that keys name for themselves."""

    def __init__(self, allowed: Iterable[str], keys: Keys) -> None:
        self._allowed = frozenset(origin.encode() for origin in allowed)
        self._keys = keys

    @property
    def any(self) -> bool:
        """Whether pages of other origins may call at all."""
        return bool(self._allowed or self._keys.origins)

    def check(self, headers: Headers, known: Known | None) -> None:
        """Refuse a page of another origin that is not allowed. A browser sends no page's request without its origin.
        None for `known`: whoever calls does not say yet, and the origin of any key will do.

        Raises:
            Refusal: 403.
        """
        origin = headers.get(b"origin")
        if origin is not None and not self._allows(origin, known) and not _is_own(origin, headers):
            raise Refusal(
                403,
                "origin_not_allowed",
                "Pages of this origin may not call here with this key. Add it to the key's origins or to "
                "DAOGOU_ALLOWED_ORIGINS, or call from your server.",
            )

    def told(self, headers: Headers, known: Known | None) -> list[Header]:
        """What the answer to any request of an operation for browsers says besides."""
        origin = headers.get(b"origin")
        if origin is None or not self._allows(origin, known):
            return [_VARY]
        return [_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", _ANSWER_HEADERS)]

    def _allows(self, origin: bytes, known: Known | None) -> bool:
        if known is None:
            return origin in self._allowed or origin in self._keys.origins
        return origin in (self._allowed if known.origins is None else known.origins)


class Telling:
    """`send`, telling browsers whether their page may read the answer. `known` is set once it is known who calls: what
    is refused before is read by the pages of any key.
    """

    __slots__ = ("_headers", "_origins", "_send", "known")

    def __init__(self, send: Any, origins: Origins, headers: Headers) -> None:
        self._send = send
        self._origins = origins
        self._headers = headers
        self.known: Known | None = None

    async def __call__(self, message: Mapping[str, Any]) -> None:
        """Send one message."""
        if message["type"] == "http.response.start":
            told = self._origins.told(self._headers, self.known)
            message = {**message, "headers": [*message["headers"], *told]}
        await self._send(message)


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
            if not self._origins.any:
                allow = self._methods.decode()
                raise Refusal(405, "method_not_allowed", f"This path takes {allow}.", allow=allow)
            if not self._keys.configured:
                self._keys.check_local(scope, headers)
            self._origins.check(headers, None)
        except Refusal as error:
            await send_problem(_varying(send), error)
            return
        answered = [_VARY_PREFLIGHT]
        if b"origin" in headers and b"access-control-request-method" in headers:
            told = self._origins.told(headers, None)
            answered += [one for one in told if one[0] == b"access-control-allow-origin"]
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
