"""Sends spans of synthetic calls to an OTLP/HTTP receiver at a constant rate; part of `make bench`.

  .venv/bin/python -m bench.support.send_spans URL RATE FILE [SPEED ORIGIN WALL_ORIGIN]

The last three are of the receiver's clock (`Clock`).
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from foreshock_dashboard.common.clock import Clock

CALLS_PER_BATCH = 250
"""Each call has a CLIENT and a SERVER span."""
SERVICES = [f"service-{i}" for i in range(12)]


def attribute(key: str, value: str | int) -> KeyValue:
    """Return a KeyValue."""
    content = AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
    return KeyValue(key=key, value=content)


def batch(rng: random.Random, now_ns: int) -> bytes:
    """Return an ExportTraceServiceRequest of calls between random services that end at `now_ns`."""
    request = ExportTraceServiceRequest()
    spans = {}
    for name in SERVICES:
        resource = request.resource_spans.add()
        resource.resource.attributes.append(attribute("service.name", name))
        spans[name] = resource.scope_spans.add().spans
    for _ in range(CALLS_PER_BATCH):
        caller, callee = rng.sample(SERVICES, 2)
        duration_ns = int(rng.expovariate(20) * 1e9)
        trace, client = rng.randbytes(16), rng.randbytes(8)
        code = Status.STATUS_CODE_ERROR if rng.random() < 0.01 else Status.STATUS_CODE_UNSET
        for owner, kind, own, parent in (
            (caller, Span.SPAN_KIND_CLIENT, client, b""),
            (callee, Span.SPAN_KIND_SERVER, rng.randbytes(8), client),
        ):
            spans[owner].add(
                trace_id=trace,
                span_id=own,
                parent_span_id=parent,
                name="POST /v1/generate",
                kind=kind,
                start_time_unix_nano=now_ns - duration_ns,
                end_time_unix_nano=now_ns,
                status=Status(code=code),
                attributes=[
                    attribute("http.request.method", "POST"),
                    attribute("url.path", "/v1/generate"),
                    attribute("server.address", callee),
                    attribute("gen_ai.request.model", "llama-70b"),
                    attribute("user.tier", rng.choice(("free", "paid"))),
                ],
            )
    return request.SerializeToString()


def clock_of(arguments: Sequence[str]) -> Clock:
    """Return the clock of speed, origin, and wall origin; the wall clock without them."""
    speed, origin, wall_origin = map(float, arguments or ("1", "0", "0"))
    return Clock(speed, origin, wall_origin)


def main(endpoint: str, rate: float, counts_file: Path, clock: Clock) -> None:
    """Send `rate` spans per second of the clock until terminated.

    The numbers of accepted and refused spans are written to `counts_file`.
    """
    rng = random.Random(1)  # noqa: S311 made-up calls, no secret
    accepted = refused = 0
    due = time.monotonic()
    with httpx.Client(trust_env=False, timeout=30, headers={"Content-Type": "application/x-protobuf"}) as client:
        while True:
            try:
                status = client.post(endpoint, content=batch(rng, round(clock.now() * 1e9))).status_code
            except httpx.TransportError:  # such as a timeout on an overloaded machine
                status = 0
            if status == 200:
                accepted += 2 * CALLS_PER_BATCH
            else:
                refused += 2 * CALLS_PER_BATCH
            counts_file.write_text(f"{accepted} {refused}")
            due += clock.wall_seconds(2 * CALLS_PER_BATCH / rate)
            time.sleep(max(0.0, due - time.monotonic()))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), Path(sys.argv[3]), clock_of(sys.argv[4:]))
