"""Feast's row layout by hand: entity keys, hash fields, `Value` and `Timestamp` messages.

Importing feast costs seconds and hundreds of megabytes, also for its message types alone; a worker encodes thousands
of rows a second. So the few messages that we use are written and read here, byte for byte as protobuf does it.
"""

import struct
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

import mmh3
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.timestamp_pb2 import Timestamp

from features.aggregates import Kind, Value, ValueType

_LIST_OFFSET: Final = 10  # field number of a list in `Value`, less that of its scalar
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_NO_TIMESTAMP: Final = -(2**63)  # Feast's null among timestamps
_ENTITY_STRING: Final = 2  # ValueType.STRING of Feast's enumeration


def entity_key(entity: str, value: str, project: str) -> bytes:
    """The Redis key of an entity: Feast's entity key serialization version 3, then the project."""
    name, text = entity.encode(), value.encode()
    return b"".join(
        (
            struct.pack("<III", 1, _ENTITY_STRING, len(name)),
            name,
            struct.pack("<II", _ENTITY_STRING, len(text)),
            text,
            project.encode(),
        )
    )


def project_of(key: bytes) -> str | None:
    """The project of an entity's Redis key, as `entity_key` makes them; None for any other key."""
    try:
        count, kind, size = struct.unpack_from("<III", key)
        text_kind, text_size = struct.unpack_from("<II", key, 12 + size)
        if count != 1 or kind != _ENTITY_STRING or text_kind != _ENTITY_STRING:
            return None
        return key[20 + size + text_size :].decode() if len(key) > 20 + size + text_size else None
    except (struct.error, UnicodeDecodeError):
        return None


def hash_field(view: str, name: str) -> bytes:
    """The field of a feature in the entity's hash."""
    return struct.pack("<I", mmh3.hash(f"{view}:{name}", signed=False))


def time_field(view: str) -> bytes:
    """The field that holds a view's event time."""
    return f"_ts:{view}".encode()


def encode_time(at_ms: int) -> bytes:
    """A protobuf Timestamp."""
    seconds, millis = divmod(at_ms, 1000)
    packed: bytes = Timestamp(seconds=seconds, nanos=millis * 1_000_000).SerializeToString()
    return packed


def encoder(value_type: ValueType) -> Callable[[Any], bytes]:
    """A function from a feature's value to its `Value` message; None becomes the empty message."""
    number = value_type.kind.value + (_LIST_OFFSET if value_type.many else 0)
    if value_type.many:
        tag, elements = _varint(number << 3 | _BYTES), _LIST_ENCODERS[value_type.kind]

        def encode_list(value: Any) -> bytes:
            if value is None:
                return b""
            packed = elements(value)
            return b"".join((tag, _varint(len(packed)), packed))

        return encode_list
    wire, scalar = _SCALAR_ENCODERS[value_type.kind]
    scalar_tag = _varint(number << 3 | wire)

    def encode_scalar(value: Any) -> bytes:
        return b"" if value is None else scalar_tag + scalar(value)

    return encode_scalar


def decode_value(raw: bytes | None) -> Value:
    """The value in a `Value` message, which says itself of what type it is; None for a missing or empty one.

    Raises:
        ValueError: a type that no feature here has.
    """
    if not raw:
        return None
    tag, at = _read_varint(raw, 0)
    number = tag >> 3
    if number in _SCALAR_DECODERS:
        scalar: Value = _SCALAR_DECODERS[number](raw, at)
        return scalar
    if number - _LIST_OFFSET in _LIST_DECODERS:
        size, at = _read_varint(raw, at)
        many: Value = _LIST_DECODERS[number - _LIST_OFFSET](raw[at : at + size])
        return many
    raise ValueError(f"field {number} of Feast's Value message is of no type that a feature here has")


@lru_cache(maxsize=1 << 12)  # counts and lengths come again and again
def _varint(number: int) -> bytes:
    rest = number & 0xFFFF_FFFF_FFFF_FFFF  # negative numbers are their two's complement in 64 bits
    out = bytearray()
    while rest > 0x7F:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _read_varint(raw: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = raw[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def _seconds(moment: datetime) -> int:
    return int(moment.timestamp())


def _moment(seconds: int) -> datetime | None:
    return None if seconds == _NO_TIMESTAMP else datetime.fromtimestamp(seconds, tz=UTC)


def _sized(raw: bytes) -> bytes:
    return _varint(len(raw)) + raw


def _list_message(name: str, element: int) -> type[Any]:
    """The message of a list: its elements are field 1."""
    file = descriptor_pb2.FileDescriptorProto(name=f"daogou/{name}.proto", package="daogou", syntax="proto3")
    repeated = descriptor_pb2.FieldDescriptorProto.LABEL_REPEATED
    file.message_type.add(name=name).field.add(name="val", number=1, type=element, label=repeated)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message: type[Any] = message_factory.GetMessageClass(pool.FindMessageTypeByName(f"daogou.{name}"))
    return message


_Texts: Final = _list_message("Texts", descriptor_pb2.FieldDescriptorProto.TYPE_STRING)
_Integers: Final = _list_message("Integers", descriptor_pb2.FieldDescriptorProto.TYPE_INT64)


def _texts(values: Iterable[str]) -> bytes:
    packed: bytes = _Texts(val=values).SerializeToString()
    return packed


def _varints(values: Iterable[int]) -> bytes:
    packed: bytes = _Integers(val=values).SerializeToString()
    return packed


def _fixed(letter: str) -> Callable[[list[float]], bytes]:
    size = struct.calcsize(letter)

    def encode(values: list[float]) -> bytes:
        if not len(values):
            return b""
        return b"\x0a" + _varint(len(values) * size) + struct.pack(f"<{len(values)}{letter}", *values)

    return encode


_SCALAR_ENCODERS: Final[dict[Kind, tuple[int, Callable[[Any], bytes]]]] = {
    Kind.Bytes: (_BYTES, _sized),
    Kind.String: (_BYTES, lambda text: _sized(text.encode())),
    Kind.Int32: (_VARINT, _varint),
    Kind.Int64: (_VARINT, _varint),
    Kind.Float64: (_FIXED64, struct.Struct("<d").pack),
    Kind.Float32: (_FIXED32, struct.Struct("<f").pack),
    Kind.Bool: (_VARINT, lambda truth: b"\x01" if truth else b"\x00"),
    Kind.UnixTimestamp: (_VARINT, lambda moment: _varint(_seconds(moment))),
}

_LIST_ENCODERS: Final[dict[Kind, Callable[[Any], bytes]]] = {
    Kind.Bytes: lambda values: b"".join([b"\x0a" + _sized(each) for each in values]),
    Kind.String: _texts,
    Kind.Int32: _varints,
    Kind.Int64: _varints,
    Kind.Float64: _fixed("d"),
    Kind.Float32: _fixed("f"),
    Kind.Bool: lambda values: _varints(map(int, values)),
    Kind.UnixTimestamp: lambda values: _varints(map(_seconds, values)),
}


def _read_number(raw: bytes, at: int) -> int:
    return _signed(_read_varint(raw, at)[0])


def _read_sized(raw: bytes, at: int) -> bytes:
    size, at = _read_varint(raw, at)
    return raw[at : at + size]


def _read_elements(raw: bytes) -> list[bytes]:
    at, found = 0, []
    while at < len(raw):
        size, start = _read_varint(raw, at + 1)
        found.append(raw[start : start + size])
        at = start + size
    return found


def _read_varints(raw: bytes) -> list[int]:
    found = []
    for packed in _read_elements(raw):
        at = 0
        while at < len(packed):
            number, at = _read_varint(packed, at)
            found.append(_signed(number))
    return found


def _read_fixed(letter: str) -> Callable[[bytes], list[float]]:
    size = struct.calcsize(letter)

    def decode(raw: bytes) -> list[float]:
        packed = b"".join(_read_elements(raw))
        return list(struct.unpack(f"<{len(packed) // size}{letter}", packed))

    return decode


_SCALAR_DECODERS: Final[dict[int, Callable[[bytes, int], Value]]] = {
    Kind.Bytes.value: _read_sized,
    Kind.String.value: lambda raw, at: _read_sized(raw, at).decode(),
    Kind.Int32.value: _read_number,
    Kind.Int64.value: _read_number,
    Kind.Float64.value: lambda raw, at: float(struct.unpack_from("<d", raw, at)[0]),
    Kind.Float32.value: lambda raw, at: float(struct.unpack_from("<f", raw, at)[0]),
    Kind.Bool.value: lambda raw, at: raw[at] != 0,
    Kind.UnixTimestamp.value: lambda raw, at: _moment(_read_number(raw, at)),
}

_LIST_DECODERS: Final[dict[int, Callable[[bytes], Any]]] = {
    Kind.Bytes.value: _read_elements,
    Kind.String.value: lambda raw: [each.decode() for each in _read_elements(raw)],
    Kind.Int32.value: _read_varints,
    Kind.Int64.value: _read_varints,
    Kind.Float64.value: _read_fixed("d"),
    Kind.Float32.value: _read_fixed("f"),
    Kind.Bool.value: lambda raw: [each != 0 for each in _read_varints(raw)],
    Kind.UnixTimestamp.value: lambda raw: [_moment(each) for each in _read_varints(raw)],
}
