"""Consistency tokens: where on the logs a change is, so that an answer can wait until it is applied there."""

import base64
import binascii
from collections.abc import Mapping
from typing import Final

import msgspec

from infra.errors import BadInput

MAX_CHARACTERS: Final = 65_536
# In the place of a log: the login of this anonymous shopper, whose user's row is to have what was before it.
LINK: Final = "link:"
# The highest offset, by partition, by log.
Positions = dict[str, dict[int, int]]

_decoder: Final = msgspec.msgpack.Decoder(dict[str, dict[int, int]])


def encode(positions: Mapping[str, Mapping[int, int]]) -> str:
    """The token of positions: letters, digits, `-` and `_`."""
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(positions)).rstrip(b"=").decode()


def decode(token: str, path: str = "min_token") -> Positions:
    """The positions of a token.

    Raises:
        BadInput: it is none of ours (`wrong_token`).
    """
    if not token or len(token) > MAX_CHARACTERS or not token.isascii():
        raise wrong(path)
    try:
        raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        return _decoder.decode(raw)
    except (binascii.Error, ValueError, RecursionError):
        raise wrong(path) from None


def wrong(path: str) -> BadInput:
    """What is said of a token that is none of ours."""
    return BadInput("This is no token that this interface has answered.", path=path, code="wrong_token")


class Acknowledged:
    """What this process has put on the log and what it knows to be applied of it: the lag that it can answer
    for.

    Per partition the (offset, time) of acknowledged records that were not seen applied, oldest first,
    thinned out to a bound.
    """

    MAX_PER_PARTITION: Final = 256

    def __init__(self, partitions: int) -> None:
        self._waiting: list[list[tuple[int, int]]] = [[] for _ in range(partitions)]

    def add(self, partition: int, offset: int, at_ms: int) -> None:
        """A record was acknowledged."""
        waiting = self._waiting[partition]
        if len(waiting) == self.MAX_PER_PARTITION:
            del waiting[1::2]
        waiting.append((offset, at_ms))

    def lag_ms(self, partition: int, applied: int, now_ms: int) -> int:
        """For how long the oldest record that is not applied has been waiting; 0 when all are."""
        waiting = self._waiting[partition]
        while waiting and waiting[0][0] <= applied:
            del waiting[0]
        return max(0, now_ms - waiting[0][1]) if waiting else 0
