"""A large OTLP request in slices, so that reading it takes memory for a slice and not for all of it.

A message that protobuf reads takes some hundred bytes of memory, and two of a request: 64 MiB of empty spans would take
6 GiB. So a request is walked first, down to its spans and without reading these (protobuf.dev, "Encoding"), and cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from google.protobuf.message import DecodeError

from foreshock_dashboard.ingest.otlp import (
    MAX_ORIGIN_BYTES,
    MAX_SPAN_BYTES,
    ORIGIN_TOO_LARGE,
    SPAN_TOO_LARGE,
    join_spans,
)
from foreshock_dashboard.model.span import Origin

MAX_SLICE_BYTES = MAX_SPAN_BYTES
"""Bytes of the spans in a slice. A request that has no more is one slice, and is not walked."""
MAX_SLICE_SPANS = 5_000
"""Spans in a slice."""
MAX_FIELDS = 1 << 20
"""Spans, scopes, resources and other fields beside them in one request."""

_VARINT, _BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
"""Bytes of the wire types of fixed length."""
_RESOURCE = _SCOPE = 1
_GROUPS, _SCOPED, _ITEMS = 1, 2, 2
_SCHEMA = 3
_DOWN = (_GROUPS, _SCOPED)
_NONE = memoryview(b"")


class TooManyFieldsError(Exception):
    """A request has more than `MAX_FIELDS` fields."""


def check_field_count(data: bytes) -> None:
    """Walk a TracesData down to its spans.

    Raises:
        DecodeError: it is none.
        TooManyError: it has too many fields.
    """
    for count, _ in enumerate(_walk(memoryview(data), 0)):
        if count == MAX_FIELDS:
            raise TooManyFieldsError(f"more than {MAX_FIELDS} spans, scopes and resources")


def split_request(data: bytes, refused: Counter[str]) -> Iterator[bytes]:
    """The same spans as TracesData of at most `BYTES` and `SPANS`; `check` it before.

    Spans that are too large, or whose resource or scope is, are left out and counted with their reason.
    """
    taken: list[tuple[Origin, bytes]] = []
    size = 0
    last = Origin(b"", b"")
    for origin, span in _spans(memoryview(data), refused):
        cost = len(span) + sum(len(new) for new, old in zip(origin, last, strict=True) if new is not old)
        if taken and (size + cost > MAX_SLICE_BYTES or len(taken) == MAX_SLICE_SPANS):
            yield join_spans(taken)
            taken, size = [], 0
        taken.append((origin, bytes(span)))
        size, last = size + cost, origin
    if taken:
        yield join_spans(taken)


def _spans(data: memoryview, refused: Counter[str]) -> Iterator[tuple[Origin, memoryview]]:
    for group in _all(data, _GROUPS):
        resource, schema = bytes(_last(group, _RESOURCE)), bytes(_last(group, _SCHEMA))
        for scoped in _all(group, _SCOPED):
            origin = Origin(resource, bytes(_last(scoped, _SCOPE)), schema, bytes(_last(scoped, _SCHEMA)))
            if max(map(len, origin)) > MAX_ORIGIN_BYTES:
                refused[ORIGIN_TOO_LARGE] += sum(1 for _ in _all(scoped, _ITEMS))
                continue
            for span in _all(scoped, _ITEMS):
                if len(span) > MAX_SPAN_BYTES:
                    refused[SPAN_TOO_LARGE] += 1
                else:
                    yield origin, span


def _walk(data: memoryview, depth: int) -> Iterator[None]:
    for number, inner in _fields(data):
        yield
        if depth < len(_DOWN) and number == _DOWN[depth]:
            yield from _walk(inner, depth + 1)


def _all(data: memoryview, wanted: int) -> Iterator[memoryview]:
    return (inner for number, inner in _fields(data) if number == wanted)


def _last(data: memoryview, wanted: int) -> memoryview:
    found = _NONE
    for inner in _all(data, wanted):
        found = inner
    return found


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Every field of a message: its number and its bytes, if it has a length; else 0 and none."""
    at, end = 0, len(data)
    while at < end:
        tag, at = _varint(data, at)
        number, kind, inner = 0, tag & 7, _NONE
        if kind == _BYTES:
            size, at = _varint(data, at)
            number, inner = tag >> 3, data[at : at + size]
            at += size
        elif kind == _VARINT:
            _, at = _varint(data, at)
        elif kind in _FIXED:
            at += _FIXED[kind]
        else:
            raise DecodeError(f"wire type {kind} at byte {at} of a message of {end}")
        if tag < 8:
            raise DecodeError(f"a field of number 0 at byte {at} of a message of {end}")
        if at > end:
            raise DecodeError(f"a field ends {at - end} bytes beyond its message of {end}")
        yield number, inner


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    """A base-128 number of at most ten bytes, and where it ends."""
    value = 0
    for shift, byte in enumerate(data[at : at + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, at + shift + 1
    raise DecodeError("a number that does not end")
