"""Spans from the socket to the committed store: how many a second of CPU, and what memory; a part of `make bench`.

A hub of its own process with both OTLP doors open, a sender of its own process for each door, and the hub's CPU time as
the system counts it: parsing, pairing, keeping, sealing and merging, whichever thread does it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
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
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from foreshock_dashboard.store import Store

BIN = Path(sys.executable).parent
BATCH = 512
SERVICES = 12
READY = 64
"""Batches made before sending; ids and times are made new in each that is sent."""
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
BAR, GOAL = 60_000, 150_000
"""Spans per CPU second."""


def attribute(key: str, value: str | int) -> KeyValue:
    """A KeyValue."""
    return KeyValue(
        key=key, value=AnyValue(int_value=value) if isinstance(value, int) else AnyValue(string_value=value)
    )


def batch(chance: random.Random) -> ExportTraceServiceRequest:
    """512 spans of 12 services, ten attributes each: a quarter CLIENT, half SERVER, a quarter INTERNAL."""
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
                attribute(
                    "url.full", f"http://service-{peer}:8080{name.partition(' ')[2]}?id={chance.randrange(10**6)}"
                ),
                attribute("http.response.status_code", 200),
                attribute("server.address", f"service-{peer}"),
                attribute("server.port", 8080),
                attribute("network.peer.address", f"10.0.{chance.randrange(4)}.{chance.randrange(250)}"),
                attribute("user_agent.original", "python-httpx/0.28.1"),
                attribute("gen_ai.request.model", chance.choice(("llama-70b", "mixtral", "qwen-32b"))),
                attribute("user.id", f"u-{chance.randrange(50_000)}"),
            ],
        )

    for _ in range(BATCH // 4):
        caller, callee = chance.sample(range(SERVICES), 2)
        name = f"POST /v1/route-{chance.randrange(20)}"
        add(caller, Span.SPAN_KIND_CLIENT, name, callee)
        add(callee, Span.SPAN_KIND_SERVER, name, callee)
        add(callee, Span.SPAN_KIND_SERVER, name, callee)
        add(callee, Span.SPAN_KIND_INTERNAL, f"step {name}", callee)
    return request


def renew(request: ExportTraceServiceRequest, chance: random.Random, now: int) -> bytes:
    """The batch with new ids, ended at `now` (ns): half of the SERVER spans answer its CLIENT spans, the rest users."""
    waiting: list[tuple[bytes, bytes]] = []
    for group in request.resource_spans:
        for span in group.scope_spans[0].spans:
            span.span_id = chance.randbytes(8)
            span.trace_id, span.parent_span_id = chance.randbytes(16), b""
            span.start_time_unix_nano, span.end_time_unix_nano = now - chance.randrange(10**6, 10**9), now
            if span.kind == Span.SPAN_KIND_CLIENT:
                waiting.append((span.trace_id, span.span_id))
    for group in request.resource_spans:
        for span in group.scope_spans[0].spans:
            if span.kind == Span.SPAN_KIND_SERVER and waiting and chance.random() < 0.5:
                span.trace_id, span.parent_span_id = waiting.pop()
    return request.SerializeToString()


@contextmanager
def sender(address: str) -> Iterator[Callable[[bytes], bool]]:
    """Sends a request to `http://…` or to a gRPC address; tells whether it was accepted whole."""
    if address.startswith("http"):
        with httpx.Client(trust_env=False, timeout=60, headers={"Content-Type": "application/x-protobuf"}) as client:
            yield lambda body: client.post(address, content=body).status_code == 200
    else:
        with grpc.insecure_channel(address) as channel:
            call: Callable[..., bytes] = channel.unary_unary(EXPORT)

            def send(body: bytes) -> bool:
                try:
                    answer = ExportTraceServiceResponse.FromString(call(body, timeout=60))
                except grpc.RpcError:
                    return False
                return not answer.partial_success.rejected_spans

            yield send


def send_on(address: str, rate: float, seconds: float) -> None:
    """Send for so long, `rate` spans a second (0: as fast as is answered), and print what became of them."""
    chance = random.Random(address)  # noqa: S311 made-up calls, no secret
    ready = [batch(chance) for _ in range(READY)]
    accepted = refused = number = 0
    begun = time.monotonic()
    with sender(address) as send:
        while time.monotonic() - begun < seconds:
            body = renew(ready[number % READY], chance, time.time_ns())
            number += 1
            if rate:
                time.sleep(max(0.0, begun + number * BATCH / rate - time.monotonic()))
            if send(body):
                accepted += BATCH
            else:
                refused += BATCH
    sys.stdout.write(json.dumps([accepted, refused]))


@dataclass(frozen=True)
class Hub:
    """A running hub."""

    pid: int
    doors: tuple[str, str]

    def cpu(self) -> float:
        """Seconds of CPU it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident(self) -> float:
        """MiB of memory it has now."""
        match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(match[1]) / 1024 if match else float("nan")


@contextmanager
def hub(store: Path) -> Iterator[Hub]:
    """A hub with nothing to do but spans."""
    ports = ["--port", "0", "--otlp-grpc-port", "0", "--otlp-http-port", "0"]
    command = [str(BIN / "foreshock"), "serve", *ports, "--store", str(store)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    try:
        told = [process.stdout.readline().split()[-1] for _ in range(3)]
        yield Hub(process.pid, (told[1], told[2]))
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()


def stored(folder: Path) -> int:
    """Spans in a store that its hub has closed."""
    store = Store.open(folder, now=time.time)
    try:
        return store.stats().spans
    finally:
        store.close()


@dataclass(frozen=True)
class Outcome:
    """What a load cost."""

    accepted: int
    refused: int
    lost: int
    seconds: float
    cpu: float
    resident: tuple[float, ...]
    """MiB, at ten equal distances."""

    @property
    def per_cpu_second(self) -> float:
        """Spans that one second of CPU takes."""
        return self.accepted / self.cpu if self.cpu else float("nan")


def load(seconds: float, rate: float = 0.0) -> Outcome:
    """Send through both doors at once for so long; `rate` spans a second together, 0: as fast as they are answered."""
    with tempfile.TemporaryDirectory(prefix="foreshock-bench-") as folder:
        path = Path(folder) / "store"
        cpu, took, told, resident = _sent(path, seconds, rate)
        accepted, refused = (sum(counts) for counts in zip(*told, strict=True))
        return Outcome(accepted, refused, accepted - stored(path), took, cpu, resident)


def _sent(path: Path, seconds: float, rate: float) -> tuple[float, float, list[tuple[int, int]], tuple[float, ...]]:
    """The hub's CPU seconds, the wall's, what each sender tells, and memory on the way."""
    with hub(path) as target:
        before, begun = target.cpu(), time.monotonic()
        command = [sys.executable, str(Path(__file__)), "--rate", str(rate / 2), "--seconds", str(seconds), "--to"]
        senders = [subprocess.Popen([*command, door], stdout=subprocess.PIPE, text=True) for door in target.doors]
        resident = []
        for _ in range(10):
            time.sleep(seconds / 10)
            resident.append(target.resident())
        told = [json.loads(process.communicate(timeout=120)[0]) for process in senders]
        time.sleep(6)  # sealing is part of the price
        return target.cpu() - before, time.monotonic() - begun, told, tuple(resident)


def report(outcome: Outcome) -> bool:
    """Print a load's figures; whether the bar is held."""
    held = outcome.per_cpu_second >= BAR and outcome.lost == 0
    print(
        f"{'held' if held else 'MISSED'}: {outcome.per_cpu_second:,.0f} spans per CPU second from socket to store "
        f"(bar {BAR:,}, goal {GOAL:,}); {outcome.accepted:,} accepted, {outcome.refused:,} refused, {outcome.lost} lost"
    )
    print(
        f"  {outcome.cpu:.1f} s of CPU in {outcome.seconds:.1f} s; resident MiB: {[round(r) for r in outcome.resident]}"
    )
    return held


def main() -> int:
    """Run the load and print its figures; 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=0.0, help="spans a second; 0: as fast as they are answered")
    parser.add_argument("--to", default="", help="be a sender to this address")
    options = parser.parse_args()
    if options.to:
        send_on(options.to, options.rate, options.seconds)
        return 0
    return 0 if report(load(options.seconds, options.rate)) else 1


if __name__ == "__main__":
    sys.exit(main())
