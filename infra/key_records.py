"""API keys as they lie on `shop.settings.v1`: the SHA-256 of a key, never the key. A key is 32 random bytes, so its
hash gives nothing away and needs no salt.
"""

import base64
import hashlib
from datetime import datetime
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

KIND: Final = "key"
KEY_BYTES: Final = 32
MAX_ORIGINS: Final = 50

Role = Literal["publishable", "secret", "operator"]
_PREFIXES: Final[dict[Role, str]] = {"publishable": "pk", "secret": "sk", "operator": "ok"}

Moment = Annotated[datetime, Meta(tz=True)]


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A key. `requests_per_s` and `burst` of 0 are as DAOGOU_KEY_REQUESTS_PER_S says; without `allowed_origins` those
    of DAOGOU_ALLOWED_ORIGINS hold. A revoked key stays on the log: who may call is never decided by there being none.
    """

    sha256: Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
    role: Role
    label: Annotated[str, Meta(min_length=1, max_length=100)]
    created_at: Moment
    allowed_origins: Annotated[tuple[str, ...], Meta(max_length=MAX_ORIGINS)] = ()
    requests_per_s: Annotated[float, Meta(ge=0.0, le=1_000_000.0)] = 0.0
    burst: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    expires_at: Moment | None = None
    revoked_at: Moment | None = None


def key_text(role: Role, fresh: bytes) -> str:
    """The key that its holder is given, of 32 random bytes: `sk_…` says of itself what it is when it turns up."""
    assert len(fresh) == KEY_BYTES, "32 random bytes"
    return f"{_PREFIXES[role]}_{base64.urlsafe_b64encode(fresh).rstrip(b'=').decode()}"


def digest(key: bytes) -> bytes:
    """What a key is known by."""
    return hashlib.sha256(key).digest()
