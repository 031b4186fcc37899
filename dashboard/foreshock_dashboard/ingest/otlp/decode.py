"""OTLP's bytes read as spans.

A request is parsed twice: as spans that are bytes, to keep those; and these as columns, whose attributes are still
bytes. To know that all of it is sound, what is still bytes then is parsed as well, unless the same bytes were before.
Parsing is protobuf's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from operator import add, gt

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status as OtlpStatus
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from foreshock_dashboard.ingest.otlp.attribute_filter import NOTHING, UNSEARCHED, Pickers
from foreshock_dashboard.ingest.otlp.batch import Came, SpanBatch
from foreshock_dashboard.ingest.otlp.columns import Fields, fields_of
from foreshock_dashboard.ingest.otlp.messages import DataBytes
from foreshock_dashboard.ingest.otlp.salvage import without_malformed
from foreshock_dashboard.ingest.otlp.values import attributes_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import (
    Attributes,
    AttributeValue,
    Kind,
    Link,
    Origin,
    Outlines,
    Status,
    service_of,
)

MAX_SPAN = 1 << 20
"""Bytes of one span; larger ones are refused alone."""
MAX_ORIGIN = 1 << 17
"""Bytes of a resource or of a scope, which are kept again and again; the spans of larger ones are refused."""
SPAN_TOO_LARGE = f"larger than {MAX_SPAN} bytes"
ORIGIN_TOO_LARGE = f"resource or scope larger than {MAX_ORIGIN} bytes"
MAX_KNOWN = 1 << 12
"""Bytes of a resource, a scope or a status that is remembered as read."""
AHEAD_NS = 86_400 * 10**9
"""How far after now a span may end: beyond it, it would outlive the store's retention and stretch every range."""
BEHIND_NS = 30 * AHEAD_NS
"""How long before now a span may have started."""

KINDS: tuple[Kind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")
STATUSES: tuple[Status, ...] = ("unset", "ok", "error")
KIND_NUMBERS = {kind: number for number, kind in enumerate(KINDS)}
STATUS_NUMBERS = {status: number for number, status in enumerate(STATUSES)}
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_LAST_TIME = 2**63 - 1
_KIND_OF = dict(enumerate(KINDS))
_TRACE, _ID, _PARENT = frozenset((16,)), frozenset((8,)), frozenset((0, 8))


@dataclass(frozen=True, slots=True)
class Read:
    """The spans of some bytes, and how many were refused for which reason."""

    spans: SpanBatch
    refused: Mapping[str, int]


def read(data: bytes, pickers: Pickers | None = None, now_ns: int | None = None, *, checked: bool = True) -> Read:
    """Read a TracesData (or an ExportTraceServiceRequest, which has the same bytes).

    A span that cannot be used is refused alone. With `now_ns`, so is one that lies too far from now. What `encode` made
    need not be `checked`. Without `pickers`, outlines have no attributes.

    Raises:
        DecodeError: these are not the bytes of one.
    """
    limits = (1, _LAST_TIME) if now_ns is None else (max(1, now_ns - BEHIND_NS), now_ns + AHEAD_NS)
    try:
        if checked and pickers is None:
            TracesData.FromString(data)
        return _read(data, pickers, limits, Counter(), checked=checked)
    except DecodeError:
        if not checked:
            raise
        refused: Counter[str] = Counter()
        return _read(without_malformed(data, refused), pickers, limits, refused, checked=checked)


def _read(
    data: bytes, pickers: Pickers | None, limits: tuple[int, int], refused: Counter[str], *, checked: bool
) -> Read:
    came: Came = []
    raws: list[bytes] = []
    resources: list[Attributes] = []
    services: list[Service] = []
    for group in DataBytes.FromString(data).resource_spans:
        raw, schema = group.resource, group.schema_url
        resource, service = _resource(raw)
        for scoped in group.scope_spans:
            spans = scoped.spans[:]
            origin = Origin(raw, scoped.scope, schema, scoped.schema_url)
            if checked and max(map(len, origin)) > MAX_ORIGIN:
                fields_of(spans)
                refused[ORIGIN_TOO_LARGE] += len(spans)
                continue
            _scope(origin.scope)
            raws += spans
            came += zip(repeat(origin), spans)
            resources += repeat(resource, len(spans))
            services += repeat(service, len(spans))
    fields = fields_of(raws)
    if checked and (faults := _faults(fields, raws, *limits)):
        refused.update(faults.values())
        chosen = [row for row in range(len(raws)) if row not in faults]
        came = [came[row] for row in chosen]
        resources, services = [resources[row] for row in chosen], [services[row] for row in chosen]
        raws = [raw for _, raw in came]
        fields = fields_of(raws)
    if checked and (any(fields.events) or any(fields.links)):
        for raw, event, link in zip(raws, fields.events, fields.links, strict=True):
            if event or link:
                OtlpSpan.FromString(raw)
    return Read(_batch(raws, fields, resources, services, came, pickers), +refused)


def _batch(
    raws: Sequence[bytes],
    fields: Fields,
    resources: list[Attributes],
    services: list[Service],
    came: Came,
    pickers: Pickers | None,
) -> SpanBatch:
    """Of spans whose attributes are still bytes. Column by column, for that takes half the time."""
    traces, starts, ends = fields.trace_ids, fields.starts, fields.ends
    kinds: list[Kind] = [*map(_KIND_OF.get, fields.kinds, repeat(KINDS[0]))]
    attributes, searched = pickers.pick(fields.attributes, kinds) if pickers else ([NOTHING] * len(raws), UNSEARCHED)
    links: list[tuple[Link, ...]] = [()] * len(raws)
    if any(fields.links):
        links = [_links(raw) if link else () for raw, link in zip(raws, fields.links, strict=True)]
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
    )
    return SpanBatch(outlines, came, searched)


def _faults(fields: Fields, raws: Sequence[bytes], earliest: int, latest: int) -> dict[int, str]:
    """Which of the spans cannot be used, and why. Nearly always it is none: that is seen column by column."""
    traces, ids, parents = fields.trace_ids, fields.ids, fields.parents
    starts, ends = fields.starts, fields.ends
    largest = max(map(len, raws), default=0)
    if (
        _TRACE.issuperset(map(len, traces)) and _ID.issuperset(map(len, ids)) and _PARENT.issuperset(map(len, parents))
        and _NO_TRACE not in traces and _NO_SPAN not in ids
        and earliest <= min(starts, default=earliest) and max(starts, default=0) <= min(latest, _LAST_TIME)
        and max(ends, default=0) <= latest and largest <= MAX_SPAN
    ):  # fmt: skip
        return {}
    found = {
        row: _fault(trace, id_, parent, start, end, len(raws[row]), earliest, latest)
        for row, (trace, id_, parent, start, end) in enumerate(zip(traces, ids, parents, starts, ends, strict=True))
    }
    return {row: fault for row, fault in found.items() if fault}


def _fault(
    trace_id: bytes, span_id: bytes, parent: bytes, start: int, end: int, size: int, earliest: int, latest: int
) -> str:
    """Why a span cannot be used (opentelemetry-proto, trace.proto); "" if it can."""
    if len(trace_id) != 16 or trace_id == _NO_TRACE:
        return "invalid trace_id"
    if len(span_id) != 8 or span_id == _NO_SPAN:
        return "invalid span_id"
    if len(parent) not in (0, 8):
        return "invalid parent_span_id"
    if size > MAX_SPAN:
        return SPAN_TOO_LARGE
    if not 0 < start <= _LAST_TIME or end > _LAST_TIME:
        return "invalid time"
    return "" if earliest <= start <= latest and end <= latest else "time too far from now"


def _resource(raw: bytes) -> tuple[dict[str, AttributeValue], Service]:
    """Its attributes and its service: shared by all spans of a resource, over many requests."""
    return _known_resource(raw) if len(raw) <= MAX_KNOWN else _known_resource.__wrapped__(raw)


@lru_cache(1024)
def _known_resource(raw: bytes) -> tuple[dict[str, AttributeValue], Service]:
    attributes = attributes_of(Resource.FromString(raw).attributes)
    return attributes, service_of(attributes)


def _scope(raw: bytes) -> str:
    return _known_scope(raw) if len(raw) <= MAX_KNOWN else _known_scope.__wrapped__(raw)


@lru_cache(1024)
def _known_scope(raw: bytes) -> str:
    return InstrumentationScope.FromString(raw).name


def _status(raw: bytes) -> Status:
    return _known_status(raw) if len(raw) <= MAX_KNOWN else _known_status.__wrapped__(raw)


@lru_cache(256)
def _known_status(raw: bytes) -> Status:
    code = OtlpStatus.FromString(raw).code
    return STATUSES[code] if 0 <= code < 3 else "unset"


def _links(raw: bytes) -> tuple[Link, ...]:
    links = OtlpSpan.FromString(raw).links
    return tuple(Link(each.trace_id.hex(), each.span_id.hex(), attributes_of(each.attributes)) for each in links)
