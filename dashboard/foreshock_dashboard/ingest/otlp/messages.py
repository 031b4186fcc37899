"""Message types that are lighter than OTLP's: they have its field numbers, and so the same bytes."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

_Field = descriptor_pb2.FieldDescriptorProto
_BYTES, _TEXT, _NUMBER, _FIXED = _Field.TYPE_BYTES, _Field.TYPE_STRING, _Field.TYPE_INT32, _Field.TYPE_FIXED64
_SPAN = (
    ("trace_ids", 1, _BYTES), ("ids", 2, _BYTES), ("states", 3, _TEXT), ("parents", 4, _BYTES), ("names", 5, _TEXT),
    ("kinds", 6, _NUMBER), ("starts", 7, _FIXED), ("ends", 8, _FIXED), ("attributes", 9, _BYTES),
    ("events", 11, _BYTES), ("links", 13, _BYTES), ("statuses", 15, _BYTES),
)  # fmt: skip


def _light_types() -> tuple[Any, Any, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="foreshock/light.proto", package="foreshock", syntax="proto3")
    layout: dict[str, tuple[tuple[str, int, Any, bool], ...]] = {
        "SpanColumns": tuple((*field, True) for field in _SPAN),
        "Status": (("message", 2, _TEXT, False), ("code", 3, _NUMBER, False)),
        "LastOfSpan": (
            *((*field, field[0] == "attributes") for field in _SPAN[:-1]), ("statuses", 15, "Status", False)
        ),
        "ScopedBytes": (("scope", 1, _BYTES, False), ("spans", 2, _BYTES, True), ("schema_url", 3, _BYTES, False)),
        "GroupBytes": (
            ("resource", 1, _BYTES, False), ("scope_spans", 2, "ScopedBytes", True), ("schema_url", 3, _BYTES, False)
        ),
        "DataBytes": (("resource_spans", 1, "GroupBytes", True),),
    }  # fmt: skip
    for name, fields in layout.items():
        message = file.message_type.add(name=name)
        for label, place, kind, many in fields:
            made = message.field.add(name=label, number=place, label=3 if many else 1)
            if isinstance(kind, str):
                made.type, made.type_name = _Field.TYPE_MESSAGE, f".foreshock.{kind}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"foreshock.{name}") for name in ("DataBytes", "SpanColumns", "LastOfSpan")]
    return tuple(message_factory.GetMessageClass(each) for each in found)  # type: ignore[return-value]  # three


DataBytes, SpanColumns, LastOfSpan = _light_types()
"""TracesData with spans as bytes; many spans, of which each field is a column; and one span, of whose fields, but for
its attributes, only the last value is kept."""
