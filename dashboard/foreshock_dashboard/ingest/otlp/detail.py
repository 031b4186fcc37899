"""The messages that a span was sent in, for fields that `Span` lacks."""

from __future__ import annotations

from typing import NamedTuple

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.otlp.encode import encode_each
from foreshock_dashboard.model.span import Span


class SentSpan(NamedTuple):
    """A span, its scope and its resource as in trace.proto, and the schema URLs of these two."""

    span: OtlpSpan
    scope: InstrumentationScope
    resource: Resource
    scope_schema_url: str
    resource_schema_url: str


def sent_span(span: Span) -> SentSpan:
    """Return the messages of a span; of one that was not received as OTLP, as if it had been."""
    [(origin, raw)] = encode_each([span])
    return SentSpan(
        OtlpSpan.FromString(raw),
        InstrumentationScope.FromString(origin.scope),
        Resource.FromString(origin.resource),
        origin.scope_schema_url.decode(errors="replace"),
        origin.resource_schema_url.decode(errors="replace"),
    )
