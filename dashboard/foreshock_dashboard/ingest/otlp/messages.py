"""Message types with the field numbers of OTLP's, and so the same bytes, that leave parts of a message undecoded."""

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


def _message_types() -> tuple[Any, Any, Any]:
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
