"""OTLP trace requests turned into spans, and the answers to them. How a span is laid out is known to `model.otlp`."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import orjson
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict, MessageToJson, ParseDict, ParseError
from google.protobuf.message import DecodeError, EncodeError, Message
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no type marker
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # it ships no type marker
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from foreshock_dashboard.model.asked import pickers
from foreshock_dashboard.model.otlp import Pickers, encode, read
from foreshock_dashboard.model.span import TRACE_KEYS, Span

SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"

PICKERS = pickers(TRACE_KEYS)
"""Read what the hub asks for unless told otherwise."""


class MalformedError(Exception):
    """A body is not an OTLP trace request. The message says where decoding stopped."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The spans of a request, and how many were refused for which reason."""

    spans: Sequence[Span]
    rejected: int
    reasons: Mapping[str, int]


def decode(payload: bytes, now: float | None = None, asked: Pickers = PICKERS) -> Decoded:
    """Read a protobuf ExportTraceServiceRequest; with `now` (Unix seconds), spans too far from it are rejected.

    Args:
        asked: which attributes of a span are read at once.

    Raises:
        MalformedError: the bytes are not one.
    """
    try:
        return _decoded(payload, now, asked)
    except DecodeError as error:
        raise MalformedError(f"not a protobuf ExportTraceServiceRequest: {error}") from error


def decode_json(payload: bytes, now: float | None = None) -> Decoded:
    """Read an ExportTraceServiceRequest in OTLP's JSON, where ids are hex; unknown fields are ignored.

    Raises:
        MalformedError: the bytes are not one.
    """
    return decode(protobuf_of(payload), now)


def protobuf_of(payload: bytes) -> bytes:
    """A request in OTLP's JSON as protobuf.

    Raises:
        MalformedError: the bytes are not one.
    """
    try:
        body = orjson.loads(payload)
        if not isinstance(body, dict):
            raise MalformedError("not a JSON ExportTraceServiceRequest: the outermost value is not an object")
        _turn_ids(body, _base64_of_hex)
        request = ParseDict(body, ExportTraceServiceRequest(), ignore_unknown_fields=True)
        return request.SerializeToString()
    except (orjson.JSONDecodeError, ParseError, EncodeError, RecursionError) as error:
        raise MalformedError(f"not a JSON ExportTraceServiceRequest: {error}") from error


def encode_json(spans: Sequence[Span]) -> bytes:
    """A request in OTLP's JSON of which `decode_json` gives these spans: ids in hex, enums by number."""
    request = ExportTraceServiceRequest.FromString(encode(spans))
    body = MessageToDict(request, use_integers_for_enums=True)
    _turn_ids(body, _hex_of_base64)
    return orjson.dumps(body)


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


def _decoded(payload: bytes, now: float | None, asked: Pickers) -> Decoded:
    found = read(payload, asked, None if now is None else round(now * 1e9))
    return Decoded(found.spans or (), sum(found.refused.values()), dict(found.refused))


def _turn_ids(body: dict[str, object], turned: Callable[[object], str]) -> None:
    """Turn OTLP's ids, which are hex, into protobuf's, which are base64, or back."""
    for group in _objects(body, "resourceSpans"):
        for scoped in _objects(group, "scopeSpans"):
            for span in _objects(scoped, "spans"):
                for holder in (span, *_objects(span, "links")):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if key in holder:
                            holder[key] = turned(holder[key])


def _objects(holder: dict[str, object], key: str) -> Iterator[dict[str, object]]:
    items = holder.get(key)
    return (item for item in (items if isinstance(items, list) else ()) if isinstance(item, dict))


def _base64_of_hex(text: object) -> str:
    try:
        return base64.b64encode(binascii.unhexlify(str(text))).decode()
    except ValueError:
        # No valid id, so that the span is refused; not empty, which for a parent would make a root of the span.
        return "AA=="


def _hex_of_base64(text: object) -> str:
    return base64.b64decode(str(text)).hex()
