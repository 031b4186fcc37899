"""Parses the responses of Tempo (HTTP API documentation, `tempopb`: TraceByIDResponse, SearchResponse)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span, TraceQuery
from foreshock_dashboard.sources.otlp.codec import DecodedRequest, MalformedError, decode, decode_groups

PROTOBUF = "application/protobuf"
_NO_ROOT = "<root span not yet received>"
_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")


class Matched(NamedTuple):
    """A matching span of a search. `service` is None if the response omits it; `root`: it has no parent."""

    start_ns: int
    duration_ns: int
    name: str
    service: Service | None
    root: bool = False


class Stats(NamedTuple):
    """Number of spans of a service in a trace, and of failed ones."""

    spans: int
    errors: int


class Hit(NamedTuple):
    """A trace found by a search.

    root: names of the service and the span; None if the root has not arrived.
    stats: by service name; empty from Tempo before 2.4.
    matched: number of matching spans, which may be more than `spans`.
    head: the root span if known; if no root has arrived, the longest span.
    """

    trace_id: str
    root: tuple[str, str] | None
    start_ns: int
    stats: Mapping[str, Stats]
    spans: tuple[Matched, ...]
    matched: int
    head: Matched | None

    def rank(self, query: TraceQuery) -> int:
        """Return the duration or the start in nanoseconds, depending on the order of the query."""
        if query.order == "newest":
            return self.head.start_ns if self.head else self.start_ns
        return self.head.duration_ns if self.head else max((span.duration_ns for span in self.spans), default=0)


class Trace(NamedTuple):
    """The spans of a trace, and notes on missing ones."""

    spans: tuple[Span, ...]
    notes: tuple[str, ...]


def read_search(body: bytes) -> tuple[Hit, ...]:
    """Parse a response of /api/search. Raises ValueError if it is not such a response."""
    answer = orjson.loads(body)
    if not isinstance(answer, dict) or not {"traces", "metrics"} & set(answer):
        raise ValueError("no list of traces")
    try:
        return tuple(_hit(trace) for trace in answer.get("traces") or ())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__} {error}") from error


def _hit(trace: Mapping[str, Any]) -> Hit:
    trace_id = trace["traceID"]
    if not _TRACE_ID.fullmatch(trace_id):
        raise ValueError(f"trace id {trace_id[:40]!r}")
    sets = trace.get("spanSets") or [item for item in [trace.get("spanSet")] if item]
    service = trace.get("rootServiceName", "")
    stats = trace.get("serviceStats") or {}
    spans = tuple(_matched(span) for group in sets for span in group.get("spans") or ())
    rootless = service in ("", _NO_ROOT)
    heads = spans if rootless else [span for span in spans if span.root]
    return Hit(
        trace_id=trace_id.lower().zfill(32),  # Tempo drops leading zeros
        root=None if rootless else (service, trace.get("rootTraceName", "")),
        start_ns=int(trace.get("startTimeUnixNano", 0)),
        stats={
            str(name): Stats(int(counts.get("spanCount", 0)), int(counts.get("errorCount", 0)))
            for name, counts in stats.items()
        },
        spans=spans,
        matched=sum(int(group.get("matched", 0)) for group in sets),
        head=max(heads, key=lambda span: (span.duration_ns, -span.start_ns), default=None),
    )


def _matched(span: Mapping[str, Any]) -> Matched:
    values = {pair["key"].removeprefix("resource."): pair["value"] for pair in span.get("attributes") or ()}
    texts = {key: value.get("stringValue", "") for key, value in values.items()}
    parent = int(values.get("nestedSetParent", {}).get("intValue", 0))
    name = texts.get("service.name")
    return Matched(
        int(span.get("startTimeUnixNano", 0)),
        int(span.get("durationNanos", 0)),
        span.get("name", ""),
        Service(texts.get("service.namespace", ""), name) if name else None,
        root=parent < 0,
    )


def read_values(body: bytes) -> frozenset[str]:
    """Parse a response of /api/v2/search/tag/…/values. Raises ValueError if it is not such a response."""
    try:
        return frozenset(str(one["value"]) for one in orjson.loads(body).get("tagValues") or ())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no values of a tag: {error!r}") from error


def read_trace(body: bytes, kind: str, *, wrapped: bool) -> Trace:
    """Parse a response of /api/v2/traces/{id} (`wrapped`) or /api/traces/{id}; `kind` is its content type.

    Raises ValueError if it is not such a response.
    """
    try:
        partial, message, decoded = _read_bytes(body, wrapped) if kind == PROTOBUF else _read_json(body)
    except (MalformedError, DecodeError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    notes = [f"Tempo returned only part of this trace: {message or 'it is larger than its limit'}"] if partial else []
    if decoded.rejected:
        notes.append(f"{decoded.rejected} of its spans cannot be read ({', '.join(sorted(decoded.reasons))})")
    return Trace(tuple(decoded.spans), tuple(notes))


def _read_bytes(body: bytes, wrapped: bool) -> tuple[bool, str, DecodedRequest]:
    """TraceByIDResponse {Trace trace = 1; metrics = 2; PartialStatus status = 3; string message = 4}."""
    if not wrapped:
        return False, "", decode(body)
    wrapper = Empty()
    wrapper.ParseFromString(body)  # every field is an unknown one of it
    unknown = UnknownFieldSet(wrapper)
    fields = [(unknown[index].field_number, unknown[index].data) for index in range(len(unknown))]
    # Repeated parts of one message are merged by concatenation.
    trace = b"".join(value for number, value in fields if number == 1 and isinstance(value, bytes))
    partial = [value for number, value in fields if number == 3]
    message = [value for number, value in fields if number == 4 and isinstance(value, bytes)]
    return partial[-1:] == [1], b"".join(message[-1:]).decode(errors="replace"), decode(trace)


def _read_json(body: bytes) -> tuple[bool, str, DecodedRequest]:
    """Parse OTLP's JSON of any Tempo version: in `trace` or not, `batches`, enum names, ids in hex or base64."""
    answer = orjson.loads(body)
    if not isinstance(answer, dict) or not {"trace", "resourceSpans", "batches", "status"} & set(answer):
        raise ValueError("no trace")
    trace = answer.get("trace") if "trace" in answer or "status" in answer else answer
    groups = (trace or {}).get("resourceSpans") or (trace or {}).get("batches") or []
    return answer.get("status") in ("PARTIAL", 1), str(answer.get("message") or ""), decode_groups(groups)
