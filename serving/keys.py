"""API keys: who calls, and what a caller may do.

Without any key everything is open, to this machine alone: callers on loopback addresses, by a loopback name, and no
pages of other sites in their browsers. Keys come from the settings and from the log (`daogou keys create`); those of
the settings cannot be revoked by the log.
"""

import base64
import binascii
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from infra.clock import Clock, SystemClock
from infra.errors import SettingWrong
from infra.key_records import KeyRecord, Role, digest
from serving.bodies import Headers
from serving.problems import Refusal
from serving.rate_limits import Bucket

Caller = Role

_OPERATOR: Final = "This needs an operator key: daogou keys create operator makes one (or DAOGOU_OPERATOR_KEYS)."
_LOOPBACK_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1"))


@dataclass(frozen=True, slots=True)
class Known:
    """Who calls. `name` tells callers apart and is no secret; `origins`: whose pages may call, None: as the settings
    say; `until_ms`: when the key expires.
    """

    name: str
    role: Caller
    origins: frozenset[bytes] | None = None
    until_ms: int | None = None
    bucket: Bucket | None = field(default=None, compare=False)


_THIS_MACHINE: Final = Known("", "operator")


class Keys:
    """All keys, by their SHA-256: what a request costs is one hash and one look into a table."""

    def __init__(
        self,
        publishable: Iterable[SecretStr],
        secret: Iterable[SecretStr],
        operator: Iterable[SecretStr] = (),
        *,
        requests_per_s: float = 0.0,
        clock: Clock | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Takes the keys of the settings; `requests_per_s` of a key that has no limit of its own, 0: none.

        Raises:
            SettingWrong: a key is blank, which every caller could give.
        """
        self._per_s = requests_per_s
        self._clock = clock or SystemClock()
        self._monotonic = monotonic
        self._set: dict[bytes, Known] = {}
        given: tuple[tuple[Caller, Iterable[SecretStr]], ...] = (
            ("publishable", publishable),
            ("secret", secret),
            ("operator", operator),
        )
        for role, keys in given:
            for key in keys:
                hashed = _digest(key, f"{role}_keys")
                self._set[hashed] = Known(f"setting:{hashed.hex()[:16]}", role, bucket=self._bucket(0.0, 0, None))
        self._logged: dict[str, tuple[bytes, Known | None]] = {}  # None: revoked
        self._known = dict(self._set)
        self._configured = bool(self._set)
        self.origins: frozenset[bytes] = frozenset()
        """The origins that any key of the log names."""

    @property
    def configured(self) -> bool:
        """Whether there are any, or were; without, callers on loopback may do everything. A key that is revoked or has
        expired is one, too: the last one's end opens nothing.
        """
        return self._configured

    def take(self, key_id: str, record: KeyRecord | None, _version: int = 0) -> None:
        """Have a key of the log take effect with the next request; None: it is gone, or cannot be read."""
        before = self._logged.pop(key_id, None)
        self._configured = True
        if record is not None:
            known = None if record.revoked_at is not None else self._of(key_id, record, before)
            self._logged[key_id] = bytes.fromhex(record.sha256), known
        live = {hashed: known for hashed, known in self._logged.values() if known is not None}
        self._known = live | self._set
        self.origins = frozenset().union(*(known.origins or () for known in live.values()))

    def known(self, scope: Mapping[str, Any], headers: Headers) -> Known:
        """Who makes this request.

        Raises:
            Refusal: 401 without a key that is known, 403 from elsewhere when there are none.
        """
        if not self._configured:
            self.check_local(scope, headers)
            return _THIS_MACHINE
        given = headers.get(b"x-api-key", b"")
        # Only hashes are compared, and Python's own hash of them is keyed: how long it takes tells nothing of a key.
        told = given or _weak_key(scope, headers)
        known = self._known.get(digest(told))
        if known is None or (not given and known.role != "publishable"):
            wrong = "This is not a known key: it is mistyped, revoked or another shop's. " if told else ""
            raise Refusal(401, "key_required", f"{wrong}Give a known key in X-API-Key.")
        if known.until_ms is not None and self._clock.now_ms() >= known.until_ms:
            raise Refusal(401, "key_expired", "This key has expired; daogou keys create makes another.")
        return known

    def count(self, known: Known) -> None:
        """A call of this key.

        Raises:
            TooMany: it calls more often than it may.
        """
        if known.bucket is not None:
            known.bucket.take(self._monotonic())

    def _of(self, key_id: str, record: KeyRecord, before: tuple[bytes, Known | None] | None) -> Known:
        old = None if before is None or before[1] is None else before[1].bucket
        return Known(
            f"key:{key_id}",
            record.role,
            frozenset(one.encode() for one in record.allowed_origins) or None,
            None if record.expires_at is None else int(record.expires_at.timestamp() * 1000),
            self._bucket(record.requests_per_s, record.burst, old),
        )

    def _bucket(self, per_s: float, burst: int, old: Bucket | None) -> Bucket | None:
        """The bucket of a key; another change of the key does not fill it."""
        per_s = per_s or self._per_s
        if per_s == 0:
            return None
        made = Bucket(per_s, burst, self._monotonic())
        return old if old is not None and (old.per_s, old.burst) == (made.per_s, made.burst) else made

    @staticmethod
    def check_local(scope: Mapping[str, Any], headers: Headers) -> None:
        """That the request comes from this machine and from no page of another site.

        Raises:
            Refusal: 403.
        """
        client = scope.get("client")
        if client is not None and not _is_loopback(client[0]):
            raise _local_only("other machines need a key")
        # A page of another site may reach this port through the person's browser: its own name gives it away.
        host = headers.get(b"host")
        if host is not None and not _is_local_host(b"//" + host):
            raise _local_only("the name in Host must be localhost")
        origin = headers.get(b"origin")
        if origin is not None and not _is_local_host(origin):
            raise _local_only("pages of other sites need a key")


def demand_secret(caller: Caller) -> None:
    """Refuse callers that hold a publishable key.

    Raises:
        Refusal: 403.
    """
    if caller == "publishable":
        raise Refusal(403, "secret_key_required", "This needs a secret key; a publishable one may not.")


def demand_operator(caller: Caller) -> None:
    """Refuse callers that hold no operator key.

    Raises:
        Refusal: 403.
    """
    if caller != "operator":
        raise Refusal(403, "operator_key_required", _OPERATOR)


def _digest(key: SecretStr, setting: str) -> bytes:
    if not key.get_secret_value().strip():
        raise SettingWrong(f"DAOGOU_{setting.upper()} = (secret): a key is blank. Allowed: texts.", path=setting)
    return digest(key.get_secret_value().encode())


def _weak_key(scope: Mapping[str, Any], headers: Headers) -> bytes:
    """The key as Basic user name or `?key=`: only publishable ones are taken from there."""
    scheme, _, rest = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest.strip(), validate=True).partition(b":")[0]
        except binascii.Error:
            return b""
    query: bytes = scope.get("query_string", b"")
    return parse_qs(query).get(b"key", [b""])[0] if query else b""


def _local_only(why: str) -> Refusal:
    return Refusal(
        403,
        "loopback_only",
        f"Without configured keys only this machine is answered: {why}. Set DAOGOU_SECRET_KEYS and "
        "DAOGOU_PUBLISHABLE_KEYS.",
    )


@lru_cache(maxsize=256)
def _is_loopback(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:  # a socket file
        return address == ""


@lru_cache(maxsize=256)
def _is_local_host(url: bytes) -> bool:
    try:
        name = urlsplit(url.decode("ascii", "replace")).hostname or ""
    except ValueError:
        return False
    return name in _LOOPBACK_NAMES or name.endswith(".localhost") or _is_loopback_literal(name)


def _is_loopback_literal(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False
