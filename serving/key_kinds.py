"""API keys as a kind of setting: what must hold of a record, and what may be shown of it."""

from datetime import datetime
from typing import Final

import msgspec

from infra.errors import BadInput
from infra.key_records import KIND, KeyRecord, Role
from infra.settings import checked_origin
from serving.setting_kinds import Kind


class KeyShown(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is shown: all but its hash."""

    role: Role
    label: str
    created_at: datetime
    allowed_origins: tuple[str, ...]
    requests_per_s: float
    burst: int
    expires_at: datetime | None
    revoked_at: datetime | None


_SHOWN: Final = tuple(one.name for one in msgspec.structs.fields(KeyShown))


def key_kind() -> Kind:
    """Keys; there are none in the beginning, but those of the process' own settings."""
    return Kind(KIND, KeyRecord, _check, {}, shown=_shown, fails_closed=True, shown_as=KeyShown)


def _shown(record: KeyRecord) -> KeyShown:
    return KeyShown(**{name: getattr(record, name) for name in _SHOWN})


def _check(_: str, record: KeyRecord) -> None:
    if record.allowed_origins and record.role != "publishable":
        raise BadInput(
            "Pages call with publishable keys; a key of another role has no allowed origins.",
            path="allowed_origins",
            code="not_for_pages",
        )
    for n, origin in enumerate(record.allowed_origins):
        try:
            checked_origin(origin)
        except ValueError as error:
            raise BadInput(f"{error}.", path=f"allowed_origins[{n}]", code="wrong_form") from None
    if record.burst and not record.requests_per_s:
        raise BadInput("A burst needs requests_per_s.", path="burst", code="missing_field")
    if record.expires_at is not None and record.expires_at <= record.created_at:
        raise BadInput("It would have expired before it was made.", path="expires_at", code="out_of_range")
