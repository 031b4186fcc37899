"""Protobuf's wire format, walked without parsing messages (protobuf.dev, "Encoding")."""

from __future__ import annotations

from collections.abc import Iterator

from google.protobuf.message import DecodeError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}


def fields(data: memoryview) -> Iterator[tuple[int, int, memoryview | int]]:
    """Number, wire type, and value of each field of a message: numbers of variable length as int, others as bytes.

    Raises DecodeError if it is malformed.
    """
    position, end = 0, len(data)
    value: memoryview | int
    while position < end:
        tag, position = _varint(data, position)
        wire_type = tag & 7
        if wire_type == VARINT:
            value, position = _varint(data, position)
        else:
            if wire_type == BYTES:
                size, position = _varint(data, position)
            elif wire_type in _FIXED_SIZES:
                size = _FIXED_SIZES[wire_type]
            else:
                raise DecodeError(f"wire type {wire_type} at byte {position} of a message of {end}")
            value = data[position : position + size]
            position += size
        if tag < 8:
            raise DecodeError(f"field number 0 at byte {position} of a message of {end}")
        if position > end:
            raise DecodeError(f"a field ends {position - end} bytes beyond its message of {end}")
        yield tag >> 3, wire_type, value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    """Return a base-128 number of at most ten bytes, and the position after it."""
    value = 0
    for shift, byte in enumerate(data[position : position + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, position + shift + 1
    raise DecodeError("a number that does not end")
