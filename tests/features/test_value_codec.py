"""Feast's value messages: to the byte what protobuf's wire format says, written out plainly here."""

import struct
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from features.aggregates import Kind, ValueType
from features.value_codec import decode_value, encode_time, encoder

YEAR_3000_MS: Final = 32_503_680_000_000


def varint(number: int) -> bytes:
    rest, out = number % 2**64, bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    return bytes([*out, rest])


def sized(raw: bytes) -> bytes:
    return varint(len(raw)) + raw


def packed(raw: bytes) -> bytes:
    return b"\x0a" + sized(raw) if raw else b""


MANY: Final[dict[Kind, tuple[st.SearchStrategy[Any], Callable[[Sequence[Any]], bytes]]]] = {
    Kind.String: (st.text(max_size=200), lambda v: b"".join(b"\x0a" + sized(each.encode()) for each in v)),
    Kind.Bytes: (st.binary(max_size=200), lambda v: b"".join(b"\x0a" + sized(each) for each in v)),
    Kind.Int32: (st.integers(-(2**31), 2**31 - 1), lambda v: packed(b"".join(map(varint, v)))),
    Kind.Int64: (st.integers(-(2**63), 2**63 - 1), lambda v: packed(b"".join(map(varint, v)))),
    Kind.Bool: (st.booleans(), lambda v: packed(bytes(v))),
    Kind.Float32: (
        st.floats(width=32, allow_nan=False),
        lambda v: packed(b"".join(struct.pack("<f", each) for each in v)),
    ),
    Kind.Float64: (st.floats(allow_nan=False), lambda v: packed(b"".join(struct.pack("<d", each) for each in v))),
}


@pytest.mark.parametrize("kind", MANY, ids=lambda kind: kind.name)
@given(st.data())
def test_a_list_is_tag_length_and_elements(kind: Kind, data: st.DataObject) -> None:
    values, plain = MANY[kind]
    value = data.draw(st.lists(values, max_size=70))
    raw = encoder(ValueType(kind, many=True))(value)
    assert raw == varint((kind.value + 10) << 3 | 2) + sized(plain(value))
    assert decode_value(raw) == value


@pytest.mark.parametrize("kind", [Kind.Int64, Kind.Int32])
@given(st.integers(-(2**31), 2**31 - 1))
def test_a_number_is_tag_and_varint(kind: Kind, number: int) -> None:
    raw = encoder(ValueType(kind))(number)
    assert raw == varint(kind.value << 3) + varint(number)
    assert decode_value(raw) == number


@given(st.integers(0, YEAR_3000_MS))
@example(0)
@example(999)
@example(1000)
def test_a_time_is_seconds_and_nanoseconds_without_what_is_0(at_ms: int) -> None:
    seconds, millis = divmod(at_ms, 1000)
    fields = [(b"\x08", seconds), (b"\x10", millis * 1_000_000)]
    assert encode_time(at_ms) == b"".join(tag + varint(number) for tag, number in fields if number)


@pytest.mark.parametrize(
    ("kind", "value"), [(Kind.String, ["a\ud800"]), (Kind.Int64, [2**63]), (Kind.Float32, [1e300])]
)
def test_what_protobuf_cannot_hold_is_an_error(kind: Kind, value: list[Any]) -> None:
    with pytest.raises((ValueError, OverflowError)):
        encoder(ValueType(kind, many=True))(value)
