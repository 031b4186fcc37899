"""OTLP requests for running hubs, and senders of them over both protocols."""

from __future__ import annotations

import gzip as gzip_
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import grpc
import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.hub.process import TLS, HubProcess

PROTOBUF, JSON = "application/x-protobuf", "application/json"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


def request(
    spans: int = 1,
    trace: bytes | None = None,
    service: str = "checkout",
    first: int = 1,
    attributes: Mapping[str, str] | None = None,
) -> ExportTraceServiceRequest:
    """SERVER spans that have just ended, of one trace; their ids count from `first`."""
    made = ExportTraceServiceRequest()
    group = made.resource_spans.add()
    group.resource.attributes.add(key="service.name").value.string_value = service
    scoped = group.scope_spans.add()
    trace, now = trace or os.urandom(16), time.time_ns()
    for number in range(first, first + spans):
        span = scoped.spans.add(
            trace_id=trace,
            span_id=number.to_bytes(8, "big"),
            name="POST /pay",
            kind=2,
            start_time_unix_nano=now - 1_000_000,
            end_time_unix_nano=now,
        )
        for key, value in (attributes or {}).items():
            span.attributes.add(key=key).value.string_value = value
    return made


def post(hub: HubProcess, body: bytes, kind: str = PROTOBUF, *, gzip: bool = False) -> httpx.Response:
    """Send over HTTP, on a separate connection."""
    headers = {"content-type": kind} | ({"content-encoding": "gzip"} if gzip else {})
    content = gzip_.compress(body, 1) if gzip else body
    return httpx.post(hub.otlp, content=content, headers=headers, trust_env=False, timeout=120, verify=TLS)


@contextmanager
def channel(hub: HubProcess) -> Iterator[grpc.Channel]:
    """A gRPC connection that no other channel shares."""
    with grpc.insecure_channel(hub.grpc, (("grpc.use_local_subchannel_pool", 1),)) as made:
        yield made


def export(hub: HubProcess, body: bytes, *, gzip: bool = False) -> bytes:
    """Send over gRPC, on a separate connection.

    Raises:
        grpc.RpcError: it is not kept.
    """
    with channel(hub) as made:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = made.unary_unary(EXPORT)
        return call(body, timeout=120, compression=grpc.Compression.Gzip if gzip else None)
