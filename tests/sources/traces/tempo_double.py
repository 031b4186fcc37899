"""A server that answers as Tempo's documentation says, from spans that it was given."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from tests.sources.traces.traceql_double import TraceQLError, nested_parent, parse

from foreshock_dashboard.model.span import AttributeValue, Span

Json = dict[str, Any]
NO_ROOT = "<root span not yet received>"
KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}
STATUSES = {"unset": 0, "ok": 1, "error": 2}


def request_of(spans: Iterable[Span]) -> ExportTraceServiceRequest:
    """The spans as OTLP; the inverse of what the receiver does."""
    request = ExportTraceServiceRequest()
    for span in spans:
        group = request.resource_spans.add()
        _fill(group.resource.attributes, span.resource)
        scoped = group.scope_spans.add()
        scoped.scope.name = span.scope
        made = scoped.spans.add()
        made.trace_id, made.span_id = bytes.fromhex(span.trace_id), bytes.fromhex(span.span_id)
        made.parent_span_id = bytes.fromhex(span.parent_id)
        made.name, made.trace_state = span.name, span.trace_state
        made.kind = KINDS[span.kind]  # type: ignore[assignment]  # its type is an enumeration's
        made.start_time_unix_nano, made.end_time_unix_nano = span.start_ns, span.end_ns
        made.status.code = STATUSES[span.status]  # type: ignore[assignment]  # as above
        made.status.message = span.status_message
        _fill(made.attributes, span.attributes)
        for event in span.events:
            result = made.events.add(time_unix_nano=event.time_ns, name=event.name)
            _fill(result.attributes, event.attributes)
        for link in span.links:
            tied = made.links.add(trace_id=bytes.fromhex(link.trace_id), span_id=bytes.fromhex(link.span_id))
            _fill(tied.attributes, link.attributes)
    return request


def _fill(pairs: Any, attributes: Mapping[str, AttributeValue]) -> None:  # noqa: ANN401 - a protobuf container
    for key, value in attributes.items():
        _set(pairs.add(key=key).value, value)


def _set(made: AnyValue, value: AttributeValue) -> None:
    if isinstance(value, bool):
        made.bool_value = value
    elif isinstance(value, int):
        made.int_value = value
    elif isinstance(value, float):
        made.double_value = value
    elif isinstance(value, str):
        made.string_value = value
    elif isinstance(value, bytes):
        made.bytes_value = value
    elif isinstance(value, list):
        made.array_value.SetInParent()
        for item in value:
            _set(made.array_value.values.add(), item)


@dataclass(frozen=True)
class Reply:
    """An HTTP answer."""

    status: int = 200
    body: bytes = b""
    type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class TempoDouble:
    """Tempo, with what differs between its versions.

    Args:
        second: knows /api/v2/traces.
        protobuf: gives protobuf where asked; else JSON with ids in base64 and names of enums.
        stats: has serviceStats (2.4).
        recent: knows the hint most_recent (2.7).
        roots: knows nestedSetParent (2.5).
    """

    second: bool = True
    protobuf: bool = True
    stats: bool = True
    recent: bool = True
    roots: bool = True
    spans: list[Span] = field(default_factory=list)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    instead: Reply | None = None
    """Given in place of every answer."""

    def answer(self, target: str, headers: Mapping[str, str]) -> Reply:
        """What it answers to a GET."""
        parts = urlsplit(target)
        given = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        self.asked.append((parts.path, given))
        self.headers.append(headers)
        if self.instead:
            return self.instead
        match parts.path.split("/")[1:]:
            case ["api", "echo"]:
                return Reply(body=b"echo", type="text/plain")
            case ["api", "search"]:
                return self._search(given)
            case ["api", "v2", "search", "tag", "resource.service.namespace", "values"]:
                return self._namespaces(given)
            case ["api", "v2", "traces", trace_id] if self.second:
                return self._trace(trace_id, headers.get("Accept", ""), wrapped=True)
            case ["api", "traces", trace_id]:
                return self._trace(trace_id, headers.get("Accept", ""), wrapped=False)
        return Reply(404, b"404 page not found\n", "text/plain; charset=utf-8")

    def _search(self, given: dict[str, str]) -> Reply:
        start, end = int(given["start"]), int(given["end"])
        if start >= end:
            return Reply(400, f"http parameter start must be before end. received start={start} end={end}".encode())
        try:
            asked = parse(given["q"], roots=self.roots)
        except TraceQLError as error:
            return Reply(400, f"invalid TraceQL query: {error}".encode(), "text/plain")
        found = []
        for trace_id, spans in self._traces().items():
            first, last = min(span.start_ns for span in spans), max(span.end_ns for span in spans)
            matching = [span for span in spans if any(test(span) for test in asked.tests)]
            if all(any(map(test, spans)) for test in asked.tests) and first <= end * 10**9 and last >= start * 10**9:
                found.append((first, trace_id, spans, matching))
        if asked.most_recent and self.recent:
            found.sort(reverse=True)
        else:  # in whatever order its machines answer
            found.sort(key=lambda item: hashlib.sha256(item[1].encode()).digest())
        limit, most = int(given.get("limit", "20")), int(given.get("spss", "3"))
        result = [name for name in asked.selected if name == "nestedSetParent"]
        listed = [self._listed(spans, matching, most, result) for _, _, spans, matching in found[:limit]]
        return _json({"traces": listed, "metrics": {"totalBlocks": 1}} if listed else {"metrics": {"totalBlocks": 1}})

    def _listed(self, spans: list[Span], matching: list[Span], most: int, requested: list[str]) -> Json:
        first, last = min(span.start_ns for span in spans), max(span.end_ns for span in spans)
        root = next((span for span in spans if not span.parent_id), None)
        result: Json = {
            "traceID": spans[0].trace_id.lstrip("0"),
            "rootServiceName": root.resource["service.name"] if root else NO_ROOT,
            "startTimeUnixNano": str(first),
            "spanSets": [{"spans": [_matched(span, requested) for span in matching[:most]], "matched": len(matching)}],
        }
        if root:
            result["rootTraceName"] = root.name
        if duration := (last - first) // 10**6:
            result["durationMs"] = duration
        if self.stats:
            result["serviceStats"] = _stats(spans)
        return result

    def _namespaces(self, given: dict[str, str]) -> Reply:
        (test,) = parse(given["q"]).tests
        found = {span.resource.get("service.namespace") for span in self.spans if test(span)} - {None}
        return _json({"tagValues": [{"type": "string", "value": value} for value in sorted(map(str, found))]})

    def _trace(self, trace_id: str, accept: str, *, wrapped: bool) -> Reply:
        spans = self._traces().get(trace_id)
        if not spans:
            return Reply(404, b"trace not found", "text/plain")
        request = request_of(spans)
        if self.protobuf and "application/protobuf" in accept:
            trace = request.SerializeToString()
            return Reply(body=_field(1, trace) + b"\x12\x00" if wrapped else trace, type="application/protobuf")
        result = MessageToDict(request)
        return _json({"trace": result, "metrics": {}} if wrapped else {"batches": result["resourceSpans"]})

    def _traces(self) -> dict[str, list[Span]]:
        traces: dict[str, list[Span]] = {}
        for span in self.spans:
            traces.setdefault(span.trace_id, []).append(span)
        return traces


def _matched(span: Span, requested: list[str]) -> Json:
    result: list[Json] = [
        {"key": key, "value": {"stringValue": span.resource[key]}}
        for key in ("service.name", "service.namespace")
        if key in span.resource
    ]
    result += [{"key": key, "value": {"intValue": str(nested_parent(span))}} for key in requested]
    return {
        "spanID": span.span_id,
        "name": span.name,
        "startTimeUnixNano": str(span.start_ns),
        "durationNanos": str(span.duration_ns),
        "attributes": result,
    }


def _stats(spans: Iterable[Span]) -> Json:
    stats: Json = {}
    for span in spans:
        result = stats.setdefault(str(span.resource["service.name"]), {"spanCount": 0})
        result["spanCount"] += 1
        if span.status == "error":
            result["errorCount"] = result.get("errorCount", 0) + 1
    return stats


def _field(number: int, data: bytes) -> bytes:
    length, size = len(data), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes((number << 3 | 2, *size, length)) + data


def _json(body: Json) -> Reply:
    return Reply(body=json.dumps(body).encode())


class Served:
    """A double behind a socket of loopback. `double` needs a method `answer(target, headers)`."""

    def __init__(self, double: Any) -> None:  # noqa: ANN401 - any double
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                reply: Reply = double.answer(self.path, dict(self.headers.items()))
                self.send_response(reply.status)
                for name, value in {"Content-Type": reply.type, **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(reply.body)))
                self.end_headers()
                self.wfile.write(reply.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 as http.server has it
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
