"""Converts a trace request from OTLP's JSON, where ids are hex, to protobuf."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Callable, Iterator

import orjson
from google.protobuf.json_format import ParseDict, ParseError
from google.protobuf.message import EncodeError, Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as OtlpSpan

from foreshock_dashboard.ingest.otlp import MALFORMED, ORIGIN_MALFORMED

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


def json_to_protobuf(payload: bytes, rejected: Counter[str]) -> bytes:
    """Return the request in protobuf without its invalid parts, and add the lost spans to `rejected` by reason.

    Raises:
        MalformedError: the payload is not such a request.
    """
    try:
        body = _parse_json(payload)
        if not isinstance(body, dict):
            raise MalformedError("not a JSON ExportTraceServiceRequest: the outermost value is not an object")
        convert_ids(body, _hex_to_base64)
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


def _parse_json(payload: bytes) -> object:
    """Parse JSON. Lone surrogates, which JavaScript writes for truncated texts, become U+FFFD."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        if b"\\u" not in payload:
            raise
        return orjson.loads(_ESCAPED.sub(_replace_lone_surrogate, payload))


def _replace_lone_surrogate(escaped: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escaped["lone"] else escaped[0]


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


def convert_ids(body: dict[str, object], convert: Callable[[object], str]) -> None:
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


def _hex_to_base64(text: object) -> str:
    try:
        return base64.b64encode(binascii.unhexlify(str(text))).decode()
    except ValueError:
        # Not a valid id, so that the span is rejected. An empty parent id would make the span a root.
        return "AA=="


def base64_to_hex(text: object) -> str:
    """Return an id in hex."""
    return base64.b64decode(str(text)).hex()
