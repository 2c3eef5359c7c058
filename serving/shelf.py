"""The shelf: one shopper's candidates, made by the worker after the last event, read at each page view."""

import msgspec

from models.candidates import Candidate


class Shelf(msgspec.Struct, array_like=True):
    """Candidates best first, and what they were made from: model, and position on the log when scored."""

    model_version: str
    log: str
    offset: int
    scored_at: int  # event time of the shopper's newest event, ms
    candidates: list[Candidate]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Shelf)


def encode(shelf: Shelf) -> bytes:
    """Packed for Redis."""
    return _encoder.encode(shelf)


def decode(raw: bytes) -> Shelf:
    """The inverse of `encode`.

    Raises:
        msgspec.DecodeError: the bytes are no shelf.
    """
    return _decoder.decode(raw)
