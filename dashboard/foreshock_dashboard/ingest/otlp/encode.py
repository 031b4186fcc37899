"""Encodes spans as OTLP bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.otlp.columns import DataBytes
from foreshock_dashboard.ingest.otlp.decode import KIND_NUMBERS, STATUS_NUMBERS
from foreshock_dashboard.ingest.otlp.values import pairs_of, valid_unicode
from foreshock_dashboard.model.span import Origin, Span


def encode_spans(spans: Sequence[Span]) -> bytes:
    """Return a TracesData that `decode_spans` decodes to these spans, in order. Received spans keep their bytes."""
    return join_spans(encode_each(spans))


def join_spans(spans: Iterable[tuple[Origin, bytes]]) -> bytes:
    """Return a TracesData of encoded spans. Adjacent spans share a resource, and within it a scope."""
    data = DataBytes()
    last: tuple[bytes, bytes] | None = None
    for origin, group in groupby(spans, key=itemgetter(0)):
        if (shared := (origin.resource, origin.resource_schema_url)) != last:
            last, added = shared, data.resource_spans.add(resource=shared[0], schema_url=shared[1])
        scoped = [raw for _, raw in group]
        added.scope_spans.add(scope=origin.scope, schema_url=origin.scope_schema_url, spans=scoped)
    return bytes(data.SerializeToString())


def encode_each(spans: Sequence[Span]) -> Iterator[tuple[Origin, bytes]]:
    """Yield the origin and the bytes of each span."""
    origins: dict[tuple[int, str], Origin] = {}
    for span in spans:
        raw = span.raw
        if raw is not None:
            yield raw
            continue
        shared = id(span.resource), span.scope
        origin = origins.get(shared)
        if origin is None:
            resource = Resource(attributes=pairs_of(span.resource))
            scope = InstrumentationScope(name=valid_unicode(span.scope))
            origin = origins[shared] = Origin(resource.SerializeToString(), scope.SerializeToString())
        yield origin, _span(span).SerializeToString()


def _span(span: Span) -> OtlpSpan:
    encoded = OtlpSpan(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_id),
        name=valid_unicode(span.name),
        kind=KIND_NUMBERS[span.kind],  # type: ignore[arg-type]  # an enum's number
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=max(0, span.start_ns - 1) if span.clamped else span.end_ns,
        trace_state=valid_unicode(span.trace_state),
        attributes=pairs_of(span.attributes),
    )
    if span.status != "unset" or span.status_message:
        encoded.status.code = STATUS_NUMBERS[span.status]  # type: ignore[assignment]  # an enum's number
        encoded.status.message = valid_unicode(span.status_message)
    for event in span.events:
        encoded.events.add(
            time_unix_nano=event.time_ns, name=valid_unicode(event.name), attributes=pairs_of(event.attributes)
        )
    for link in span.links:
        encoded.links.add(
            trace_id=bytes.fromhex(link.trace_id),
            span_id=bytes.fromhex(link.span_id),
            attributes=pairs_of(link.attributes),
        )
    return encoded
