"""Decodes OTLP trace requests, from protobuf and from JSON, and encodes their responses."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, MessageToJson, ParseDict, ParseError
from google.protobuf.message import DecodeError, EncodeError, Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no type marker
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # it ships no type marker
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsPartialSuccess,
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.indexed_attributes import attribute_reader
from foreshock_dashboard.ingest.otlp.attribute_reader import AttributeReader
from foreshock_dashboard.ingest.otlp.decode import MALFORMED, ORIGIN_MALFORMED, decode_spans
from foreshock_dashboard.ingest.otlp.encode import encode_spans
from foreshock_dashboard.model.span import TRACE_KEYS, Span

TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
METRICS_SERVICE = "opentelemetry.proto.collector.metrics.v1.MetricsService"

DEFAULT_ATTRIBUTES = attribute_reader(TRACE_KEYS)
"""Reads the attributes that the hub needs by default."""
_ESCAPED = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Escape sequences of JSON; a pair of surrogates is one."""
_INVALID_JSON = (ParseError, EncodeError, RecursionError, ValueError)
_INVALID_MESSAGE = (*_INVALID_JSON, AttributeError, TypeError)
"""Also the errors that protobuf raises for a number in place of an object."""


class MalformedError(Exception):
    """A body is not an OTLP trace request. The message says where decoding stopped."""


class DecodedRequest(NamedTuple):
    """The spans of a request, the number of rejected ones, and their number by reason."""

    spans: Sequence[Span]
    rejected: int
    reasons: Mapping[str, int]


def decode(
    payload: bytes, now: float | None = None, attributes: AttributeReader = DEFAULT_ATTRIBUTES
) -> DecodedRequest:
    """Decode a protobuf ExportTraceServiceRequest. Raises MalformedError if the payload is not one.

    Args:
        now: Unix seconds. Spans too far from it are rejected.
        attributes: reads the attributes that the outlines of spans have.
    """
    try:
        decoded = decode_spans(payload, attributes, None if now is None else round(now * 1e9))
    except DecodeError as error:
        raise MalformedError(f"not a protobuf ExportTraceServiceRequest: {error}") from error
    return DecodedRequest(decoded.spans or (), sum(decoded.rejected.values()), dict(decoded.rejected))


def decode_json(payload: bytes, id_to_base64: Callable[[object], str] | None = None) -> DecodedRequest:
    """Decode an ExportTraceServiceRequest in OTLP's JSON, where ids are hex; unknown fields are ignored.

    Raises MalformedError if the payload is not such a request.
    """
    rejected = Counter[str]()
    decoded = decode(json_to_protobuf(payload, rejected, id_to_base64))
    rejected.update(decoded.reasons)
    return DecodedRequest(decoded.spans, sum(rejected.values()), dict(rejected))


def decode_groups(groups: object) -> DecodedRequest:
    """Decode ResourceSpans in the JSON of a trace store: as OTLP's, or with ids in base64. Raises MalformedError."""
    return decode_json(orjson.dumps({"resourceSpans": groups}), _any_id_to_base64)


def encode_json(spans: Sequence[Span]) -> bytes:
    """Return a request in OTLP's JSON that `decode_json` decodes to these spans: ids in hex, enums by number."""
    request = ExportTraceServiceRequest.FromString(encode_spans(spans))
    body = MessageToDict(request, use_integers_for_enums=True)
    _convert_ids(body, lambda text: base64.b64decode(str(text)).hex())
    return orjson.dumps(body)


def encode_response(rejected: int, message: str, *, json: bool) -> bytes:
    """Return an ExportTraceServiceResponse; `partial_success` is unset if nothing was rejected."""
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.CopyFrom(ExportTracePartialSuccess(rejected_spans=rejected, error_message=message))
    return _encode(response, json=json)


def metrics_json_to_protobuf(payload: bytes | bytearray) -> bytes:
    """Return an ExportMetricsServiceRequest of OTLP's JSON in protobuf. Raises MalformedError."""
    try:
        return _message(_parse_json(payload), ExportMetricsServiceRequest)
    except _INVALID_MESSAGE as error:
        raise MalformedError(f"not a JSON ExportMetricsServiceRequest: {error}") from error


def encode_metrics_response(rejected: int, message: str, *, json: bool) -> bytes:
    """Return an ExportMetricsServiceResponse; `partial_success` is unset if nothing was rejected."""
    response = ExportMetricsServiceResponse()
    if rejected:
        problem = ExportMetricsPartialSuccess(rejected_data_points=rejected, error_message=message)
        response.partial_success.CopyFrom(problem)
    return _encode(response, json=json)


def encode_status(code: int, message: str, retry_after: float | None, *, json: bool) -> bytes:
    """Return a google.rpc.Status, with RetryInfo if the sender should retry after `retry_after` seconds."""
    status = RpcStatus(code=code, message=message)
    if retry_after is not None:
        delay = Duration(seconds=int(retry_after), nanos=int(retry_after % 1 * 1e9))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return _encode(status, json=json)


def _encode(message: Message, *, json: bool) -> bytes:
    return MessageToJson(message, indent=None).encode() if json else message.SerializeToString()


# --- JSON


def _hex_to_base64(text: object) -> str:
    """Return an id of OTLP's JSON in base64, as protobuf's JSON has it; of an invalid id, an invalid one."""
    try:
        return base64.b64encode(binascii.unhexlify(str(text))).decode()
    except ValueError:
        return "AA=="  # rejected with its span; an empty parent id would make the span a root


def _any_id_to_base64(text: object) -> str:
    """As `_hex_to_base64`, but also for an id in base64."""
    try:
        is_base64 = len(base64.b64decode(str(text), validate=True)) in (8, 16)  # which hex digits never are
    except ValueError:
        is_base64 = False
    return str(text) if is_base64 else _hex_to_base64(text)


def json_to_protobuf(
    payload: bytes | bytearray, rejected: Counter[str], id_to_base64: Callable[[object], str] | None = None
) -> bytes:
    """Return the request in protobuf without its invalid parts, and add the lost spans to `rejected` by reason.

    Raises MalformedError if the payload is not such a request.
    """
    try:
        body = _parse_json(payload)
        if not isinstance(body, dict):
            raise MalformedError("not a JSON ExportTraceServiceRequest: the outermost value is not an object")
        _convert_ids(body, id_to_base64 or _hex_to_base64)
        dropped = Counter[str]()
        try:
            request = _message(body, ExportTraceServiceRequest)
        except _INVALID_MESSAGE:
            _drop_malformed(body, dropped)
            request = _message(body, ExportTraceServiceRequest)
    except _INVALID_JSON as error:
        raise MalformedError(f"not a JSON ExportTraceServiceRequest: {error}") from error
    rejected.update(dropped)
    return request


def _parse_json(payload: bytes | bytearray) -> object:
    """Parse JSON. Lone surrogates, which JavaScript writes for truncated texts, become U+FFFD."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        if b"\\u" not in payload:
            raise
        return orjson.loads(_ESCAPED.sub(lambda escaped: b"\\ufffd" if escaped["lone"] else escaped[0], payload))


def _message(value: object, kind: type[Message]) -> bytes:
    message: bytes = ParseDict(value, kind(), ignore_unknown_fields=True).SerializeToString()  # type: ignore[arg-type]  # it says so itself
    return message


def _is_valid(value: object, kind: type[Message]) -> bool:
    try:
        _message(value, kind)
    except _INVALID_MESSAGE:
        return False
    return True


def _drop_malformed(body: dict[str, object], rejected: Counter[str]) -> None:
    """Remove the invalid parts of a request."""
    for group in _objects(body, "resourceSpans"):
        for scoped in _objects(group, "scopeSpans"):
            spans = scoped.get("spans")
            if isinstance(spans, list):
                scoped["spans"] = valid = [span for span in spans if _is_valid(span, OtlpSpan)]
                if len(valid) < len(spans):
                    rejected[MALFORMED] += len(spans) - len(valid)
            _drop_origin(scoped, "spans", ScopeSpans, rejected)
        _drop_origin(group, "scopeSpans", ResourceSpans, rejected)


def _drop_origin(holder: dict[str, object], below: str, kind: type[Message], rejected: Counter[str]) -> None:
    """Empty a group of spans with an invalid resource or scope."""
    if _is_valid({key: value for key, value in holder.items() if key != below}, kind):
        return
    scopes = [holder] if below == "spans" else list(_objects(holder, below))
    rejected[ORIGIN_MALFORMED] += sum(len(list(_objects(scoped, "spans"))) for scoped in scopes)
    holder.clear()


def _convert_ids(body: dict[str, object], convert: Callable[[object], str]) -> None:
    """Convert the ids from OTLP's hex to protobuf's base64, or back."""
    for group in _objects(body, "resourceSpans"):
        for scoped in _objects(group, "scopeSpans"):
            for span in _objects(scoped, "spans"):
                for holder in (span, *_objects(span, "links")):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if holder.get(key) is not None:  # null is the default value in protobuf's JSON
                            holder[key] = convert(holder[key])


def _objects(holder: dict[str, object], key: str) -> Iterator[dict[str, object]]:
    items = holder.get(key)
    return (item for item in (items if isinstance(items, list) else ()) if isinstance(item, dict))
