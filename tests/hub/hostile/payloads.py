"""OTLP requests that are wrong, or made to cost much, and what a hub has to answer."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import grpc
from tests.hub.sending import JSON, PROTOBUF, request

from foreshock_dashboard.ingest.otlp.decode import MAX_ORIGIN_BYTES, MAX_SPAN_BYTES

MIB = 1 << 20


def field(number: int, content: bytes) -> bytes:
    """A protobuf field with a length."""
    size, length = len(content), b""
    while size > 127:
        length += bytes([size & 127 | 128])
        size >>= 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content


def empty_spans(count: int) -> bytes:
    """A request of so many spans without anything."""
    return field(1, field(2, field(2, b"") * count))


def idle_spans(count: int, size: int) -> bytes:
    """A request of spans that have nothing but empty attributes, so many bytes of them."""
    return field(1, field(2, field(2, field(9, b"") * (size // 2 - 10)) * count))


def with_text(text: str) -> bytes:
    """A request of one span with a text among its attributes."""
    return request(attributes={"text": text}).SerializeToString()


def far(year: int) -> bytes:
    """A request of one span of a year's first January."""
    made = request()
    span = made.resource_spans[0].scope_spans[0].spans[0]
    span.start_time_unix_nano = round((year - 1970) * 365.2425 * 86_400 * 1e9) + 1
    span.end_time_unix_nano = span.start_time_unix_nano + 1
    return made.SerializeToString()


def spoiled(data: bytes) -> bytes:
    """The same with a text that is no UTF-8 in place of `n@me#`."""
    return data.replace(b"n@me#", b"n@me\xff")


def beside(data: bytes) -> bytes:
    """The same with a good span before it."""
    return request().SerializeToString() + data


def in_json(trace_id: str) -> bytes:
    """A request of one span in JSON."""
    span = {"traceId": trace_id, "spanId": "eee19b7ec3c1b174", "startTimeUnixNano": str(time.time_ns())}
    return json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()


@dataclass(frozen=True)
class Case:
    """A payload; what HTTP and gRPC (None: not sent there) answer and say; how many spans are rejected, and why."""

    make: Callable[[], bytes]
    http: int = 200
    grpc: grpc.StatusCode | None = grpc.StatusCode.OK
    says: str = ""
    rejected: int = 0
    reason: str = ""
    kind: str = PROTOBUF
    gzip: bool = False


TOO_LARGE, BAD = grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.INVALID_ARGUMENT
NO_ID, LARGE_SPAN, FAR = "invalid trace_id", f"larger than {MAX_SPAN_BYTES} bytes", "time too far from now"
LARGE_ORIGIN = f"resource or scope larger than {MAX_ORIGIN_BYTES} bytes"
CASES = {
    "gzip bomb": Case(lambda: bytes(200 * MIB), 413, TOO_LARGE, "after decompression", gzip=True),
    "gzip bomb just below the limit": Case(lambda: bytes(64 * MIB), 400, BAD, "not a protobuf", gzip=True),
    "30 million empty resources": Case(lambda: field(1, b"") * (30 * MIB), 413, TOO_LARGE, "spans, scopes", gzip=True),
    "30 million empty spans": Case(lambda: empty_spans(30 * MIB), 413, TOO_LARGE, "spans, scopes", gzip=True),
    "200,000 empty spans": Case(lambda: empty_spans(200_000), rejected=200_000, reason=NO_ID),
    "spans of 500,000 empty attributes": Case(
        lambda: idle_spans(60, MAX_SPAN_BYTES), rejected=60, reason=NO_ID, gzip=True
    ),
    "a span of 30 million empty attributes": Case(
        lambda: idle_spans(1, 60 * MIB), rejected=1, reason=LARGE_SPAN, gzip=True
    ),
    "JSON of 17 MiB": Case(
        lambda: b'{"a":"%s"}' % (b"x" * 17 * MIB), 413, None, "JSON of more than 16777216 bytes", kind=JSON
    ),
    "JSON of five million lists": Case(
        lambda: b'{"a":[' + b"[]," * (5 * MIB) + b"[]]}",
        *(413, None, "JSON of more than 1048576 values"),
        kind=JSON,
        gzip=True,
    ),
    "JSON nested 100,000 deep": Case(lambda: b'{"a":' * 100_000, 400, None, "not a JSON", kind=JSON),
    "JSON with a base64 trace id": Case(
        lambda: in_json("W47/94gDgQPSabYzgTr/pA=="), 200, None, "ids in OTLP's JSON are hex digits", 1, NO_ID, JSON
    ),
    "JSON with a zero trace id": Case(lambda: in_json("0" * 32), 200, None, "", 1, NO_ID, JSON),
    "JSON with a short trace id": Case(lambda: in_json("ab" * 15), 200, None, "", 1, NO_ID, JSON),
    "an attribute of 1 MiB": Case(lambda: with_text("x" * MIB), rejected=1, reason=LARGE_SPAN),
    "a resource of 8 MiB": Case(
        lambda: request(3, service="x" * 8 * MIB).SerializeToString(), rejected=3, reason=LARGE_ORIGIN
    ),
    "a span that is no UTF-8": Case(lambda: beside(spoiled(with_text("n@me#"))), rejected=1, reason="malformed span"),
    "a resource that is no UTF-8": Case(
        lambda: beside(spoiled(request(2, service="n@me#").SerializeToString())),
        rejected=2,
        reason="malformed resource or scope",
    ),
    "a span of 1970": Case(lambda: beside(far(1970)), rejected=1, reason=FAR),
    "a span of 2100": Case(lambda: beside(far(2100)), rejected=1, reason=FAR),
}
LARGEST = ("30 million empty resources", "spans of 500,000 empty attributes")
"""Of these `make test` has a sibling, which is refused by the same limit."""
