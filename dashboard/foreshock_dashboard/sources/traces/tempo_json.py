"""Tempo's answers → values. Sources: Tempo's HTTP API documentation, `tempopb` (TraceByIDResponse, SearchResponse)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.codec import DecodedRequest, MalformedError, decode
from foreshock_dashboard.sources.traces.otlp_json import decode_groups

PROTOBUF = "application/protobuf"
_NO_ROOT = "<root span not yet received>"
_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")


class Matched(NamedTuple):
    """A span that a search found. Times in nanoseconds; `service` None where the answer does not name it.

    root: it is known to have no parent.
    """

    start_ns: int
    duration_ns: int
    name: str
    service: Service | None
    root: bool = False


class Stats(NamedTuple):
    """Spans of a trace, and how many of them failed."""

    spans: int
    errors: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A trace that a search found. `root`: service's and span's name, None where the root has not arrived.

    `stats` by service's name; empty where a Tempo before 2.4 answered. `matched` may be more than the spans given.
    """

    trace_id: str
    root: tuple[str, str] | None
    start_ns: int
    stats: Mapping[str, Stats]
    spans: tuple[Matched, ...]
    matched: int
    head: Matched | None
    """The root span, if it is known; where no root has arrived, the longest span of those given."""


class Trace(NamedTuple):
    """The spans of a trace by id, and what the answer says is missing."""

    spans: tuple[Span, ...]
    notes: tuple[str, ...]


def read_search(body: bytes) -> tuple[Hit, ...]:
    """The answer of /api/search.

    Raises:
        ValueError: it is no such answer.
    """
    answer = orjson.loads(body)
    if not isinstance(answer, dict) or not {"traces", "metrics"} & set(answer):
        raise ValueError("no list of traces")
    try:
        return tuple(_hit(each) for each in answer.get("traces") or ())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__} {error}") from error


def _hit(found: Mapping[str, Any]) -> Hit:
    trace_id = found["traceID"]
    if not _TRACE_ID.fullmatch(trace_id):
        raise ValueError(f"trace id {trace_id[:40]!r}")
    sets = found.get("spanSets") or [item for item in [found.get("spanSet")] if item]
    service = found.get("rootServiceName", "")
    stats = found.get("serviceStats") or {}
    spans = tuple(_matched(span) for group in sets for span in group.get("spans") or ())
    rootless = service in ("", _NO_ROOT)
    heads = spans if rootless else [span for span in spans if span.root]
    return Hit(
        trace_id=trace_id.lower().zfill(32),  # Tempo drops leading zeros
        root=None if rootless else (service, found.get("rootTraceName", "")),
        start_ns=int(found.get("startTimeUnixNano", 0)),
        stats={
            str(name): Stats(int(each.get("spanCount", 0)), int(each.get("errorCount", 0)))
            for name, each in stats.items()
        },
        spans=spans,
        matched=sum(int(group.get("matched", 0)) for group in sets),
        head=max(heads, key=lambda span: (span.duration_ns, -span.start_ns), default=None),
    )


def _matched(span: Mapping[str, Any]) -> Matched:
    values = {pair["key"].removeprefix("resource."): pair["value"] for pair in span.get("attributes") or ()}
    told = {key: value.get("stringValue", "") for key, value in values.items()}
    parent = int(values.get("nestedSetParent", {}).get("intValue", 0))
    name = told.get("service.name")
    return Matched(
        int(span.get("startTimeUnixNano", 0)),
        int(span.get("durationNanos", 0)),
        span.get("name", ""),
        Service(told.get("service.namespace", ""), name) if name else None,
        root=parent < 0,
    )


def read_values(body: bytes) -> frozenset[str]:
    """The answer of /api/v2/search/tag/…/values.

    Raises:
        ValueError: it is no such answer.
    """
    try:
        return frozenset(str(each["value"]) for each in orjson.loads(body).get("tagValues") or ())
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no values of a tag: {error!r}") from error


def read_trace(body: bytes, kind: str, *, wrapped: bool) -> Trace:
    """The answer of /api/v2/traces/{id} (`wrapped`) or /api/traces/{id}, in protobuf or JSON as `kind` says.

    Raises:
        ValueError: it is no such answer.
    """
    try:
        partial, message, decoded = _read_bytes(body, wrapped) if kind == PROTOBUF else _read_json(body)
    except (MalformedError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(str(error)) from error
    notes = [f"Tempo gives a part of this trace only: {message or 'it is larger than its limit'}"] if partial else []
    if decoded.rejected:
        notes.append(f"{decoded.rejected} of its spans cannot be read ({', '.join(sorted(decoded.reasons))})")
    return Trace(tuple(decoded.spans), tuple(notes))


def _read_bytes(body: bytes, wrapped: bool) -> tuple[bool, str, DecodedRequest]:
    """TraceByIDResponse {Trace trace = 1; metrics = 2; PartialStatus status = 3; string message = 4}."""
    if not wrapped:
        return False, "", decode(body)
    trace, partial, message = b"", False, ""
    for number, value in _fields(body):
        if number == 1 and isinstance(value, bytes):
            trace += value  # parts of one message that come apart are its concatenation
        elif number == 3 and isinstance(value, int):
            partial = value == 1
        elif number == 4 and isinstance(value, bytes):
            message = value.decode(errors="replace")
    return partial, message, decode(trace)


def _fields(body: bytes) -> Iterator[tuple[int, int | bytes]]:
    """The outermost fields of a protobuf message: numbers and values (groups do not occur)."""
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, at = _varint(body, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(body, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"protobuf's wire type {wire} at byte {at}")
        if at + length > len(body):
            raise ValueError(f"a field of {length} bytes at byte {at} of {len(body)}")
        yield number, body[at : at + length]
        at += length


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(body) and shift < 70:
        byte = body[at]
        value, shift, at = value | (byte & 0x7F) << shift, shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise ValueError(f"a truncated number at byte {at}")


def _read_json(body: bytes) -> tuple[bool, str, DecodedRequest]:
    """OTLP's JSON as Tempo writes it: perhaps in `trace`, perhaps `batches`, names of enums, ids in hex or base64."""
    answer = orjson.loads(body)
    if not isinstance(answer, dict) or not {"trace", "resourceSpans", "batches", "status"} & set(answer):
        raise ValueError("no trace")
    trace = answer.get("trace") if "trace" in answer or "status" in answer else answer
    groups = (trace or {}).get("resourceSpans") or (trace or {}).get("batches") or []
    decoded = decode_groups(groups)
    return answer.get("status") in ("PARTIAL", 1), str(answer.get("message") or ""), decoded
