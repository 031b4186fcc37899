"""Benchmark of ingest, from the socket to the stored span: spans per CPU second, and memory; part of `make bench`.

A hub process with both OTLP listeners, one sender process per listener, and the CPU time of the hub process: decoding,
pairing, storing, sealing and compaction in all threads.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from bench.support.figures import Figure, report
from bench.support.machine import factors
from bench.support.process import hub_process
from bench.support.send_spans import attribute
from foreshock_dashboard.store import Store

BATCH_SPANS = 512
SERVICES = 12
PREPARED_BATCHES = 64
"""Batches that are prepared before sending; each gets new ids and times when it is sent."""
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
MIN_SPANS_PER_CPU_SECOND, MAX_MIB = 60_000, 400.0
TEMPO_SPANS_PER_CPU_SECOND = 47_000
"""Of Grafana Tempo on a machine with factor 1: foreshock stored 1.3 to 1.6 times as many, measured alternately on one
machine with 195,000 spans, service graph and span metrics; 68,000 / 1.45."""


def batch(rng: random.Random) -> ExportTraceServiceRequest:
    """Return 512 spans of 12 services with ten attributes each: 25% CLIENT, 50% SERVER, 25% INTERNAL."""
    request = ExportTraceServiceRequest()
    spans = []
    for number in range(SERVICES):
        group = request.resource_spans.add()
        group.resource.attributes.extend(
            [attribute("service.name", f"service-{number}"), attribute("host.name", f"host-{number % 3}")]
        )
        spans.append(group.scope_spans.add().spans)

    def add(owner: int, kind: Span.SpanKind.ValueType, name: str, peer: int) -> None:
        spans[owner].add(
            name=name,
            kind=kind,
            attributes=[
                attribute("http.request.method", "POST"),
                attribute("http.route", name.partition(" ")[2]),
                attribute("url.full", f"http://service-{peer}:8080{name.partition(' ')[2]}?id={rng.randrange(10**6)}"),
                attribute("http.response.status_code", 200),
                attribute("server.address", f"service-{peer}"),
                attribute("server.port", 8080),
                attribute("network.peer.address", f"10.0.{rng.randrange(4)}.{rng.randrange(250)}"),
                attribute("user_agent.original", "python-httpx/0.28.1"),
                attribute("gen_ai.request.model", rng.choice(("llama-70b", "mixtral", "qwen-32b"))),
                attribute("user.id", f"u-{rng.randrange(50_000)}"),
            ],
        )

    for _ in range(BATCH_SPANS // 4):
        caller, callee = rng.sample(range(SERVICES), 2)
        name = f"POST /v1/route-{rng.randrange(20)}"
        add(caller, Span.SPAN_KIND_CLIENT, name, callee)
        add(callee, Span.SPAN_KIND_SERVER, name, callee)
        add(callee, Span.SPAN_KIND_SERVER, name, callee)
        add(callee, Span.SPAN_KIND_INTERNAL, f"step {name}", callee)
    return request


def renew(request: ExportTraceServiceRequest, rng: random.Random, now: int) -> bytes:
    """Return the batch with new ids and ends at `now` (ns). Half of the SERVER spans get a CLIENT parent."""
    clients: list[tuple[bytes, bytes]] = []
    for group in request.resource_spans:
        for span in group.scope_spans[0].spans:
            span.span_id = rng.randbytes(8)
            span.trace_id, span.parent_span_id = rng.randbytes(16), b""
            span.start_time_unix_nano, span.end_time_unix_nano = now - rng.randrange(10**6, 10**9), now
            if span.kind == Span.SPAN_KIND_CLIENT:
                clients.append((span.trace_id, span.span_id))
    for group in request.resource_spans:
        for span in group.scope_spans[0].spans:
            if span.kind == Span.SPAN_KIND_SERVER and clients and rng.random() < 0.5:
                span.trace_id, span.parent_span_id = clients.pop()
    return request.SerializeToString()


@contextmanager
def sender(address: str) -> Iterator[Callable[[bytes], bool]]:
    """Yield a function that sends a request to an HTTP or gRPC address; it returns whether all spans were accepted."""
    if address.startswith("http"):
        with httpx.Client(trust_env=False, timeout=60, headers={"Content-Type": "application/x-protobuf"}) as client:
            yield lambda body: client.post(address, content=body).status_code == 200
    else:
        with grpc.insecure_channel(address) as channel:
            call: Callable[..., bytes] = channel.unary_unary(EXPORT)

            def send(body: bytes) -> bool:
                try:
                    response = ExportTraceServiceResponse.FromString(call(body, timeout=60))
                except grpc.RpcError:
                    return False
                return not response.partial_success.rejected_spans

            yield send


def send_batches(address: str, rate: float, seconds: float) -> None:
    """Send `rate` spans per second (0: as fast as possible), and print the numbers of accepted and refused spans."""
    rng = random.Random(address)  # noqa: S311 made-up calls, no secret
    prepared = [batch(rng) for _ in range(PREPARED_BATCHES)]
    accepted = refused = number = 0
    started = time.monotonic()
    with sender(address) as send:
        while time.monotonic() - started < seconds:
            body = renew(prepared[number % PREPARED_BATCHES], rng, time.time_ns())
            number += 1
            if rate:
                time.sleep(max(0.0, started + number * BATCH_SPANS / rate - time.monotonic()))
            if send(body):
                accepted += BATCH_SPANS
            else:
                refused += BATCH_SPANS
    sys.stdout.write(json.dumps([accepted, refused]))


def stored(folder: Path) -> int:
    """Return the number of spans in a closed store."""
    store = Store.open(folder, now=time.time)
    try:
        return store.stats().spans
    finally:
        store.close()


@dataclass(frozen=True)
class Outcome:
    """Cost of a load."""

    accepted: int
    refused: int
    lost: int
    seconds: float
    cpu: float
    resident: tuple[float, ...]
    """MiB at ten equal intervals."""

    @property
    def per_cpu_second(self) -> float:
        """Spans per second of CPU time."""
        return self.accepted / self.cpu if self.cpu else float("nan")


def load(seconds: float, rate: float = 0.0) -> Outcome:
    """Send to both listeners for `seconds`; `rate` is spans per second in total, 0 as fast as possible."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        path = Path(folder) / "store"
        cpu, elapsed, counts, resident = _send(path, seconds, rate)
        accepted, refused = (sum(column) for column in zip(*counts, strict=True))
        return Outcome(accepted, refused, accepted - stored(path), elapsed, cpu, resident)


def _send(path: Path, seconds: float, rate: float) -> tuple[float, float, list[tuple[int, int]], tuple[float, ...]]:
    """Return CPU seconds, elapsed seconds, accepted and refused spans per sender, and resident MiB over time."""
    with hub_process(path) as hub:
        before, started = hub.cpu_seconds(), time.monotonic()
        command = [sys.executable, "-m", "bench.hub.spans", "--rate", str(rate / 2), "--seconds", str(seconds), "--to"]
        senders = [
            subprocess.Popen([*command, endpoint], stdout=subprocess.PIPE, text=True) for endpoint in hub.endpoints
        ]
        resident = []
        for _ in range(10):
            time.sleep(seconds / 10)
            resident.append(hub.memory_mib())
        counts = [json.loads(process.communicate(timeout=120)[0]) for process in senders]
        time.sleep(6)  # includes sealing
        return hub.cpu_seconds() - before, time.monotonic() - started, counts, tuple(resident)


def figures(outcome: Outcome) -> list[Figure]:
    """The figures of a load, with Tempo's, which is recorded: no package has its server."""
    return [
        Figure(
            name="Spans stored, from the socket",
            value=outcome.per_cpu_second,
            unit="/CPU s",
            goal=MIN_SPANS_PER_CPU_SECOND,
            more_is_better=True,
            peer="Tempo, recorded",
            peer_value=TEMPO_SPANS_PER_CPU_SECOND / factors().cpu,
            min_ratio=1.0,
        ),
        Figure(name="Accepted spans that were lost", value=outcome.lost, unit="", goal=0),
        Figure(name="Peak memory while spans arrive", value=max(outcome.resident), unit="MiB", goal=MAX_MIB),
    ]


def main() -> int:
    """Run the load and print the figures; return 1 if a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=0.0, help="spans per second [0: as fast as possible]")
    parser.add_argument("--to", default="", help="send to this address (internal)")
    options = parser.parse_args()
    if options.to:
        send_batches(options.to, options.rate, options.seconds)
        return 0
    outcome = load(options.seconds, options.rate)
    print(f"{outcome.accepted:,} accepted, {outcome.refused:,} refused; {outcome.cpu:.1f} s of CPU in", end=" ")
    print(f"{outcome.seconds:.1f} s; resident MiB: {[*map(round, outcome.resident)]}")
    return report(figures(outcome))


if __name__ == "__main__":
    sys.exit(main())
