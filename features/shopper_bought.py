"""Which items a shopper bought, beside those that the state weighs: small, exact, and in one bytes value.

A state weighs the `MAX_PURCHASED` heaviest purchases. Every other item that was bought is here, as an entry of twelve
bytes: a hash of the item's id (64 bits), the day of its last order and how many of its orders are left. Entries are
sorted by hash, so a look-up is a search and needs no unpacking. Orders are either weighed or here, never both: an item
that is bought again is weighed anew, and its earlier orders stay here.

The bound: `MAX_BOUGHT_BEFORE` entries; beyond it the items whose last order is oldest go, some 256 at once,
and may be shown again. So of the items that are not weighed at least the 3,840 bought last are known as bought. Of one
item at most 32,767 orders are counted. Two of a million items share a hash in one shop of forty million; the buyer of
one would not be shown the other.
"""

from bisect import bisect_left
from hashlib import blake2b
from struct import Struct
from typing import Final, NamedTuple

from infra.clock import DAY_MS

MAX_BOUGHT_BEFORE: Final = 4096
KEPT_AT_LEAST: Final = 3840  # sorting for each item over the bound would cost milliseconds of each purchase

_HASH: Final = 8
_SIZE: Final = 12
_ORDERS_BITS: Final = 15
_MAX_ORDERS: Final = (1 << _ORDERS_BITS) - 1
# The day (17 bits reach the year 2328) above the orders: entries compare by day.
_last: Final = Struct(">I")


class Before(NamedTuple):
    """An entry: the last day (since 1970), and orders that were not given back."""

    last_day: int
    orders: int


def holds(bought: bytes, item_id: str) -> bool:
    """Whether an item is among the entries."""
    if not bought:
        return False
    hashed = _hashed(item_id)
    at = _place(bought, hashed)
    return bought[at : at + _HASH] == hashed


def orders_of(bought: bytes, item_id: str) -> Before | None:
    """How many orders of an item are left here, and the day of the last one."""
    if not bought:
        return None
    hashed = _hashed(item_id)
    at = _place(bought, hashed)
    return Before(*_told(bought, at)) if bought[at : at + _HASH] == hashed else None


def added(bought: bytes, item_id: str, last_at: int, orders: int) -> bytes:
    """With so many more orders of an item, the last of them at `last_at` (ms). The bound is kept by `bounded`."""
    hashed, day = _hashed(item_id), last_at // DAY_MS
    at = _place(bought, hashed)
    after = at
    if bought[at : at + _HASH] == hashed:
        after = at + _SIZE
        known_day, known = _told(bought, at)
        day, orders = max(day, known_day), orders + known
    return bought[:at] + hashed + _packed(day, orders) + bought[after:]


def taken_back(bought: bytes, item_id: str) -> bytes:
    """With one order of an item less; without the item if that was its only one."""
    if not bought:
        return bought
    hashed = _hashed(item_id)
    at = _place(bought, hashed)
    if bought[at : at + _HASH] != hashed:
        return bought
    day, orders = _told(bought, at)
    left = b"" if orders == 1 else hashed + _packed(day, orders - 1)
    return bought[:at] + left + bought[at + _SIZE :]


def united(one: bytes, other: bytes) -> bytes:
    """The entries of both: of an item in both the orders add up, the last of them counts. `bounded` keeps the bound."""
    if not one or not other:
        return one or other
    entries: dict[bytes, tuple[int, int]] = {}
    for bought in (one, other):
        for at in range(0, len(bought), _SIZE):
            hashed = bought[at : at + _HASH]
            (day, orders), (known_day, known) = _told(bought, at), entries.get(hashed, (0, 0))
            entries[hashed] = max(day, known_day), orders + known
    return b"".join(hashed + _packed(*entries[hashed]) for hashed in sorted(entries))


def bounded(bought: bytes) -> bytes:
    """Within the bound: of too many entries the oldest-bought go, those of one day in the order of their hashes."""
    if len(bought) <= MAX_BOUGHT_BEFORE * _SIZE:
        return bought
    entries = [bought[at : at + _SIZE] for at in range(0, len(bought), _SIZE)]
    kept = sorted(entries, key=lambda entry: (_told(entry, 0)[0], entry))[-KEPT_AT_LEAST:]
    return b"".join(sorted(kept))


def _hashed(item_id: str) -> bytes:
    return blake2b(item_id.encode(), digest_size=_HASH).digest()


def _place(bought: bytes, hashed: bytes) -> int:
    """Where the entry of a hash is, or belongs."""
    places = range(0, len(bought), _SIZE)
    return _SIZE * bisect_left(places, hashed, key=lambda at: bought[at : at + _HASH])


def _told(bought: bytes, at: int) -> tuple[int, int]:
    """Day of the last order, and orders, of the entry at a place."""
    (told,) = _last.unpack_from(bought, at + _HASH)
    return told >> _ORDERS_BITS, told & _MAX_ORDERS


def _packed(day: int, orders: int) -> bytes:
    return _last.pack(day << _ORDERS_BITS | min(orders, _MAX_ORDERS))
