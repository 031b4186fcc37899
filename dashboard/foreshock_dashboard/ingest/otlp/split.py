"""Splits a large OTLP request into slices by walking protobuf's wire format.

Parsing with protobuf takes some hundred bytes of memory per message, and an empty span has two bytes: 64 MiB of empty
spans would take 6 GiB. So the request is first walked down to its spans, without parsing these, and split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from foreshock_dashboard.ingest.otlp.decode import MAX_ORIGIN_BYTES, MAX_SPAN_BYTES, ORIGIN_TOO_LARGE, SPAN_TOO_LARGE
from foreshock_dashboard.ingest.otlp.encode import join_spans
from foreshock_dashboard.ingest.otlp.wire_format import BYTES, fields
from foreshock_dashboard.model.span import Origin

MAX_SLICE_BYTES = MAX_SPAN_BYTES
"""Bytes of the spans of a slice. A request of this size is one slice and is not walked."""
MAX_SLICE_SPANS = 5_000
MAX_FIELDS = 1 << 20
"""Spans, scopes, resources and other fields beside them in one request."""

_RESOURCE = _SCOPE = 1
_RESOURCE_SPANS, _SCOPE_SPANS, _SPANS = 1, 2, 2
_SCHEMA_URL = 3
_PATH = (_RESOURCE_SPANS, _SCOPE_SPANS)
_EMPTY = memoryview(b"")


class TooManyFieldsError(Exception):
    """A request has too many fields. The message gives the limit."""


def check_field_count(data: bytes | bytearray, max_fields: int = MAX_FIELDS) -> None:
    """Walk a TracesData down to its spans.

    Raises:
        DecodeError: it is malformed.
        TooManyFieldsError: it has more than `max_fields` fields.
    """
    for count, _ in enumerate(_walk(memoryview(data), 0)):
        if count == max_fields:
            raise TooManyFieldsError(f"more than {max_fields} spans, scopes and resources")


def split_request(
    data: bytes | bytearray, rejected: Counter[str], max_bytes: int = MAX_SLICE_BYTES, max_spans: int = MAX_SLICE_SPANS
) -> Iterator[bytes]:
    """Yield the spans of a checked request as TracesData of at most `max_bytes` and `max_spans` each.

    Spans that are too large, or have a resource or scope that is, are left out and added to `rejected` by reason.
    """
    spans: list[tuple[Origin, bytes]] = []
    size = 0
    previous = Origin(b"", b"")
    for origin, span in _spans(memoryview(data), rejected):
        added = len(span) + sum(len(new) for new, old in zip(origin, previous, strict=True) if new is not old)
        if spans and (size + added > max_bytes or len(spans) == max_spans):
            yield join_spans(spans)
            spans, size = [], 0
        spans.append((origin, bytes(span)))
        size, previous = size + added, origin
    if spans:
        yield join_spans(spans)


def _spans(data: memoryview, rejected: Counter[str]) -> Iterator[tuple[Origin, memoryview]]:
    for group in _all(data, _RESOURCE_SPANS):
        resource, schema = bytes(_last(group, _RESOURCE)), bytes(_last(group, _SCHEMA_URL))
        for scoped in _all(group, _SCOPE_SPANS):
            origin = Origin(resource, bytes(_last(scoped, _SCOPE)), schema, bytes(_last(scoped, _SCHEMA_URL)))
            if max(map(len, origin)) > MAX_ORIGIN_BYTES:
                rejected[ORIGIN_TOO_LARGE] += sum(1 for _ in _all(scoped, _SPANS))
                continue
            for span in _all(scoped, _SPANS):
                if len(span) > MAX_SPAN_BYTES:
                    rejected[SPAN_TOO_LARGE] += 1
                else:
                    yield origin, span


def _walk(data: memoryview, depth: int) -> Iterator[None]:
    """Yield once per field, down to the spans."""
    for number, value in _fields(data):
        yield
        if depth < len(_PATH) and number == _PATH[depth]:
            yield from _walk(value, depth + 1)


def _all(data: memoryview, number: int) -> Iterator[memoryview]:
    return (value for field, value in _fields(data) if field == number)


def _last(data: memoryview, number: int) -> memoryview:
    """Return the last value of a field, which is the one that protobuf uses."""
    last = _EMPTY
    for value in _all(data, number):
        last = value
    return last


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield number and value of each length-delimited field of a message; 0 and nothing for other fields."""
    for number, wire_type, value in fields(data):
        yield (number, value) if wire_type == BYTES and isinstance(value, memoryview) else (0, _EMPTY)
