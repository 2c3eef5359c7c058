"""What a shop sets while everything runs, as it lies on `shop.settings.v1`: one envelope for all kinds."""

from datetime import datetime
from typing import Final

import msgspec


class Stored(msgspec.Struct, frozen=True):
    """A record's value: the setting, when it was set, and by whom."""

    value: msgspec.Raw
    at: datetime
    by: str


_decoder: Final = msgspec.json.Decoder(Stored)


def encode(value: bytes, at: datetime, by: str) -> bytes:
    """The record's value of a setting that is JSON already."""
    return msgspec.json.encode(Stored(msgspec.Raw(value), at, by))


def decode(raw: bytes) -> Stored:
    """The inverse of `encode`.

    Raises:
        ValueError: it is none of ours.
    """
    return _decoder.decode(raw)
