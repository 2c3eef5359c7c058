"""Which parts of a row and which features differ, and by how much."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec

from features import shoppers
from features.aggregates import SHOPPER_BEHAVIOUR
from features.shoppers import State
from features.value_codec import decode_value, hash_field, time_field

_POSITION: Final = f"_log:{SHOPPER_BEHAVIOUR.name}".encode()
_NAMES: Final = {
    **{hash_field(SHOPPER_BEHAVIOUR.name, name): name for name in SHOPPER_BEHAVIOUR.fields},
    time_field(SHOPPER_BEHAVIOUR.name): "event time",
}

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
            yield f"{where}.{name}", list(_numbers(msgspec.to_builtins(left), msgspec.to_builtins(right)))


def _numbers(one: Any, other: Any) -> Iterator[float]:
    """The absolute differences of numbers that stand at the same place in both."""
    if isinstance(one, bool) or isinstance(other, bool):
        return
    if isinstance(one, int | float) and isinstance(other, int | float):
        if one != other:
            yield float(abs(one - other))
    elif isinstance(one, dict) and isinstance(other, dict):
        for key in one.keys() & other.keys():
            yield from _numbers(one[key], other[key])
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        for left, right in zip(one, other, strict=True):
            yield from _numbers(left, right)
