"""The shelf: one shopper's candidates, made by the worker after the last event, read at each page view.

A page view seldom looks beyond the first few dozen of them: those come decoded, the rest in packed parts that are
decoded when they are reached.
"""

from collections.abc import Iterator
from itertools import chain
from typing import Final

import mmh3
import msgspec

from models.candidates import Candidate, Candidates

_PART: Final = 40


class Shelf(msgspec.Struct):
    """Candidates best first, and what they were made from: model, and position on the log when scored."""

    model_version: str
    log: str
    offset: int
    scored_at: int  # event time of the shopper's newest event, ms
    candidates: Candidates
    row_mark: bytes = b""  # `mark_of` the row that it was made from


class OpenShelf(msgspec.Struct, array_like=True):
    """A shelf as it lies in Redis; to iterate over it gives the candidates."""

    model_version: str
    log: str
    offset: int
    scored_at: int
    first: Candidates
    rest: list[msgspec.Raw]  # Candidates each
    row_mark: bytes = b""

    def __iter__(self) -> Iterator[Candidate]:
        return chain(self.first, chain.from_iterable(map(_part_decoder.decode, self.rest)))


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(OpenShelf)
_part_decoder: Final = msgspec.msgpack.Decoder(Candidates)


def mark_of(row: bytes) -> bytes:
    """What a packed row is recognised by, 8 bytes: a shelf is as new as its row when it carries the row's mark.

    Times would not do: loaded history changes a row and leaves its newest event where it was. Whoever made two rows of
    one mark would keep an older list of their own, no more: no cryptographic hash is needed.
    """
    return mmh3.hash_bytes(row)[:8]


def encode(shelf: Shelf) -> bytes:
    """Packed for Redis."""
    of = shelf.candidates
    first = of.part(0, _PART)
    rest = [msgspec.Raw(_encoder.encode(of.part(at, at + _PART))) for at in range(_PART, len(of), _PART)]
    return _encoder.encode(
        OpenShelf(shelf.model_version, shelf.log, shelf.offset, shelf.scored_at, first, rest, shelf.row_mark)
    )


def decode(raw: bytes) -> Shelf:
    """The inverse of `encode`.

    Raises:
        msgspec.DecodeError: the bytes are no shelf.
    """
    found = opened(raw)
    of = Candidates.of(found)
    return Shelf(found.model_version, found.log, found.offset, found.scored_at, of, found.row_mark)


def opened(raw: bytes) -> OpenShelf:
    """For those who take candidates from the front and stop.

    Raises:
        msgspec.DecodeError: the bytes are no shelf.
    """
    return _decoder.decode(raw)
