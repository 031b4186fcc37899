"""A trace request in OTLP's JSON, where ids are hex, as protobuf."""

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
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""Whatever a backslash begins in JSON; a pair of surrogates is one."""
_UNREADABLE = (ParseError, EncodeError, RecursionError, ValueError)
_UNSUITED = (*_UNREADABLE, AttributeError, TypeError)
"""The same, and what protobuf has to say of a number where an object should be."""


class MalformedError(Exception):
    """A body is not an OTLP trace request. The message says where decoding stopped."""


def json_to_protobuf(payload: bytes, refused: Counter[str]) -> bytes:
    """A request in protobuf, without what cannot be read: the spans that this costs are counted.

    Raises:
        MalformedError: the bytes are not one.
    """
    try:
        body = _loaded(payload)
        if not isinstance(body, dict):
            raise MalformedError("not a JSON ExportTraceServiceRequest: the outermost value is not an object")
        convert_ids(body, _base64_of_hex)
        dropped = Counter[str]()
        try:
            found = _message(body, ExportTraceServiceRequest)
        except _UNSUITED:
            _drop_malformed(body, dropped)
            found = _message(body, ExportTraceServiceRequest)
    except _UNREADABLE as error:
        raise MalformedError(f"not a JSON ExportTraceServiceRequest: {error}") from error
    refused.update(dropped)
    return found


def _loaded(payload: bytes) -> object:
    """What JSON says. For halves of surrogate pairs, which JavaScript writes of texts that were cut, U+FFFD stands."""
    try:
        return orjson.loads(payload)
    except orjson.JSONDecodeError:
        if b"\\u" not in payload:
            raise
        return orjson.loads(_ESCAPED.sub(_whole, payload))


def _whole(escaped: re.Match[bytes]) -> bytes:
    return b"\\ufffd" if escaped["half"] else escaped[0]


def _message(value: object, kind: type[Message]) -> bytes:
    found: bytes = ParseDict(value, kind(), ignore_unknown_fields=True).SerializeToString()  # type: ignore[arg-type]  # it says so itself
    return found


def _readable(value: object, kind: type[Message]) -> bool:
    try:
        _message(value, kind)
    except _UNSUITED:
        return False
    return True


def _drop_malformed(body: dict[str, object], refused: Counter[str]) -> None:
    """Take out what is the reason why a request cannot be read."""
    for group in _objects(body, "resourceSpans"):
        for scoped in _objects(group, "scopeSpans"):
            spans = scoped.get("spans")
            if isinstance(spans, list):
                scoped["spans"] = sound = [span for span in spans if _readable(span, OtlpSpan)]
                if len(sound) < len(spans):
                    refused[MALFORMED] += len(spans) - len(sound)
            _drop_origin(scoped, "spans", ScopeSpans, refused)
        _drop_origin(group, "scopeSpans", ResourceSpans, refused)


def _drop_origin(holder: dict[str, object], below: str, kind: type[Message], refused: Counter[str]) -> None:
    """Empty a resource or a scope that cannot be read."""
    if _readable({key: value for key, value in holder.items() if key != below}, kind):
        return
    scopes = [holder] if below == "spans" else list(_objects(holder, below))
    refused[ORIGIN_MALFORMED] += sum(len(list(_objects(scoped, "spans"))) for scoped in scopes)
    holder.clear()


def convert_ids(body: dict[str, object], turned: Callable[[object], str]) -> None:
    """Turn OTLP's ids, which are hex, into protobuf's, which are base64, or back."""
    for group in _objects(body, "resourceSpans"):
        for scoped in _objects(group, "scopeSpans"):
            for span in _objects(scoped, "spans"):
                for holder in (span, *_objects(span, "links")):
                    for key in ("traceId", "spanId", "parentSpanId"):
                        if holder.get(key) is not None:  # which stands for nothing in protobuf's JSON
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


def base64_to_hex(text: object) -> str:
    """An id as OTLP has it."""
    return base64.b64decode(str(text)).hex()
