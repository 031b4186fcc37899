"""OTLP trace requests turned into spans, and the answers to them: the one file that knows OTLP's message types."""

from __future__ import annotations

import base64
import binascii
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no type marker
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # it ships no type marker
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.model.span import Attributes, AttributeValue, Event, Kind, Link, Span, Status

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"

_KINDS: Mapping[int, Kind] = {
    OtlpSpan.SPAN_KIND_SERVER: "server",
    OtlpSpan.SPAN_KIND_CLIENT: "client",
    OtlpSpan.SPAN_KIND_PRODUCER: "producer",
    OtlpSpan.SPAN_KIND_CONSUMER: "consumer",
}
_STATUSES: Mapping[int, Status] = {1: "ok", 2: "error"}
_NO_TRACE, _NO_SPAN = bytes(16), bytes(8)
_LAST_TIME = 2**63 - 1


class MalformedError(Exception):
    """A body is not an OTLP trace request. The message says where decoding stopped."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The spans of a request, and how many were refused for which reason."""

    spans: tuple[Span, ...]
    rejected: int
    reasons: Mapping[str, int]


def decode(payload: bytes) -> Decoded:
    """Read a protobuf ExportTraceServiceRequest.

    Raises:
        MalformedError: the bytes are not one.
    """
    try:
        return _decoded(ExportTraceServiceRequest.FromString(payload))
    except DecodeError as error:
        raise MalformedError(f"not a protobuf ExportTraceServiceRequest: {error}") from error


def decode_json(payload: bytes) -> Decoded:
    """Read an ExportTraceServiceRequest in OTLP's JSON, where ids are hex; unknown fields are ignored.

    Raises:
        MalformedError: the bytes are not one.
    """
    try:
        body = orjson.loads(payload)
        if not isinstance(body, dict):
            raise MalformedError("not a JSON ExportTraceServiceRequest: the outermost value is not an object")
        _ids_to_base64(body)
        return _decoded(ParseDict(body, ExportTraceServiceRequest(), ignore_unknown_fields=True))
    except (orjson.JSONDecodeError, ParseError, RecursionError) as error:
        raise MalformedError(f"not a JSON ExportTraceServiceRequest: {error}") from error


def encode_response(rejected: int, message: str, *, json: bool) -> bytes:
    """Write an ExportTraceServiceResponse; `partial_success` is unset where nothing was rejected."""
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.CopyFrom(ExportTracePartialSuccess(rejected_spans=rejected, error_message=message))
    return _encode(answer, json=json)


def encode_status(code: int, message: str, retry_after: float | None, *, json: bool) -> bytes:
    """Write a google.rpc.Status, with RetryInfo where the sender may try again after `retry_after` seconds."""
    status = RpcStatus(code=code, message=message)
    if retry_after is not None:
        delay = Duration(seconds=int(retry_after), nanos=int(retry_after % 1 * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return _encode(status, json=json)


def _encode(message: Message, *, json: bool) -> bytes:
    return MessageToJson(message, indent=None).encode() if json else message.SerializeToString()


def _decoded(request: ExportTraceServiceRequest) -> Decoded:
    spans: list[Span] = []
    reasons: Counter[str] = Counter()
    for group in request.resource_spans:
        resource = _attributes(group.resource.attributes)
        for scoped in group.scope_spans:
            scope = scoped.scope.name
            for span in scoped.spans:
                if reason := _fault(span):
                    reasons[reason] += 1
                else:
                    spans.append(_span(span, resource, scope))
    return Decoded(tuple(spans), reasons.total(), dict(reasons))


def _fault(span: OtlpSpan) -> str:
    """Why a span cannot be used; "" where it can (opentelemetry-proto, trace.proto)."""
    if len(span.trace_id) != 16 or span.trace_id == _NO_TRACE:
        return "invalid trace_id"
    if len(span.span_id) != 8 or span.span_id == _NO_SPAN:
        return "invalid span_id"
    if len(span.parent_span_id) not in (0, 8):
        return "invalid parent_span_id"
    if not 0 < span.start_time_unix_nano <= _LAST_TIME or span.end_time_unix_nano > _LAST_TIME:
        return "invalid time"
    return ""


def _span(span: OtlpSpan, resource: Attributes, scope: str) -> Span:
    start, end, parent = span.start_time_unix_nano, span.end_time_unix_nano, span.parent_span_id
    return Span(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id="" if parent == _NO_SPAN else parent.hex(),
        name=span.name,
        kind=_KINDS.get(span.kind, "internal"),
        start_ns=start,
        end_ns=max(start, end),
        status=_STATUSES.get(span.status.code, "unset"),
        status_message=span.status.message,
        resource=resource,
        attributes=_attributes(span.attributes),
        events=tuple(Event(e.time_unix_nano, e.name, _attributes(e.attributes)) for e in span.events),
        links=tuple(Link(k.trace_id.hex(), k.span_id.hex(), _attributes(k.attributes)) for k in span.links),
        scope=scope,
        trace_state=span.trace_state,
        clamped=end < start,
    )


def _attributes(pairs: Iterable[KeyValue]) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {}
    for pair in pairs:
        attributes.setdefault(pair.key, _value(pair.value))  # keys should be unique; the first one holds
    return attributes


def _value(value: AnyValue) -> AttributeValue:
    if text := value.string_value:  # nearly all are non-empty strings, and asking which is set costs more
        return text
    match value.WhichOneof("value"):
        case "string_value":
            return ""
        case "int_value":
            return value.int_value
        case "bool_value":
            return value.bool_value
        case "double_value":
            return value.double_value
        case "bytes_value":
            return value.bytes_value
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return {**_attributes(value.kvlist_value.values)}
        case _:
            return None


def _ids_to_base64(body: dict[str, object]) -> None:
    """Turn OTLP's ids, which are hex, into protobuf's, which are base64."""
    for group in _objects(body, "resourceSpans"):
        for scoped in _objects(group, "scopeSpans"):
            for span in _objects(scoped, "spans"):
                for holder in (span, *_objects(span, "links")):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in holder:
                            holder[key] = _base64_of_hex(holder[key])


def _objects(holder: dict[str, object], key: str) -> Iterator[dict[str, object]]:
    items = holder.get(key)
    return (item for item in (items if isinstance(items, list) else ()) if isinstance(item, dict))


def _base64_of_hex(text: object) -> str:
    try:
        return base64.b64encode(binascii.unhexlify(str(text))).decode()
    except ValueError:
        # No valid id, so that the span is refused; not empty, which for a parent would make a root of the span.
        return "AA=="
