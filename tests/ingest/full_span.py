"""A request with everything that trace.proto has."""

from __future__ import annotations

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


def full_request(start: int, trace_id: bytes = bytes([1] * 16)) -> ExportTraceServiceRequest:
    """Of one span, which ended before it started. start: Unix nanoseconds."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add(schema_url="https://opentelemetry.io/schemas/1.30.0")
    group.resource.attributes.add(key="service.name").value.string_value = "full"
    group.resource.dropped_attributes_count = 3
    scoped = group.scope_spans.add(schema_url="urn:scope")
    scoped.scope.name, scoped.scope.version, scoped.scope.dropped_attributes_count = "lib", "9.9", 2
    scoped.scope.attributes.add(key="sa").value.string_value = "x"
    span = scoped.spans.add(
        trace_id=trace_id, span_id=bytes([2] * 8), parent_span_id=bytes([9] * 8), name="f", trace_state="vendor=1",
        flags=0x301, start_time_unix_nano=start, end_time_unix_nano=start - 7,
        dropped_attributes_count=4, dropped_events_count=5, dropped_links_count=6,
    )  # fmt: skip
    span.links.add(trace_id=trace_id, span_id=bytes([3] * 8), trace_state="ls=1", flags=1, dropped_attributes_count=7)
    span.events.add(name="e", time_unix_nano=start + 1_000_000, dropped_attributes_count=8)
    span.events.add(name="no time")
    return made
