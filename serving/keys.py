"""API keys: who calls, and what a caller may do.

Without configured keys everything is open, to this machine alone: callers on loopback addresses, by a
loopback name, and no pages of other sites in their browsers.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import ip_address
from typing import Any, Final, Literal
from urllib.parse import parse_qs, urlsplit

from pydantic import SecretStr

from infra.errors import SettingWrong
from serving.bodies import Headers
from serving.problems import Refusal

Caller = Literal["operator", "secret", "publishable"]

_LOOPBACK_NAMES: Final = frozenset(("localhost", "127.0.0.1", "::1"))


class Keys:
    """The configured keys, held as hashes and compared in constant time."""

    def __init__(
        self, publishable: Iterable[SecretStr], secret: Iterable[SecretStr], operator: Iterable[SecretStr] = ()
    ) -> None:
        """Takes the configured keys.

        Raises:
            SettingWrong: a key is blank, which every caller could give.
        """
        self._publishable = [_digest(key, "publishable_keys") for key in publishable]
        self._secret = [_digest(key, "secret_keys") for key in secret]
        self._operator = [_digest(key, "operator_keys") for key in operator]

    @property
    def configured(self) -> bool:
        """Whether there are any; without, callers on loopback may do everything."""
        return bool(self._publishable or self._secret or self._operator)

    def caller(self, scope: Mapping[str, Any], headers: Headers) -> Caller:
        """Who makes this request.

        Raises:
            Refusal: 401 without a key that is known, 403 from elsewhere when none are configured.
        """
        if not self.configured:
            self.check_local(scope, headers)
            return "operator"
        given = headers.get(b"x-api-key", b"")
        if given:
            found = _digest_bytes(given)
            if _among(found, self._operator):
                return "operator"
            if _among(found, self._secret):
                return "secret"
        else:
            found = _digest_bytes(_weak_key(scope, headers))
        if _among(found, self._publishable):
            return "publishable"
        raise Refusal(401, "key_required", "Give a known key in X-API-Key.")

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
        raise Refusal(403, "operator_key_required", "This needs an operator key (DAOGOU_OPERATOR_KEYS).")


def token_required() -> Refusal:
    """With a publishable key, whatever is personal to a user needs the user's token."""
    return Refusal(
        401,
        "shopper_token_required",
        "With a publishable key, what belongs to a user_id needs X-Shopper-Token, which this version does "
        "not read yet: call with anonymous_id, or from your server with a secret key.",
    )


def _digest(key: SecretStr, setting: str) -> bytes:
    if not key.get_secret_value().strip():
        raise SettingWrong(f"DAOGOU_{setting.upper()} = (secret): a key is blank. Allowed: texts.", path=setting)
    return _digest_bytes(key.get_secret_value().encode())


def _digest_bytes(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _among(digest: bytes, known: list[bytes]) -> bool:
    # Every one is compared: how long it takes tells nothing.
    return any([hmac.compare_digest(digest, one) for one in known])  # noqa: C419


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
