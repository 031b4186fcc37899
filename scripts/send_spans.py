"""Sends spans of made-up calls to an OTLP/HTTP receiver at a steady rate; a part of `make bench`."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

CALLS = 250
"""Calls in a batch: a CLIENT and a SERVER span each."""
SERVICES = [f"service-{i}" for i in range(12)]


def text(key: str, value: str) -> KeyValue:
    """An attribute."""
    return KeyValue(key=key, value=AnyValue(string_value=value))


def batch(chance: random.Random, now_ns: int) -> bytes:
    """CALLS calls between random services that have just ended."""
    request = ExportTraceServiceRequest()
    spans = {}
    for name in SERVICES:
        resource = request.resource_spans.add()
        resource.resource.attributes.append(text("service.name", name))
        spans[name] = resource.scope_spans.add().spans
    for _ in range(CALLS):
        caller, callee = chance.sample(SERVICES, 2)
        took = int(chance.expovariate(20) * 1e9)
        trace, client = chance.randbytes(16), chance.randbytes(8)
        code = Status.STATUS_CODE_ERROR if chance.random() < 0.01 else Status.STATUS_CODE_UNSET
        for owner, kind, own, parent in (
            (caller, Span.SPAN_KIND_CLIENT, client, b""),
            (callee, Span.SPAN_KIND_SERVER, chance.randbytes(8), client),
        ):
            spans[owner].add(
                trace_id=trace,
                span_id=own,
                parent_span_id=parent,
                name="POST /v1/generate",
                kind=kind,
                start_time_unix_nano=now_ns - took,
                end_time_unix_nano=now_ns,
                status=Status(code=code),
                attributes=[
                    text("http.request.method", "POST"),
                    text("url.path", "/v1/generate"),
                    text("server.address", callee),
                    text("gen_ai.request.model", "llama-70b"),
                    text("user.tier", chance.choice(("free", "paid"))),
                ],
            )
    return request.SerializeToString()


def main(endpoint: str, rate: int, told: Path) -> None:
    """Send until terminated; how many spans were accepted and refused is in `told`."""
    chance = random.Random(1)  # noqa: S311 made-up calls, no secret
    accepted = refused = 0
    due = time.monotonic()
    with httpx.Client(trust_env=False, timeout=30, headers={"Content-Type": "application/x-protobuf"}) as client:
        while True:
            answer = client.post(endpoint, content=batch(chance, time.time_ns()))
            if answer.status_code == 200:
                accepted += 2 * CALLS
            else:
                refused += 2 * CALLS
            told.write_text(f"{accepted} {refused}")
            due += 2 * CALLS / rate
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
