"""Backpressure: requests are admitted by bytes, before they are read, and decoded a few slices at a time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.ingest.listeners import EXPORT

from foreshock_dashboard.ingest.otlp.split import MAX_SLICE_BYTES
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.admission import Admission
from foreshock_dashboard.sources.otlp.grpc import GrpcListener
from foreshock_dashboard.sources.otlp.http import PROTOBUF, HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver

Make = Callable[..., ExportTraceServiceRequest]
MIB = 1 << 20


class Room:
    """Memory that a test sets: how many more bytes fit."""

    def __init__(self) -> None:
        self.bytes = 1 << 40

    def has(self, size: int) -> bool:
        """Whether so many more bytes fit."""
        return size <= self.bytes


@pytest.fixture(name="room")
def _room() -> Room:
    return Room()


@pytest.fixture(name="receiver")
def _receiver(room: Room) -> Receiver:
    return Receiver(accept=lambda _: None, admission=Admission(32 * MIB, room.has), retry_after=lambda: 1.5)


@pytest.fixture(name="http")
def _http(receiver: Receiver) -> Iterator[HttpListener]:
    with closing(HttpListener(receiver, "127.0.0.1", 0)) as listener:
        yield listener


def test_without_room_a_request_over_http_is_refused_before_it_is_read(
    http: HttpListener, receiver: Receiver, room: Room
) -> None:
    """By its announced size, with the time to retry; no byte of the body was sent."""
    room.bytes = MIB
    lines = ("POST /v1/traces HTTP/1.1", "Host: localhost", f"Content-Type: {PROTOBUF}", f"Content-Length: {2 * MIB}")
    with closing(socket.create_connection(("127.0.0.1", http.port), timeout=30)) as sender:
        sender.sendall("\r\n".join((*lines, "", "")).encode())
        answer = sender.recv(4096).decode("latin-1").lower()
    assert answer.startswith("http/1.1 503 ")
    assert "retry-after: 2" in answer
    assert receiver.stats().refused == {"overloaded": 1}
    assert receiver.stats().pending_bytes == 0


def test_without_room_a_message_over_grpc_is_refused_and_may_be_retried(receiver: Receiver, room: Room) -> None:
    """RESOURCE_EXHAUSTED alone would make senders drop their spans; with RetryInfo they keep them."""
    room.bytes = 0
    listening = GrpcListener(receiver, "127.0.0.1", 0)
    with closing(listening) as listener, grpc.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        with pytest.raises(grpc.RpcError) as refused:
            export(b"", timeout=30)
        details = {item.key: item.value for item in refused.value.trailing_metadata()}["grpc-status-details-bin"]
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert b"google.rpc.RetryInfo" in details
        room.bytes = 1 << 40
        assert export(b"", timeout=30) == b""


def test_a_request_that_grows_beyond_the_room_is_refused_while_it_is_read(
    http: HttpListener, receiver: Receiver, room: Room
) -> None:
    """Without an announced size, and after decompression."""
    room.bytes = 1000
    url, kind = f"http://127.0.0.1:{http.port}/v1/traces", {"content-type": PROTOBUF}
    answer = httpx.post(url, content=iter([bytes(2000)]), headers=kind, trust_env=False, timeout=30)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert receiver.stats().pending_bytes == 0


@pytest.mark.parametrize(
    ("pending", "size", "held", "fits"),
    [
        (0, 32 * MIB, 0, False),  # larger than what large requests may have
        (0, 24 * MIB, 0, True),
        (12 * MIB, 12 * MIB + 1, 0, False),
        (24 * MIB, MIB, 0, True),  # the last quarter is for small requests
        (24 * MIB, MIB, 1, False),
        (32 * MIB, 1, 0, False),
    ],
)
def test_bytes_are_admitted_up_to_the_limit(pending: int, size: int, held: int, fits: bool) -> None:
    admission = Admission(32 * MIB)
    assert all(admission.reserve(MIB, 0) for _ in range(pending // MIB))
    assert admission.admits(size, held) is fits


def test_few_slices_are_decoded_and_stored_at_the_same_time(
    otlp_request: Make, eventually: Callable[..., None]
) -> None:
    """However many senders there are: decoded spans take several times their bytes. Small requests are not held up."""
    body = otlp_request(1)
    body.resource_spans[0].scope_spans[0].spans[0].name = "x" * (MAX_SLICE_BYTES - 4096)
    entered, gate = list[int](), threading.Event()

    def accept(spans: Sequence[Span]) -> None:
        entered.append(len(spans))
        assert gate.wait(60)

    receiver = Receiver(accept=accept, admission=Admission(64 * MIB))
    large, small = body.SerializeToString(), otlp_request(1).SerializeToString()
    with ThreadPoolExecutor(10) as pool:
        answers = [pool.submit(receiver.ingest, large, json=False) for _ in range(8)]
        eventually(lambda: len(entered) == 2, "two slices of 1 MiB are stored: a part of 64 MiB")
        answers.append(pool.submit(receiver.ingest, small, json=False))
        eventually(lambda: len(entered) == 3, "a small request is not held up")
        gate.set()
        assert [answer.result(60) for answer in answers] == [b""] * 9
    assert len(entered) == 9
