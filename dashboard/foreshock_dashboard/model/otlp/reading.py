"""OTLP's bytes read as spans.

A request is parsed three times, each time for what the others cannot give cheaply: whole, to know that all of it is
sound; as spans whose attributes are still bytes, to read their fields; and as spans that are still bytes, to keep
those. Parsing is protobuf's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import repeat
from operator import gt
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan
from opentelemetry.proto.trace.v1.trace_pb2 import Status as OtlpStatus
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from foreshock_dashboard.model.otlp.batch import SpanBatch
from foreshock_dashboard.model.otlp.light import DataBytes, DataFields
from foreshock_dashboard.model.otlp.picker import Pickers
from foreshock_dashboard.model.otlp.values import attributes_of
from foreshock_dashboard.model.span import Attributes, AttributeValue, Kind, Link, Origin, Outline, Status

MAX_SPAN = 1 << 20
"""Bytes of one span; larger ones are refused alone."""
MAX_ORIGIN = 1 << 17
"""Bytes of a resource or of a scope, which are kept again and again; the spans of larger ones are refused."""
SPAN_TOO_LARGE = f"larger than {MAX_SPAN} bytes"
ORIGIN_TOO_LARGE = f"resource or scope larger than {MAX_ORIGIN} bytes"
ORIGIN_MALFORMED = "malformed resource or scope"
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
_NOTHING: Attributes = {}


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
    refused: Counter[str] = Counter()
    try:
        if checked:
            TracesData.FromString(data)
    except DecodeError:
        data = _without_malformed(data, refused)
    limits = (1, _LAST_TIME) if now_ns is None else (max(1, now_ns - BEHIND_NS), now_ns + AHEAD_NS)
    outlines: list[Outline] = []
    came: list[tuple[Origin, bytes]] = []
    for group, raw_group in zip(
        DataFields.FromString(data).resource_spans, DataBytes.FromString(data).resource_spans, strict=True
    ):
        resource = _resource(raw_group.resource)
        for scoped, raw_scoped in zip(group.scope_spans, raw_group.scope_spans, strict=True):
            origin = Origin(raw_group.resource, raw_scoped.scope, raw_group.schema_url, raw_scoped.schema_url)
            if checked and max(map(len, origin)) > MAX_ORIGIN:
                refused[ORIGIN_TOO_LARGE] += len(scoped.spans)
                continue
            _scope(raw_scoped.scope)
            spans, raws = list(scoped.spans), list(raw_scoped.spans)
            if checked and (faults := _faults(spans, raws, *limits)):
                refused.update(faults.values())
                spans = [span for row, span in enumerate(spans) if row not in faults]
                raws = [raw for row, raw in enumerate(raws) if row not in faults]
            outlines += _outlines(spans, raws, resource, pickers)
            came += [(origin, raw) for raw in raws]
    return Read(SpanBatch(outlines, came, pickers.keys if pickers else frozenset()), +refused)


def _outlines(
    spans: Sequence[Any], raws: Sequence[bytes], resource: Attributes, pickers: Pickers | None
) -> Iterator[Outline]:
    """Of spans whose attributes are still bytes. Column by column, for that takes half the time."""
    traces, kinds = [span.trace_id for span in spans], [span.kind for span in spans]
    starts, ends = [span.start for span in spans], [span.end for span in spans]
    columns = zip(
        [trace + span.span_id for trace, span in zip(traces, spans, strict=True)],
        [_above(trace, span.parent_span_id) for trace, span in zip(traces, spans, strict=True)],
        [span.name for span in spans],
        [_KIND_OF.get(kind, "internal") for kind in kinds],
        starts,
        map(max, starts, ends),
        [_status(span.status) for span in spans],
        map(gt, starts, ends),
        repeat(resource),
        [pickers.of(kind).pick(span.attributes) for kind, span in zip(kinds, spans, strict=True)]
        if pickers
        else repeat(_NOTHING),
        [_links(raw) if span.link else () for raw, span in zip(raws, spans, strict=True)],
    )
    return map(Outline._make, columns)


def _above(trace_id: bytes, parent: bytes) -> bytes:
    return trace_id + parent if parent and parent != _NO_SPAN else b""


def _faults(spans: Sequence[Any], raws: Sequence[bytes], earliest: int, latest: int) -> dict[int, str]:
    """Which of them cannot be used, and why."""
    return {
        row: _fault(span.trace_id, span.span_id, span.parent_span_id, span.start, span.end, len(raw))
        for row, (span, raw) in enumerate(zip(spans, raws, strict=True))
        if len(trace_id := span.trace_id) != 16 or len(span_id := span.span_id) != 8
        or trace_id == _NO_TRACE or span_id == _NO_SPAN or len(span.parent_span_id) not in (0, 8)
        or not earliest <= (start := span.start) <= latest or start > _LAST_TIME or span.end > latest
        or len(raw) > MAX_SPAN
    }  # fmt: skip


def _without_malformed(data: bytes, refused: Counter[str]) -> bytes:
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
            refused["malformed span"] += len(scoped.spans) - len(sound)
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


def _fault(trace_id: bytes, span_id: bytes, parent: bytes, start: int, end: int, size: int) -> str:
    """Why a span cannot be used (opentelemetry-proto, trace.proto)."""
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
    return "time too far from now"


def _resource(raw: bytes) -> dict[str, AttributeValue]:
    """Shared by all spans of a resource, over many requests."""
    return _known_resource(raw) if len(raw) <= MAX_KNOWN else _known_resource.__wrapped__(raw)


@lru_cache(1024)
def _known_resource(raw: bytes) -> dict[str, AttributeValue]:
    return attributes_of(Resource.FromString(raw).attributes)


def _scope(raw: bytes) -> str:
    return _known_scope(raw) if len(raw) <= MAX_KNOWN else _known_scope.__wrapped__(raw)


@lru_cache(1024)
def _known_scope(raw: bytes) -> str:
    return InstrumentationScope.FromString(raw).name


def _status(raw: bytes) -> Status:
    if not raw:
        return "unset"
    return _known_status(raw) if len(raw) <= MAX_KNOWN else _known_status.__wrapped__(raw)


@lru_cache(256)
def _known_status(raw: bytes) -> Status:
    code = OtlpStatus.FromString(raw).code
    return STATUSES[code] if 0 <= code < 3 else "unset"


def _links(raw: bytes) -> tuple[Link, ...]:
    links = OtlpSpan.FromString(raw).links
    return tuple(Link(each.trace_id.hex(), each.span_id.hex(), attributes_of(each.attributes)) for each in links)
