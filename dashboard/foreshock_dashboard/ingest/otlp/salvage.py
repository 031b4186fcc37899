"""What of a request can be read where not all of it can."""

from __future__ import annotations

from collections import Counter

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from foreshock_dashboard.ingest.otlp.messages import DataBytes

MALFORMED = "malformed span"
ORIGIN_MALFORMED = "malformed resource or scope"


def without_malformed(data: bytes, refused: Counter[str]) -> bytes:
    """The same without what is the reason why it cannot be read; the spans that it costs are counted."""
    found = DataBytes.FromString(data)
    for group in found.resource_spans:
        spans = sum(len(scoped.spans) for scoped in group.scope_spans)
        if spans and not _sound(Resource, group.resource):
            refused[ORIGIN_MALFORMED] += spans
            group.Clear()
        for scoped in group.scope_spans:
            if scoped.spans and not _sound(InstrumentationScope, scoped.scope):
                refused[ORIGIN_MALFORMED] += len(scoped.spans)
                scoped.Clear()
            sound = [raw for raw in scoped.spans if _sound(OtlpSpan, raw)]
            refused[MALFORMED] += len(scoped.spans) - len(sound)
            del scoped.spans[:]
            scoped.spans.extend(sound)
    data = bytes(found.SerializeToString())
    TracesData.FromString(data)
    return data


def _sound(kind: type[OtlpSpan | Resource | InstrumentationScope], raw: bytes) -> bool:
    try:
        kind.FromString(raw)
    except DecodeError:
        return False
    return True
