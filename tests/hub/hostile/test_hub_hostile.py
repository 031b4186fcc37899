"""A running hub under hostile input: the right answer, a count, flat memory, and a good client beside it is served."""

from __future__ import annotations

import gzip
import os
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.conftest import soak
from tests.hub.hostile.payloads import CASES, LARGEST, empty_spans, idle_spans
from tests.hub.process import HubProcess
from tests.hub.sending import EXPORT, JSON, PROTOBUF, channel, export, post, request

from foreshock_dashboard.common.gunzip import MAX_GZIP_MEMBERS
from foreshock_dashboard.ingest.otlp.decode import MAX_SPAN_BYTES

GROWTH = 350.0
"""MiB that the hub may grow by, whatever it is sent."""
REJECTED, REFUSED = "foreshock_receiver_refused_spans_total", "foreshock_receiver_refused_requests_total"
Eventually = Callable[..., None]


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    """One that has it all done to it, and may have 1024 files open, as a service has by default."""
    started = HubProcess.serving(tmp_path_factory.mktemp("hostile") / "store", "--memory-limit", "2GiB", files=1024)
    started.wait_for_page()
    yield started
    assert started.process.poll() is None, started.output
    assert "Traceback" not in started.output, started.output
    assert all(line.isprintable() for line in started.lines), started.output
    assert len(started.lines) < 40, "what is refused is said once a minute for each kind"
    assert started.end() == 0


def served(hub: HubProcess) -> bool:
    """Whether a good client is: what it sends over both protocols can be read."""
    traces = [os.urandom(16), os.urandom(16)]
    kept = [
        post(hub, request(2, traces[0]).SerializeToString()).status_code == 200,
        export(hub, request(2, traces[1]).SerializeToString()) == b"",
    ]
    return all(kept) and [spans_of(hub, trace) for trace in traces] == [2, 2]


def spans_of(hub: HubProcess, trace: bytes) -> int:
    """How many spans of a trace the hub has."""
    return len(hub.get(f"/api/traces/{trace.hex()}").json().get("spans", ()))


@contextmanager
def flat(hub: HubProcess, most: float = GROWTH) -> Iterator[None]:
    """The hub must not grow by more than so many MiB, at any moment."""
    before = hub.memory()
    hub.forget_peak()
    yield
    grown = hub.memory("VmHWM") - before
    assert grown < most, f"the hub grew by {grown:.0f} MiB"


# --- payloads


@pytest.mark.parametrize("name", [*(name for name in CASES if name not in LARGEST), *soak(*LARGEST)])
def test_hostile_payloads_are_refused_or_bounded_and_counted(hub: HubProcess, name: str) -> None:
    """At both doors; the message says what and, where there is one, the remedy."""
    case = CASES[name]
    body = case.make()
    refusal = {413: "too_large", 400: "malformed"}.get(case.http, "")
    series = f'{REFUSED}{{reason="{refusal}"}}' if refusal else f'{REJECTED}{{reason="{case.reason}"}}'
    before, times = hub.metric(series), 0
    with flat(hub):
        answer = post(hub, body, case.kind, gzip=case.gzip)
        times += 1
        assert answer.status_code == case.http
        assert case.says in answer.text
        if case.kind == JSON and case.rejected:
            assert answer.json()["partialSuccess"]["rejectedSpans"] == str(case.rejected)
        elif case.rejected:
            partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
            assert (partial.rejected_spans, case.reason in partial.error_message) == (case.rejected, True)
        if case.grpc is not None:
            times += 1
            if case.grpc is grpc.StatusCode.OK:
                export(hub, body, gzip=case.gzip)
            else:
                with pytest.raises(grpc.RpcError) as refused:
                    export(hub, body, gzip=case.gzip)
                assert (refused.value.code(), case.says in (refused.value.details() or "")) == (case.grpc, True)
        assert served(hub)
    assert hub.metric(series) - before == times * (1 if refusal else case.rejected)


def test_a_body_of_a_million_gzip_members_is_refused(hub: HubProcess) -> None:
    """In no time: to look at one after the other would take time squared."""
    headers = {"content-type": PROTOBUF, "content-encoding": "gzip"}
    answer = httpx.post(hub.otlp, content=gzip.compress(b"") * 1_000_000, headers=headers, trust_env=False, timeout=120)
    assert (answer.status_code, f"more than {MAX_GZIP_MEMBERS} gzip members" in answer.text) == (400, True)


def test_an_attribute_of_nearly_1_mib_comes_back_whole(hub: HubProcess) -> None:
    """What is not refused is kept."""
    trace, text = os.urandom(16), "é" * ((MAX_SPAN_BYTES - 200) // 2)
    assert post(hub, request(1, trace, attributes={"text": text}).SerializeToString()).content == b""
    (span,) = hub.get(f"/api/traces/{trace.hex()}").json()["spans"]
    assert span["attributes"]["text"] == text


def test_many_hostile_requests_at_once_leave_the_memory_flat(hub: HubProcess) -> None:
    """Sixteen senders of what costs most; a good client beside them is served all the while."""
    bodies = [idle_spans(8, MAX_SPAN_BYTES), empty_spans(MAX_SPAN_BYTES // 2 - 100), empty_spans(200_000)]
    with flat(hub, 2 * GROWTH), ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(post, hub, bodies[number % 3]) for number in range(16)]
        while not all(answer.done() for answer in answers):
            assert served(hub)
        assert {answer.result().status_code for answer in answers} <= {200, 503}


@pytest.mark.parametrize("path", ["/x%1b%5b2J%0aFAKE", "/x%0d%0aFAKE", "/%c2%85%e2%80%a8FAKE"])
def test_a_request_path_cannot_forge_lines_of_the_log(hub: HubProcess, path: str) -> None:
    """Paths arrive percent-decoded; `hub` asserts that all lines are printable."""
    origin = hub.otlp.removesuffix("/v1/traces")
    assert httpx.post(origin + path, trust_env=False, timeout=60).status_code == 404
    assert hub.get(path).status_code == 404
    assert not any(line.startswith("FAKE") for line in hub.lines)


# --- connections


def test_slow_and_idle_connections_keep_no_client_out(hub: HubProcess, eventually: Eventually) -> None:
    """Bodies that are announced and do not come, messages that are begun, and more connections than may be open."""
    head = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: "
    ports = [int(hub.grpc.rpartition(":")[2]), int(hub.otlp.split(":")[2].partition("/")[0])]

    over = threading.Event()

    def message() -> Iterator[bytes]:
        over.wait(60)
        yield b""

    with flat(hub), ExitStack() as stack:
        stack.callback(over.set)
        for _ in range(20):
            slow = stack.enter_context(closing(socket.create_connection(("127.0.0.1", ports[1]), timeout=30)))
            slow.sendall(head + b"67108864\r\n\r\n")
        for _ in range(4):
            made = stack.enter_context(channel(hub))
            begin: grpc.StreamUnaryMultiCallable[bytes, bytes] = made.stream_unary(EXPORT)
            for _ in range(10):
                begin.future(message())
        assert served(hub)
        good = stack.enter_context(channel(hub))
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = good.unary_unary(EXPORT)
        assert call(b"", timeout=60) == b""
        for port in ports:
            for _ in range(600):
                stack.enter_context(closing(socket.create_connection(("127.0.0.1", port), timeout=30)))
        assert post(hub, request().SerializeToString()).status_code == 200
        assert call(request().SerializeToString(), timeout=60) == b""
        assert hub.get("/readyz").status_code == 200
        assert len(list(Path(f"/proc/{hub.process.pid}/fd").iterdir())) < 700

        def taken() -> bool:
            try:
                return export(hub, b"") == b""
            except grpc.RpcError:
                return False

        eventually(taken, "gRPC takes new connections again")
    assert hub.metric(f'{REFUSED}{{reason="crowded"}}') > 0


# --- traces and services without end


@pytest.mark.soak
@pytest.mark.parametrize("count", [105_000, 1_000_000])
def test_a_trace_of_very_many_spans_is_kept_and_shown_in_part(hub: HubProcess, count: int) -> None:
    """The first 100,000 are read, 5,000 sent, and the answer says so; lists count all of them."""
    trace, service = os.urandom(16), f"endless-{count}"
    body = request(5000, trace, service=service)
    spans = body.resource_spans[0].scope_spans[0].spans
    for first in range(1, count, 5000):
        for number, span in enumerate(spans, first):
            span.span_id = number.to_bytes(8, "big")
        assert post(hub, body.SerializeToString()).content == b""
    for _ in range(2):
        with flat(hub):
            answer: dict[str, Any] = hub.get(f"/api/traces/{trace.hex()}").json()
        assert (len(answer["spans"]), answer["total"], answer["left_out"]) == (5000, count, count - 5000)
        assert answer["note"] == f"only the first 100,000 of its {count:,} spans can be read"
    with flat(hub), ThreadPoolExecutor(8) as pool:
        pages = [f"/api/traces/{trace.hex()}?offset={offset}" for offset in range(4)] * 2
        assert {each.status_code for each in pool.map(hub.get, pages)} == {200}
    for order in ("newest", "slowest"):
        with flat(hub):
            listed = hub.get(f"/api/traces?service={service}&order={order}")
        assert listed.status_code == 200, listed.text
        (row,) = listed.json()["traces"]
        assert (row["trace_id"], row["spans"]) == (trace.hex(), count)
    assert served(hub)


def test_the_metrics_of_a_hub_that_was_sent_all_that_pass_promtool(hub: HubProcess) -> None:
    """Reasons are labels."""
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=hub.get("/metrics").text, text=True, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("count", [2_500, *soak(10_000)])
def test_thousands_of_services_are_bounded_in_series_and_the_hub_goes_on(hub: HubProcess, count: int) -> None:
    """What has no separate series is counted in one for all others; pages and /metrics answer."""
    with flat(hub):
        for first in range(0, count, 500):
            made = ExportTraceServiceRequest()
            for number in range(first, first + 500):
                made.MergeFrom(request(1, service=f"service-{number}"))
            assert post(hub, made.SerializeToString()).content == b""
        lines = hub.get("/metrics").text.splitlines()
        calls = [line for line in lines if line.startswith("traces_span_metrics_calls_total{")]
        assert len(lines) < 101_000
        assert len([line for line in calls if 'service_name="(other)"' in line]) == 1
        for path in ("/api/services", "/api/topology", "/api/now", "/api/incidents", "/api/contention", "/api/traces"):
            assert hub.get(path).status_code == 200
        assert served(hub)
