"""Backpressure: requests are admitted by bytes, before they are read, and decoded a few slices at a time."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import grpc
import httpx
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.conftest import Eventually
from tests.ingest.receivers.listeners import EXPORT

from foreshock_dashboard.ingest.otlp.split import MAX_SLICE_BYTES
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.admission import GUARANTEED_BYTES, Admission
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


def test_without_room_a_large_message_over_grpc_is_refused_and_may_be_retried(receiver: Receiver, room: Room) -> None:
    """RESOURCE_EXHAUSTED alone would make senders drop their spans; with RetryInfo they keep them."""
    room.bytes = 0
    listening = GrpcListener(receiver, "127.0.0.1", 0)
    with closing(listening) as listener, grpc.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        large = bytes(GUARANTEED_BYTES + 1)
        with pytest.raises(grpc.RpcError) as refused:
            export(large, timeout=30)
        details = {item.key: item.value for item in refused.value.trailing_metadata()}["grpc-status-details-bin"]
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert b"google.rpc.RetryInfo" in details
        room.bytes = 1 << 40
        with pytest.raises(grpc.RpcError, match="protobuf"):
            export(large, timeout=30)


def test_without_room_small_requests_are_stored(
    http: HttpListener, receiver: Receiver, room: Room, otlp_request: Make
) -> None:
    """Memory that stays in use locks no sender out: over HTTP, over gRPC, and compressed."""
    room.bytes = -1
    body = otlp_request(512).SerializeToString()
    url = f"http://127.0.0.1:{http.port}/v1/traces"
    listening = GrpcListener(receiver, "127.0.0.1", 0)
    with closing(listening) as listener, grpc.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        for content, encoding in ((body, "identity"), (gzip.compress(body), "gzip")):
            headers = {"content-type": PROTOBUF, "content-encoding": encoding}
            assert httpx.post(url, content=content, headers=headers, trust_env=False, timeout=30).status_code == 200
            assert export(content, timeout=30) == b""
    assert (receiver.stats().spans, receiver.stats().refused, receiver.stats().pending_bytes) == (4 * 512, {}, 0)


def test_without_room_a_stalled_message_does_not_lock_others_out(otlp_request: Make, eventually: Eventually) -> None:
    """One message is read at a time, whose sender is refused soon if others wait."""
    receiver = Receiver(accept=lambda _: None, admission=Admission(32 * MIB, lambda _: False))
    listening = GrpcListener(receiver, "127.0.0.1", 0, contended_body_seconds=0.1)
    ended = threading.Event()

    def stalled() -> Iterator[bytes]:
        ended.wait(60)
        yield b""

    with closing(listening) as listener, grpc.insecure_channel(f"127.0.0.1:{listener.port}") as channel:
        begin: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(EXPORT)
        slow = begin.future(stalled())
        eventually(lambda: listening._receiving_alone.locked(), "the stalled message is read")
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        assert export(otlp_request(1).SerializeToString(), timeout=30) == b""
        assert slow.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        ended.set()


def test_the_guaranteed_bytes_are_of_all_requests_together() -> None:
    """And they come back with the end of a request."""
    admission = Admission(32 * MIB, lambda _: False)
    assert not admission.reserve(GUARANTEED_BYTES + 1, 0)
    assert admission.reserve(GUARANTEED_BYTES, 0)
    assert not admission.reserve(1, 0)
    admission.release(GUARANTEED_BYTES)
    assert admission.reserve(1, 0)


def test_the_bytes_of_a_cancelled_request_are_pending_until_its_spans_are_stored(otlp_request: Make) -> None:
    """Its thread cannot be stopped, so its memory is in use until then, and free afterwards."""
    entered, gate = threading.Event(), threading.Event()

    def accept(_: Sequence[Span]) -> None:
        entered.set()
        assert gate.wait(60)

    receiver = Receiver(accept=accept)
    body = otlp_request(1).SerializeToString()

    async def handle() -> None:
        with receiver.request() as request:
            request.hold(len(body))
            await request.handle_in_thread(body)

    async def cancel() -> None:
        task = asyncio.create_task(handle())
        await asyncio.to_thread(entered.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        assert receiver.stats().pending_bytes == len(body)
        gate.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert (receiver.stats().pending_bytes, receiver.stats().spans) == (0, 1)


def test_a_request_that_grows_beyond_the_room_is_refused_while_it_is_read(
    http: HttpListener, receiver: Receiver, room: Room
) -> None:
    """Without an announced size."""
    room.bytes = 1000
    body = bytes(GUARANTEED_BYTES + 1)
    url, kind = f"http://127.0.0.1:{http.port}/v1/traces", {"content-type": PROTOBUF}
    answer = httpx.post(url, content=iter([body]), headers=kind, trust_env=False, timeout=30)
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


def test_few_slices_are_decoded_and_stored_at_the_same_time(otlp_request: Make, eventually: Eventually) -> None:
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
