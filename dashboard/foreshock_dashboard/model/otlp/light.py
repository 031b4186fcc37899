"""Two message types that are lighter than TracesData: they have its field numbers, and so the same bytes."""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory


def _light_types() -> tuple[Any, Any]:
    """TracesData with spans as bytes, and with spans of which everything that most of them lack is bytes."""
    file = descriptor_pb2.FileDescriptorProto(name="foreshock/light.proto", package="foreshock", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    data, text, number, fixed = field.TYPE_BYTES, field.TYPE_STRING, field.TYPE_INT32, field.TYPE_FIXED64
    layout: dict[str, tuple[tuple[str, int, Any, bool], ...]] = {
        # Of events and links only the last is there: enough to know that there are some.
        "Fields": (
            ("trace_id", 1, data, False), ("span_id", 2, data, False), ("trace_state", 3, text, False),
            ("parent_span_id", 4, data, False), ("name", 5, text, False), ("kind", 6, number, False),
            ("start", 7, fixed, False), ("end", 8, fixed, False), ("attributes", 9, data, True),
            ("event", 11, data, False), ("link", 13, data, False), ("status", 15, data, False),
        ),
        "ScopedFields": (("spans", 2, "Fields", True),),
        "GroupFields": (("scope_spans", 2, "ScopedFields", True),),
        "DataFields": (("resource_spans", 1, "GroupFields", True),),
        "ScopedBytes": (("scope", 1, data, False), ("spans", 2, data, True), ("schema_url", 3, data, False)),
        "GroupBytes": (
            ("resource", 1, data, False), ("scope_spans", 2, "ScopedBytes", True), ("schema_url", 3, data, False)
        ),
        "DataBytes": (("resource_spans", 1, "GroupBytes", True),),
    }  # fmt: skip
    for name, fields in layout.items():
        message = file.message_type.add(name=name)
        for label, place, kind, many in fields:
            made = message.field.add(name=label, number=place, label=3 if many else 1)
            if isinstance(kind, str):
                made.type, made.type_name = field.TYPE_MESSAGE, f".foreshock.{kind}"
            else:
                made.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"foreshock.{name}") for name in ("DataBytes", "DataFields")]
    return tuple(message_factory.GetMessageClass(each) for each in found)  # type: ignore[return-value]  # two


DataBytes, DataFields = _light_types()
