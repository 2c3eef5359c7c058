"""Which parts of a row and which features differ, and by how much."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from features import shoppers
from features.aggregates import SHOPPER_BEHAVIOUR
from features.shopper_step import advance
from features.shoppers import State
from features.value_codec import decode_value, hash_field, time_field

_POSITION: Final = f"_log:{SHOPPER_BEHAVIOUR.name}".encode()
_NAMES: Final = {
    **{hash_field(SHOPPER_BEHAVIOUR.name, name): name for name in SHOPPER_BEHAVIOUR.fields},
    time_field(SHOPPER_BEHAVIOUR.name): "event time",
}

_TIMES: Final = frozenset(("at", "newest", "wishes", "disliked"))  # of a state: in ms, or from an item to such a time

# A part that differs, and the absolute differences of the numbers in it.
Part = tuple[str, list[float]]


def row_parts(one: bytes, other: bytes) -> list[Part]:
    """The parts in which two packed rows differ."""
    try:
        left, right = shoppers.decode(one), shoppers.decode(other)
        parts = list(_parts_of(left.state, right.state, "row"))
        if left.floor != right.floor:
            parts.append(("row.floor", [float(abs(left.floor - right.floor))]))
        (settled, recent), (settled_too, recent_too) = shoppers.unpacked(left), shoppers.unpacked(right)
    except Exception:  # whatever bytes may lie there: that they cannot be read is what there is to say
        return [("row cannot be read", [])]
    parts += _parts_of(settled, settled_too, "row.settled")
    if recent != recent_too:
        parts.append(("row.recent", []))
    return parts or [("row is packed otherwise", [])]


def settled_otherwise(one: bytes, other: bytes) -> bool:
    """Whether two packed rows say the same and will, and only keep less or more of it apart as recent: code of another
    version settled at other moments.
    """
    try:
        left, right = shoppers.decode(one), shoppers.decode(other)
        if (left.state, left.floor, left.known) != (right.state, right.floor, right.known):
            return False
        less, more = sorted((shoppers.unpacked(left), shoppers.unpacked(right)), key=lambda parts: len(parts[1]))
    except Exception:  # whatever bytes may lie there: `row_parts` tells of it
        return False
    apart = len(more[1]) - len(less[1])
    for step in more[1][:apart]:
        advance(more[0], step)
    return more[1][apart:] == less[1] and more[0] == less[0]


def feature_parts(one: Mapping[bytes, bytes], other: Mapping[bytes, bytes]) -> list[Part]:
    """The features in which two of Feast's rows differ; where on the log they were written from is left out."""
    parts: list[Part] = []
    for field in sorted(one.keys() | other.keys()):
        left, right = one.get(field), other.get(field)
        if left == right or field == _POSITION:
            continue
        name = f"feature {_NAMES.get(field, 'of another view')}"
        try:
            values = decode_value(left), decode_value(right)
        except Exception:  # bytes of another kind, a Timestamp among them
            parts.append((name, []))
            continue
        parts.append((name, list(_numbers(*values))))
    return parts


def _parts_of(one: State, other: State, where: str) -> Iterator[Part]:
    for name in State.__struct_fields__:
        left, right = getattr(one, name), getattr(other, name)
        if left != right:
            yield f"{where}.{name}", [] if _is_time(name) else list(_numbers(left, right))


def _numbers(one: Any, other: Any) -> Iterator[float]:
    """The absolute differences of numbers that stand at the same place in both; times are no amounts of anything."""
    if isinstance(one, bool) or isinstance(other, bool):
        return
    if isinstance(one, int | float) and isinstance(other, int | float):
        if one != other:
            yield float(abs(one - other))
    elif isinstance(one, msgspec.Struct) and type(one) is type(other):
        for name in one.__struct_fields__:
            if not _is_time(name):
                yield from _numbers(getattr(one, name), getattr(other, name))
    elif isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() & other.keys():
            yield from _numbers(one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for left, right in zip(one, other, strict=True):
            yield from _numbers(left, right)


def _is_time(name: str) -> bool:
    return name in _TIMES or name.endswith("_at")
