"""Decodes OTLP bytes into spans.

A request is parsed twice: into encoded spans, which are stored, and these into columns with encoded attributes. Encoded
attributes are parsed, too, unless equal bytes were parsed before, so that the whole request is valid. Protobuf
validates all bytes, except short texts of keys with many values, which only have to be UTF-8. Keys and short texts are
sliced from the bytes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from operator import add, gt
from typing import Generic, TypeVar

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status as OtlpStatus
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from foreshock_dashboard.ingest.otlp.attribute_reader import NO_ATTRIBUTES, NO_SEARCH_COLUMNS, AttributeReader
from foreshock_dashboard.ingest.otlp.batch import RawSpans, SpanBatch, events_of, links_of
from foreshock_dashboard.ingest.otlp.columns import DataBytes, SpanFields, span_fields
from foreshock_dashboard.ingest.otlp.values import attributes_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import (
    EXCEPTION_EVENT,
    Attributes,
    AttributeValue,
    Kind,
    Link,
    Origin,
    Outlines,
    Status,
    exceptions_of,
    service_of,
)

MAX_SPAN_BYTES = 1 << 20
"""Largest span; a larger one is rejected alone."""
MAX_ORIGIN_BYTES = 1 << 17
"""Largest resource or scope, which are stored with every batch; all spans of a larger one are rejected."""
SPAN_TOO_LARGE = f"larger than {MAX_SPAN_BYTES} bytes"
ORIGIN_TOO_LARGE = f"resource or scope larger than {MAX_ORIGIN_BYTES} bytes"
MALFORMED = "malformed span"
ORIGIN_MALFORMED = "malformed resource or scope"
MAX_CACHED_MESSAGE_BYTES = 1 << 12
"""Largest resource, scope or status that is cached."""
MAX_AHEAD_NS = 86_400 * 10**9
"""How far after now a span may end. A later one would outlive the retention and extend every time range."""
MAX_BEHIND_NS = 30 * MAX_AHEAD_NS
"""How long before now a span may start."""

KINDS: tuple[Kind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")
STATUSES: tuple[Status, ...] = ("unset", "ok", "error")
KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
STATUS_NUMBERS = {status: number for number, status in enumerate(STATUSES)}
T = TypeVar("T")
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_EXCEPTION = EXCEPTION_EVENT.encode()
_LAST_TIME_NS = 2**63 - 1
_KIND_OF = dict(enumerate(KINDS))
_TRACE_SIZES, _ID_SIZES, _PARENT_SIZES = frozenset((16,)), frozenset((8,)), frozenset((0, 8))


@dataclass(frozen=True, slots=True)
class DecodedSpans:
    """The spans of a payload, and the number of rejected ones by reason."""

    spans: SpanBatch
    rejected: Mapping[str, int]


def decode_spans(
    data: bytes, attributes: AttributeReader | None = None, now_ns: int | None = None, *, checked: bool = True
) -> DecodedSpans:
    """Decode a TracesData, or an ExportTraceServiceRequest, which has the same bytes.

    An invalid span is rejected alone.

    Args:
        attributes: reads attributes into the outlines. Without it, outlines have none.
        now_ns: Unix nanoseconds. Spans too far from it are rejected; without it, spans of any time are accepted.
        checked: whether to validate. The output of `encode_spans` needs no validation.

    Raises:
        DecodeError: the data is not a TracesData.
    """
    limits = (1, _LAST_TIME_NS) if now_ns is None else (max(1, now_ns - MAX_BEHIND_NS), now_ns + MAX_AHEAD_NS)
    try:
        if checked and attributes is None:
            TracesData.FromString(data)
        return _decode(data, attributes, limits, Counter(), checked=checked)
    except DecodeError:
        if not checked:
            raise
        rejected: Counter[str] = Counter()
        return _decode(_without_malformed(data, rejected), attributes, limits, rejected, checked=checked)


def _decode(
    data: bytes,
    attributes: AttributeReader | None,
    limits: tuple[int, int],
    rejected: Counter[str],
    *,
    checked: bool,
) -> DecodedSpans:
    raw_spans: RawSpans = []
    raws: list[bytes] = []
    resources: list[Attributes] = []
    services: list[Service] = []
    for group in DataBytes.FromString(data).resource_spans:
        raw, schema = group.resource, group.schema_url
        resource, service = _resource(raw)
        for scoped in group.scope_spans:
            spans = scoped.spans[:]
            origin = Origin(raw, scoped.scope, schema, scoped.schema_url)
            if checked and max(map(len, origin)) > MAX_ORIGIN_BYTES:
                span_fields(spans)
                rejected[ORIGIN_TOO_LARGE] += len(spans)
                continue
            _check_scope(origin.scope)
            raws += spans
            raw_spans += zip(repeat(origin), spans)
            resources += repeat(resource, len(spans))
            services += repeat(service, len(spans))
    fields = span_fields(raws)
    if checked and (faults := _faults(fields, raws, *limits)):
        rejected.update(faults.values())
        valid = [row for row in range(len(raws)) if row not in faults]
        raw_spans = [raw_spans[row] for row in valid]
        resources, services = [resources[row] for row in valid], [services[row] for row in valid]
        raws = [raw for _, raw in raw_spans]
        fields = span_fields(raws)
    if checked and (any(fields.events) or any(fields.links)):
        for raw, event, link in zip(raws, fields.events, fields.links, strict=True):
            if event or link:
                OtlpSpan.FromString(raw)
    return DecodedSpans(_batch(raws, fields, resources, services, raw_spans, attributes), +rejected)


def _batch(
    raws: Sequence[bytes],
    fields: SpanFields,
    resources: list[Attributes],
    services: list[Service],
    raw_spans: RawSpans,
    reader: AttributeReader | None,
) -> SpanBatch:
    """Build a batch column by column, which takes half the time of span by span."""
    traces, starts, ends = fields.trace_ids, fields.starts, fields.ends
    kinds: list[Kind] = [*map(_KIND_OF.get, fields.kinds, repeat(KINDS[0]))]
    if reader is not None:
        attributes, search_columns = reader.read(fields.attributes, kinds)
    else:
        attributes, search_columns = [NO_ATTRIBUTES] * len(raws), NO_SEARCH_COLUMNS
    links: list[tuple[Link, ...]] = [()] * len(raws)
    if any(fields.links):
        links = [
            links_of(OtlpSpan.FromString(raw)) if link else () for raw, link in zip(raws, fields.links, strict=True)
        ]
    exceptions: list[tuple[str, ...]] = [()] * len(raws)
    if any(fields.events):
        exceptions = [
            exceptions_of(events_of(OtlpSpan.FromString(raw))) if event and _EXCEPTION in raw else ()
            for raw, event in zip(raws, fields.events, strict=True)
        ]
    clamped = [*map(gt, starts, ends)]
    outlines = Outlines(
        [*map(add, traces, fields.ids)],
        [
            trace + parent if parent and parent != _NO_SPAN else b""
            for trace, parent in zip(traces, fields.parents, strict=True)
        ],
        fields.names,
        kinds,
        starts,
        [*map(max, starts, ends)] if True in clamped else ends,
        [_status(raw) if raw else "unset" for raw in fields.statuses],
        clamped,
        resources,
        services,
        attributes,
        links,
        exceptions,
    )
    return SpanBatch(outlines, raw_spans, search_columns)


def _faults(fields: SpanFields, raws: Sequence[bytes], earliest: int, latest: int) -> dict[int, str]:
    """Return the reason by row for each invalid span. Whole columns are checked first; nearly all are valid."""
    traces, ids, parents = fields.trace_ids, fields.ids, fields.parents
    starts, ends = fields.starts, fields.ends
    largest = max(map(len, raws), default=0)
    if (
        _TRACE_SIZES.issuperset(map(len, traces)) and _ID_SIZES.issuperset(map(len, ids))
        and _PARENT_SIZES.issuperset(map(len, parents)) and _NO_TRACE not in traces and _NO_SPAN not in ids
        and earliest <= min(starts, default=earliest) and max(starts, default=0) <= min(latest, _LAST_TIME_NS)
        and max(ends, default=0) <= latest and largest <= MAX_SPAN_BYTES
    ):  # fmt: skip
        return {}
    faults = {
        row: _fault(trace, id_, parent, start, end, len(raws[row]), earliest, latest)
        for row, (trace, id_, parent, start, end) in enumerate(zip(traces, ids, parents, starts, ends, strict=True))
    }
    return {row: fault for row, fault in faults.items() if fault}


def _fault(
    trace_id: bytes, span_id: bytes, parent: bytes, start: int, end: int, size: int, earliest: int, latest: int
) -> str:
    """Return why a span is invalid (opentelemetry-proto, trace.proto); "" if it is valid."""
    if len(trace_id) != 16 or trace_id == _NO_TRACE:
        return "invalid trace_id"
    if len(span_id) != 8 or span_id == _NO_SPAN:
        return "invalid span_id"
    if len(parent) not in (0, 8):
        return "invalid parent_span_id"
    if size > MAX_SPAN_BYTES:
        return SPAN_TOO_LARGE
    if not 0 < start <= _LAST_TIME_NS or end > _LAST_TIME_NS:
        return "invalid time"
    return "" if earliest <= start <= latest and end <= latest else "time too far from now"


class _CachedIfSmall(Generic[T]):
    """A function of a message. The results for small messages are cached."""

    def __init__(self, function: Callable[[bytes], T]) -> None:
        self._function, self.cache = function, lru_cache(1024)(function)

    def __call__(self, raw: bytes) -> T:
        return (self.cache if len(raw) <= MAX_CACHED_MESSAGE_BYTES else self._function)(raw)


@_CachedIfSmall
def _resource(raw: bytes) -> tuple[dict[str, AttributeValue], Service]:
    """Return the attributes and the service of a resource, which many requests share."""
    attributes = attributes_of(Resource.FromString(raw).attributes)
    return attributes, service_of(attributes)


@_CachedIfSmall
def _check_scope(raw: bytes) -> None:
    """Raise DecodeError if a scope is malformed."""
    InstrumentationScope.FromString(raw)


@_CachedIfSmall
def _status(raw: bytes) -> Status:
    code = OtlpStatus.FromString(raw).code
    return STATUSES[code] if 0 <= code < 3 else "unset"


def _without_malformed(data: bytes, rejected: Counter[str]) -> bytes:
    """Return the data without its malformed parts, and count the spans that this costs."""
    traces = DataBytes.FromString(data)
    for group in traces.resource_spans:
        spans = sum(len(scoped.spans) for scoped in group.scope_spans)
        if spans and not _is_valid(Resource, group.resource):
            rejected[ORIGIN_MALFORMED] += spans
            group.Clear()
        for scoped in group.scope_spans:
            if scoped.spans and not _is_valid(InstrumentationScope, scoped.scope):
                rejected[ORIGIN_MALFORMED] += len(scoped.spans)
                scoped.Clear()
            valid = [raw for raw in scoped.spans if _is_valid(OtlpSpan, raw)]
            rejected[MALFORMED] += len(scoped.spans) - len(valid)
            del scoped.spans[:]
            scoped.spans.extend(valid)
    data = bytes(traces.SerializeToString())
    TracesData.FromString(data)
    return data


def _is_valid(message: type[OtlpSpan | Resource | InstrumentationScope], raw: bytes) -> bool:
    try:
        message.FromString(raw)
    except DecodeError:
        return False
    return True
