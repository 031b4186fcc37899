"""Decodes the fields of many spans as columns, and requests down to their encoded spans.

The message types have the field numbers of OTLP's, and so the same bytes, and leave parts of a message undecoded.

Concatenated protobuf messages are one message with the repeated fields of all of them (protobuf's documentation,
"Encoding"). So the spans are parsed together as one message in which every field is repeated, and no
object per span is made. A marker after each span shows where its values end.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

_Field = descriptor_pb2.FieldDescriptorProto
_BYTES, _TEXT, _NUMBER, _FIXED = _Field.TYPE_BYTES, _Field.TYPE_STRING, _Field.TYPE_INT32, _Field.TYPE_FIXED64
_SPAN_FIELDS = (
    ("trace_ids", 1, _BYTES), ("ids", 2, _BYTES), ("states", 3, _TEXT), ("parents", 4, _BYTES), ("names", 5, _TEXT),
    ("kinds", 6, _NUMBER), ("starts", 7, _FIXED), ("ends", 8, _FIXED), ("attributes", 9, _BYTES),
    ("events", 11, _BYTES), ("links", 13, _BYTES), ("statuses", 15, _BYTES),
)  # fmt: skip


def _message_types() -> tuple[Any, Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="foreshock/light.proto", package="foreshock", syntax="proto3")
    layout: dict[str, tuple[tuple[str, int, Any, bool], ...]] = {
        "SpanColumns": tuple((*field, True) for field in _SPAN_FIELDS),
        "Status": (("message", 2, _TEXT, False), ("code", 3, _NUMBER, False)),
        "LastOfSpan": (
            *((*field, field[0] == "attributes") for field in _SPAN_FIELDS[:-1]), ("statuses", 15, "Status", False)
        ),
        "ScopedBytes": (("scope", 1, _BYTES, False), ("spans", 2, _BYTES, True), ("schema_url", 3, _BYTES, False)),
        "GroupBytes": (
            ("resource", 1, _BYTES, False), ("scope_spans", 2, "ScopedBytes", True), ("schema_url", 3, _BYTES, False)
        ),
        "DataBytes": (("resource_spans", 1, "GroupBytes", True),),
    }  # fmt: skip
    for name, fields in layout.items():
        message = file.message_type.add(name=name)
        for label, number, kind, repeated in fields:
            field = message.field.add(name=label, number=number, label=3 if repeated else 1)
            if isinstance(kind, str):
                field.type, field.type_name = _Field.TYPE_MESSAGE, f".foreshock.{kind}"
            else:
                field.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    types = [pool.FindMessageTypeByName(f"foreshock.{name}") for name in ("DataBytes", "SpanColumns", "LastOfSpan")]
    return tuple(message_factory.GetMessageClass(type_) for type_ in types)  # type: ignore[return-value]  # three


DataBytes, SpanColumns, LastOfSpan = _message_types()
"""`DataBytes` is TracesData with resources, scopes and spans as bytes. `SpanColumns` is many spans, with each field as
a column. `LastOfSpan` is one span with only the last value of each field except the attributes."""

SPAN_END = secrets.token_bytes(16)
"""Marker after the attributes of each span. A truncated span swallows it, which is detected. It is random, so that a
sender cannot include it."""
_MARKERS: dict[str, Any] = {
    "trace_ids": b"", "ids": b"", "parents": SPAN_END[:8], "names": "", "kinds": 0, "starts": 0, "ends": 0,
    "events": b"", "links": b"", "statuses": SPAN_END[:8],
}  # fmt: skip
"""Marker after the values of each column: empty, except for fields that some senders set to their default value, as
OpenTelemetry's Collector does with parents and statuses."""
_SEPARATOR = SpanColumns(attributes=[SPAN_END]).SerializeToString() + b"".join(
    SpanColumns(**{column: [marker]}).SerializeToString() for column, marker in _MARKERS.items()
)


class SpanFields(NamedTuple):
    """Fields of spans as columns; b"", "" or 0 where a field is missing.

    Of several values of a field the last one is used; several statuses are merged.

    events, links: not empty if there are some.
    attributes: encoded KeyValues of all spans, with `SPAN_END` after those of each span.
    """

    trace_ids: list[bytes]
    ids: list[bytes]
    parents: list[bytes]
    names: list[str]
    kinds: list[int]
    starts: list[int]
    ends: list[int]
    events: list[bytes]
    links: list[bytes]
    statuses: list[bytes]
    attributes: list[bytes]


def span_fields(spans: Sequence[bytes]) -> SpanFields:
    """Return the fields of encoded spans.

    Raises:
        DecodeError: one of them is malformed.
    """
    fields = _parse(spans) or _parse([*map(_normalized, spans)])
    if fields is None:
        raise DecodeError("ambiguous span fields")
    return fields


def _parse(spans: Sequence[bytes]) -> SpanFields | None:
    """Return None if a span is truncated, has a field twice, or has one with its default value."""
    parsed = SpanColumns.FromString(_SEPARATOR.join((*spans, b"")))
    attributes = parsed.attributes[:]
    if attributes.count(SPAN_END) != len(spans):
        return None
    columns: list[Any] = [_split(getattr(parsed, name), marker, len(spans)) for name, marker in _MARKERS.items()]
    return None if None in columns else SpanFields._make([*columns, attributes])


def _split(values: Sequence[Any], marker: Any, spans: int) -> list[Any] | None:  # noqa: ANN401 - bytes, str or int
    """Return one value per span from a column with a marker after each span.

    None if a span has several values, or one that equals the marker.
    """
    default = type(marker)()
    if len(values) == spans:  # markers only
        return [default] * spans
    if len(values) == 2 * spans:
        first = list(values[::2])
        if all(first) if marker == default else marker not in first:  # value and marker alternate
            return first
    column = list(values)
    before_markers = [previous for previous, value in zip([marker, *column], column, strict=False) if value == marker]
    one_each = before_markers.count(marker) + len(column) == 2 * spans
    return [value if value != marker else default for value in before_markers] if one_each else None


def _normalized(span: bytes) -> bytes:
    """Return the span with each field once, and without default values.

    All events and links are checked here, since only the last one of each remains.
    """
    OtlpSpan.FromString(span)
    last = LastOfSpan.FromString(span)
    last.DiscardUnknownFields()
    return bytes(last.SerializeToString())
