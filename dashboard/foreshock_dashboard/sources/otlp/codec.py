"""Decodes OTLP trace requests, and encodes their responses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, MessageToJson
from google.protobuf.message import DecodeError, Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no type marker
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # it ships no type marker
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from foreshock_dashboard.ingest.indexed_attributes import attribute_reader
from foreshock_dashboard.ingest.otlp import AttributeReader, decode_spans, encode_spans
from foreshock_dashboard.model.span import TRACE_KEYS, Span
from foreshock_dashboard.sources.otlp.json_request import MalformedError, base64_to_hex, convert_ids, json_to_protobuf

__all__ = [
    "DecodedRequest", "MalformedError", "decode", "decode_json", "encode_json", "encode_response", "encode_status",
]  # fmt: skip

TRACE_SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"

DEFAULT_ATTRIBUTES = attribute_reader(TRACE_KEYS)
"""Reads the attributes that the hub needs by default."""


@dataclass(frozen=True, slots=True)
class DecodedRequest:
    """The spans of a request, the number of rejected ones, and their number by reason."""

    spans: Sequence[Span]
    rejected: int
    reasons: Mapping[str, int]


def decode(
    payload: bytes, now: float | None = None, attributes: AttributeReader = DEFAULT_ATTRIBUTES
) -> DecodedRequest:
    """Decode a protobuf ExportTraceServiceRequest.

    Args:
        now: Unix seconds. Spans too far from it are rejected.
        attributes: reads the attributes that the outlines of spans have.

    Raises:
        MalformedError: the payload is not such a request.
    """
    try:
        return _decoded(payload, now, attributes)
    except DecodeError as error:
        raise MalformedError(f"not a protobuf ExportTraceServiceRequest: {error}") from error


def decode_json(payload: bytes, now: float | None = None) -> DecodedRequest:
    """Decode an ExportTraceServiceRequest in OTLP's JSON, where ids are hex; unknown fields are ignored.

    Raises:
        MalformedError: the payload is not such a request.
    """
    rejected = Counter[str]()
    decoded = decode(json_to_protobuf(payload, rejected), now)
    rejected.update(decoded.reasons)
    return DecodedRequest(decoded.spans, sum(rejected.values()), dict(rejected))


def encode_json(spans: Sequence[Span]) -> bytes:
    """Return a request in OTLP's JSON that `decode_json` decodes to these spans: ids in hex, enums by number."""
    request = ExportTraceServiceRequest.FromString(encode_spans(spans))
    body = MessageToDict(request, use_integers_for_enums=True)
    convert_ids(body, base64_to_hex)
    return orjson.dumps(body)


def encode_response(rejected: int, message: str, *, json: bool) -> bytes:
    """Return an ExportTraceServiceResponse; `partial_success` is unset if nothing was rejected."""
    response = ExportTraceServiceResponse()
    if rejected:
        response.partial_success.CopyFrom(ExportTracePartialSuccess(rejected_spans=rejected, error_message=message))
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


def _decoded(payload: bytes, now: float | None, attributes: AttributeReader) -> DecodedRequest:
    decoded = decode_spans(payload, attributes, None if now is None else round(now * 1e9))
    return DecodedRequest(decoded.spans or (), sum(decoded.rejected.values()), dict(decoded.rejected))
