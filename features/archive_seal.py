"""What each file of the archive says of itself, in its own footer: for each share its offsets, count and checksum.

The seal lies inside the Parquet file, which comes into sight whole: file and seal cannot disagree by a crash, and all
seals together are the archive's manifest. The checksum is of what the columns say, so it is the same whatever wrote or
compressed them: of the record (offset, time of receipt, key, value) and, since version 2, of what was read from it
(event time, tenant, shopper, name), too. A file is held against the version that sealed it.
"""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from struct import Struct
from typing import Any, Final

import msgspec

KEY: Final = b"daogou"
RECORDS_ALONE: Final = 1
VERSION: Final = 2
_DIGEST_BYTES: Final = 16
_HEAD: Final = Struct(">qqii").pack
_NONE: Final = -1
_pack: Final = msgspec.msgpack.Encoder().encode

# What was read from a record: event time (ms), tenant, shopper id, event name.
Derived = tuple[int | None, str | None, str | None, str | None]
# Offset, time of receipt (ms), key, value, what was read from it.
Sealed = tuple[int, int, bytes | None, bytes | None, Derived]


class Share(msgspec.Struct, frozen=True):
    """One row group: a partition's offsets, how many records they are, when they were received (ms), the checksum."""

    partition: int
    first: int
    last: int
    count: int
    received_from: int
    received_to: int
    checksum: str


class Seal(msgspec.Struct, frozen=True):
    """A file's seal."""

    log: str
    shares: list[Share]
    version: int = VERSION

    def packed(self) -> bytes:
        """As it stands in the footer."""
        return msgspec.json.encode(self)


def unpack(metadata: Any) -> Seal | None:
    """The seal of a file's footer; None: an older version wrote it, without one.

    Raises:
        msgspec.DecodeError: there is one that is none.
    """
    raw = (metadata or {}).get(KEY)
    return None if raw is None else msgspec.json.decode(raw, type=Seal)


def share(partition: int, records: Iterable[Sealed], version: int = VERSION) -> Share:
    """What is to be said of these records, of which there is at least one, in a seal of this version."""
    digest, count, first, last, times = blake2b(digest_size=_DIGEST_BYTES), 0, 0, 0, list[int]()
    for offset, received_at, key, value, derived in records:
        count, first, last = count + 1, first if count else offset, offset
        times.append(received_at)
        sizes = (_NONE if key is None else len(key), _NONE if value is None else len(value))
        digest.update(_HEAD(offset, received_at, *sizes) + (key or b"") + (value or b""))
        if version > RECORDS_ALONE:
            digest.update(_pack(derived))
    return Share(partition, first, last, count, min(times), max(times), digest.hexdigest())


def merged(spans: Sequence[tuple[int, int]]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(offsets in no span between the first and the last, offsets in more than one), of spans with both ends in."""
    holes, doubles, through = [], [], None
    for first, last in sorted(spans):
        if through is not None and first > through + 1:
            holes.append((through + 1, first - 1))
        if through is not None and first <= through:
            doubles.append((first, min(last, through)))
        through = last if through is None else max(last, through)
    return holes, doubles
