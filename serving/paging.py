"""The next page of a list: a token holds the request and what was shown, so that any process can go on with it."""

import base64
import binascii
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from infra.errors import BadInput
from serving.recommendation_types import MAX_COUNT, RecommendationRequest

KEPT_MS: Final = 30 * 60 * 1000
MAX_SHOWN: Final = 1000  # items of all pages of a list
_MAX_CHARACTERS: Final = 65_536


class NextRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """More of a list: `next_token` is in the answer before; positions begin at 1 again."""

    next_token: Annotated[str, Meta(min_length=1, max_length=_MAX_CHARACTERS)]
    count: Annotated[int, Meta(ge=1, le=MAX_COUNT)] = 20


class Continued(msgspec.Struct, array_like=True, frozen=True):
    """A list that goes on: when it began (ms), what was asked for, and the items shown so far."""

    at: int
    asked: RecommendationRequest
    shown: list[str]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Continued)


def token_of(continued: Continued) -> str | None:
    """The token; None where the list has become too long to go on."""
    if len(continued.shown) > MAX_SHOWN:
        return None
    token = base64.urlsafe_b64encode(_encoder.encode(continued)).decode()
    return token if len(token) <= _MAX_CHARACTERS else None


def opened(asked: NextRequest, now_ms: int) -> Continued:
    """The list that a token goes on with, `count` more of it. Whoever asks is checked as for a first page.

    Raises:
        BadInput: it is none of ours, or older than 30 minutes.
    """
    try:
        found = _decoder.decode(base64.urlsafe_b64decode(asked.next_token.encode("ascii")))
    except (binascii.Error, ValueError, RecursionError):
        raise BadInput(
            "This is no next_token that this interface has answered.", path="next_token", code="wrong_token"
        ) from None
    if not 0 <= now_ms - found.at <= KEPT_MS:
        raise BadInput(
            "This list is older than 30 minutes; ask for a new one.", path="next_token", code="next_token_expired"
        )
    return msgspec.structs.replace(found, asked=msgspec.structs.replace(found.asked, count=asked.count, pins=()))
