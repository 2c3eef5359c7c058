"""One operation of the interface, and how any operation is served: who may, what comes in, what goes out."""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, Literal
from urllib.parse import parse_qsl

import msgspec

from features.refusals import UNREADABLE, refusal
from infra.errors import BadInput, DaogouError
from infra.logs import logger
from infra.metrics import HTTP_SECONDS, Metrics
from serving import idempotency
from serving.admission import Admission
from serving.bodies import ClientGoneError, Headers, read_body
from serving.cors import Origins, Telling
from serving.keys import Caller, Keys, Known, demand_operator, demand_secret
from serving.problems import send_problem, unexpected
from serving.shopper_tokens import HEADER, ShopperTokens

# health: everybody, from everywhere. open: everybody, but only this machine while no keys are configured.
Access = Literal["health", "open", "publishable", "secret", "operator"]

_TRACE: Final = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_encode: Final = msgspec.json.Encoder(decimal_format="string").encode
_JSON: Final = (b"content-type", b"application/json")
_log = logger(__name__)


_ANYBODY: Final = Known("", "publishable")


class Call(msgspec.Struct, frozen=True):
    """One call of an operation: who, and everything that was sent."""

    known: Known
    tokens: ShopperTokens
    scope: Mapping[str, Any]
    headers: Headers
    raw: bytes
    trace: str | None

    @property
    def caller(self) -> Caller:
        """What the caller's key opens."""
        return self.known.role

    def may_be(self, user_id: str) -> None:
        """Whether the caller may read and change what belongs to a user: with a secret key that of all, with a
        publishable one that of whom the shopper token names.

        Raises:
            Refusal: 401 without a good token, 403 with another's.
        """
        if self.known.role == "publishable":
            self.tokens.demand(self.headers.get(HEADER), user_id)

    def header(self, name: bytes) -> str | None:
        """A header's value."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def path(self, name: str) -> str:
        """A part of the path."""
        return str(self.scope["path_params"][name])


@dataclass(frozen=True, slots=True)
class Page:
    """An answer that is no JSON."""

    content: bytes
    content_type: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table. `answers` is the type of the answer, or the media type of one that is no JSON. `once`: it
    takes an Idempotency-Key. `body_one_of`: the types of a body that the path decides on; `value_one_of`: those of the
    answer's `value`.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    answers: Any
    access: Access = "secret"
    status: int = HTTPStatus.OK
    body: Any = None
    query: type[msgspec.Struct] | None = None
    documented: bool = True
    refusals: tuple[int, ...] = field(default=())
    once: bool = False
    always: bool = False  # however much there is to do
    body_one_of: tuple[type[msgspec.Struct], ...] = ()
    value_one_of: tuple[type[msgspec.Struct], ...] = ()


@dataclass(frozen=True, slots=True)
class Door:
    """What every call passes: keys, shopper tokens, origins, and what is remembered of calls made before."""

    tenant: str
    keys: Keys
    tokens: ShopperTokens
    origins: Origins
    once: idempotency.Once
    admission: Admission
    metrics: Metrics


class Endpoint:
    """An operation as an ASGI application."""

    def __init__(self, operation: Operation, door: Door) -> None:
        self._operation = operation
        self._door = door
        self._admission = door.admission
        # The others wait for Kafka most of their time.
        self._works = not (operation.status == HTTPStatus.ACCEPTED or operation.once or operation.always)
        self._tokens = door.tokens
        self._keys = door.keys
        self._origins = door.origins
        self._metrics = door.metrics

    async def __call__(self, scope: Mapping[str, Any], receive: Any, send: Any) -> None:
        """Serve one request."""
        began = time.perf_counter()
        operation, admission = self._operation, self._admission
        headers: Headers = dict(scope["headers"])
        telling = Telling(send, self._origins, headers) if operation.access == "publishable" else None
        send = telling or send
        admission.busy += 1
        admission.working += self._works
        try:
            if not operation.always:
                admission.check()
            known = self._admitted(scope, headers)
            if telling is not None:
                telling.known = known
            self._check(known, headers)
            call = await self._call(known, scope, headers, receive)
            answer = await self._answer(call)
            await _send(send, operation.status, answer, call.trace)
            status = int(operation.status)
        except ClientGoneError:
            return
        except DaogouError as error:
            status = await send_problem(send, error)
        except Exception:  # the edge of the process: the caller gets a problem, the log gets what it was
            _log.exception("a request failed", route=operation.path)
            status = await send_problem(send, unexpected())
        finally:
            admission.busy -= 1
            admission.working -= self._works
        taken = time.perf_counter() - began
        self._metrics.observe(HTTP_SECONDS, taken, route=operation.path, status=str(status))

    async def _answer(self, call: Call) -> Any:
        operation = self._operation
        key = call.headers.get(idempotency.HEADER) if operation.once else None
        if key is None:
            return await operation.handler(call)

        async def work() -> bytes:
            return _encode(await operation.handler(call))

        scope = call.scope
        body = scope["query_string"] + b"\n" + call.raw
        path = scope["path"].encode("utf-8", "surrogatepass")
        asked = idempotency.Asked(self._door.tenant, call.known.name, scope["method"], path, key, body)
        return Page(await self._door.once.answer(asked, work), "application/json")

    async def _call(self, known: Known, scope: Mapping[str, Any], headers: Headers, receive: Any) -> Call:
        raw = await read_body(headers, receive) if self._operation.body is not None else b""
        return Call(known, self._tokens, scope, headers, raw, _trace_of(headers))

    def _admitted(self, scope: Mapping[str, Any], headers: Headers) -> Known:
        access = self._operation.access
        if access == "health" or (access == "open" and self._keys.configured):
            return _ANYBODY
        return self._keys.known(scope, headers)

    def _check(self, known: Known, headers: Headers) -> None:
        """That this caller may do this, now."""
        if known is _ANYBODY:
            return
        access = self._operation.access
        self._keys.count(known)
        if access == "secret":
            demand_secret(known.role)
        if access == "operator":
            demand_operator(known.role)
        if known.role == "publishable":
            self._origins.check(headers, known)


def query_of(call: Call, kind: type[Any]) -> Any:
    """The query string as its type: lists have commas between their parts, the key is not part of it.

    Raises:
        BadInput: does not validate.
    """
    try:
        pairs = parse_qsl(call.scope["query_string"].decode(), keep_blank_values=True, errors="strict")
        known = {one.name: one for one in msgspec.structs.fields(kind)}
        fields: dict[str, Any] = {}
        for name, value in pairs:
            if name == "key":
                continue
            if name not in known:
                raise BadInput(f"There is no parameter {name[:64]!r} here.", path=name[:64], code="unknown_field")
            is_list = known[name].default == ()
            fields[name] = [part for part in value.split(",") if part] if is_list else value
        return msgspec.convert(fields, kind, strict=False)
    except UNREADABLE as error:
        raise refusal(error, kind) from None


def _trace_of(headers: Headers) -> str | None:
    trace = headers.get(b"traceparent", b"").decode("latin-1")
    return trace if _TRACE.fullmatch(trace) else None


async def _send(send: Any, status: int, answer: Any, trace: str | None) -> None:
    if isinstance(answer, Page):
        body = answer.content
        headers = [(b"content-type", answer.content_type.encode()), *answer.headers]
    else:
        body, headers = _encode(answer), [_JSON]
    headers.append((b"content-length", b"%d" % len(body)))
    if trace is not None:
        headers.append((b"traceparent", trace.encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
