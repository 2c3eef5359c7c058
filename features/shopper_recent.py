"""Recent steps as they lie packed in a row: looked at and added to without being unpacked.

Most events are a shopper's newest, new to the row, and settle nothing. Then all that is asked of the steps before is
how many there are, when the first was, and that none has this id; and the new ones go to the end. What lies here is a
MessagePack array of arrays, which is why its beginning says the first two, and the last is a search for bytes.
"""

from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

import msgspec

from features.shopper_state import Step

_FEW: Final = 0x90  # an array of up to 15 says its length in the low bits
_MOST_OF_FEW: Final = 15
_MANY: Final = Struct(">BH")
_MANY_TAG: Final = 0xDC
# A step begins with its time: an array of nine, then an unsigned number of 64 bits (any after 1970-02-19).
_FIRST: Final = Struct(">BBQ")
_STEP_TAG, _TIME_TAG = 0x99, 0xCF

_encoder: Final = msgspec.msgpack.Encoder()


class Recent(NamedTuple):
    """Packed steps: how many, when the first was (ms, 0: there is none), and their bytes without the array's head."""

    many: int
    first_at: int
    body: bytes

    def may_hold(self, event_id: str) -> bool:
        """Whether a step may have this id; False is certain."""
        return event_id.encode(errors="surrogatepass") in self.body

    def followed_by(self, steps: Sequence[Step]) -> msgspec.Raw:
        """Packed, with these steps, which are newer, at the end."""
        many = self.many + len(steps)
        head = bytes((_FEW | many,)) if many <= _MOST_OF_FEW else _MANY.pack(_MANY_TAG, many)
        return msgspec.Raw(b"".join((head, self.body, *map(_encoder.encode, steps))))


def looked_at(packed: msgspec.Raw) -> Recent | None:
    """What the beginning of packed steps says; None where it is not written as most are."""
    raw = bytes(packed)
    head, begin = raw[0], 1
    if head == _MANY_TAG:
        many, begin = _MANY.unpack_from(raw)[1], _MANY.size
    elif _FEW <= head <= _FEW + _MOST_OF_FEW:
        many = head - _FEW
    else:
        return None
    if not many:
        return Recent(0, 0, b"")
    if len(raw) < begin + _FIRST.size:
        return None
    step, time, first_at = _FIRST.unpack_from(raw, begin)
    return Recent(many, first_at, raw[begin:]) if (step, time) == (_STEP_TAG, _TIME_TAG) else None
