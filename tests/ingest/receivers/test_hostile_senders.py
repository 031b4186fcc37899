"""Senders that are slow, malformed, or read no response are refused and counted; others are served."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing

import grpc
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from tests.ingest.receivers.listeners import EXPORT, HEAD, PROTOBUF, Listeners, ended, opened

from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp import grpc as otlp_grpc
from foreshock_dashboard.sources.otlp.admission import Admission
from foreshock_dashboard.sources.otlp.codec import MalformedError, decode
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver

pytestmark = pytest.mark.slow

Make = Callable[..., ExportTraceServiceRequest]
Eventually = Callable[[Callable[[], bool], str], None]
MIB = 1 << 20


@pytest.fixture
def body(otlp_request: Make) -> bytes:
    """A good request of one span."""
    made: bytes = otlp_request(1).SerializeToString()
    return made


def stalled(count: int) -> list[Iterator[bytes]]:
    """Messages that begin and never end; gRPC ends them with the call."""

    def message() -> Iterator[bytes]:
        threading.Event().wait(60)
        yield b""

    return [message() for _ in range(count)]


# --- payloads at both listeners


@pytest.fixture(scope="module")
def kept() -> list[Span]:
    """What the listeners of this module have kept."""
    return []


@pytest.fixture(scope="module")
def listeners(kept: list[Span]) -> Iterator[Listeners]:
    """Listeners that all examples share."""
    with opened(kept.extend) as both:
        yield both


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(noise=st.binary(max_size=200), cut=st.integers(0, 10_000), keep=st.integers(0, 10_000))
def test_truncated_and_random_bytes_get_the_same_response_from_both_listeners(
    listeners: Listeners, kept: list[Span], otlp_request: Make, noise: bytes, cut: int, keep: int
) -> None:
    """200 or OK for what can be decoded, with the count of what is left out; else 400 or INVALID_ARGUMENT."""
    good = otlp_request(3).SerializeToString()
    at = cut % len(good)
    with httpx.Client(trust_env=False, timeout=30) as client, listeners.channel() as channel:
        export: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)

        def over_http(data: bytes) -> bytes | None:
            url = f"http://127.0.0.1:{listeners.http.port}/v1/traces"
            answer = client.post(url, content=data, headers={"content-type": PROTOBUF})
            return {200: answer.content, 400: None}[answer.status_code]

        def over_grpc(data: bytes) -> bytes | None:
            answer = export.future(data, timeout=30)
            if answer.exception() is None:
                return answer.result()
            assert answer.code() is grpc.StatusCode.INVALID_ARGUMENT
            return None

        for data in (noise, good[: keep % len(good)], good[:at] + noise + good[at + len(noise) :], good):
            for listener in (over_http, over_grpc):
                kept.clear()
                answer = listener(data)
                try:
                    decoded = decode(data)
                except MalformedError:
                    assert (answer, kept) == (None, [])
                    continue
                assert answer is not None
                response = ExportTraceServiceResponse.FromString(answer)
                assert response.partial_success.rejected_spans == decoded.rejected
                assert response.HasField("partial_success") == bool(decoded.rejected)
                assert kept == list(decoded.spans)


def test_an_unexpected_error_while_decoding_is_logged_and_counted(
    body: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """500 and INTERNAL, once in the log with where it was; the next request is read."""
    with opened(lambda spans: None) as listeners:
        with monkeypatch.context() as patch:
            patch.setattr("foreshock_dashboard.sources.otlp.receiver.decode", lambda *_: 1 // 0)
            assert listeners.post(body).status_code == 500
            with pytest.raises(grpc.RpcError) as refused:
                listeners.export(body)
            assert refused.value.code() is grpc.StatusCode.INTERNAL
        assert listeners.good(body)
        assert listeners.refused("internal") == 2
        assert listeners.receiver.stats().pending_bytes == 0
    (line,) = [record for record in caplog.records if "could not be read" in record.message]
    assert line.exc_info


# --- slow senders


def test_announced_bytes_that_are_not_sent_do_not_block_other_senders(body: bytes) -> None:
    """Only bytes that have come count."""
    with opened(lambda spans: None) as listeners, ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(closing(listeners.connect())).sendall(HEAD + b"Content-Length: 67108864\r\n\r\n")
        assert listeners.good(body)
        assert listeners.receiver.stats().pending_bytes == 0


def test_slow_large_requests_leave_room_for_small_ones(body: bytes, eventually: Eventually) -> None:
    """They share three quarters of the pending bytes; the next large one is refused and may be retried."""
    receiver = Receiver(accept=lambda spans: None, admission=Admission(8 * MIB), max_bytes=4 * MIB)
    listener = HttpListener(receiver, "127.0.0.1", 0)
    url, kind = f"http://127.0.0.1:{listener.port}/v1/traces", {"content-type": PROTOBUF}
    try:
        with ExitStack() as stack:
            for _ in range(2):
                slow = stack.enter_context(closing(socket.create_connection(("127.0.0.1", listener.port), timeout=30)))
                slow.sendall(HEAD + b"Content-Length: 3145728\r\n\r\n" + bytes(3 * MIB - 65536))
            eventually(lambda: receiver.stats().pending_bytes == 2 * (3 * MIB - 65536), "both have sent what they will")
            large = httpx.post(url, content=bytes(2 * MIB), headers=kind, trust_env=False, timeout=30)
            small = httpx.post(url, content=body, headers=kind, trust_env=False, timeout=30)
        assert (large.status_code, small.status_code) == (503, 200)
        assert large.headers["retry-after"]
    finally:
        listener.close()


def test_stalled_messages_are_refused_while_others_wait(body: bytes, eventually: Eventually) -> None:
    """With more of them than receive slots, from several connections: DEADLINE_EXCEEDED."""
    with opened(lambda spans: None, body_seconds=60, contended_body_seconds=0.1) as listeners, ExitStack() as stack:
        slow = []
        for _ in range(4):
            channel = stack.enter_context(listeners.channel())
            begin: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(EXPORT)
            slow += [begin.future(message) for message in stalled(otlp_grpc.MAX_STREAMS_PER_CONNECTION)]
        assert len(slow) > otlp_grpc.MAX_RECEIVING
        eventually(lambda: listeners.refused("timeout") >= 1, "one made room for another")
        assert listeners.good(body)
        gone = next(call for call in slow if call.done())
        assert gone.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_a_stalled_message_times_out(eventually: Eventually) -> None:
    """Also if no other request waits."""
    with opened(lambda spans: None, body_seconds=1) as listeners, listeners.channel() as channel:
        begin: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(EXPORT)
        (slow,) = [begin.future(message) for message in stalled(1)]
        with pytest.raises(grpc.RpcError, match="did not arrive within 1 s"):
            slow.result(timeout=30)
        eventually(lambda: listeners.refused("timeout") == 1, "it is counted")


@pytest.mark.parametrize(
    ("sent", "answer", "counted"),
    [
        (b"", b"", 0),
        (b"POST /v1/traces HT", b"HTTP/1.1 408 ", 1),
        (HEAD + b"X-Slow: ", b"HTTP/1.1 408 ", 1),
        (HEAD + b"Content-Length: 0\r\n\r\n", b"HTTP/1.1 200 ", 0),
    ],
    ids=["nothing", "half a line", "half a head", "no second request"],
)
def test_a_connection_without_a_request_is_closed(sent: bytes, answer: bytes, counted: int) -> None:
    """With 408 if one has begun."""
    with opened(lambda spans: None, idle_seconds=0.5) as listeners, listeners.connect() as slow:
        slow.sendall(sent)
        assert ended(slow).startswith(answer)
        assert listeners.refused("timeout") == counted


def test_a_sender_that_dribbles_on_after_its_refusal_is_cut_off(eventually: Eventually) -> None:
    """The rest is discarded for a while, then the connection is closed."""
    with opened(lambda spans: None, body_seconds=0.2, idle_seconds=1.0) as listeners, listeners.connect() as slow:
        slow.sendall(HEAD + b"Content-Length: 1000000\r\n\r\n")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")

        def cut_off() -> bool:
            try:
                slow.sendall(b"x")
            except ConnectionError:
                return True
            return False

        eventually(cut_off, "the connection is closed")


def test_a_client_that_reads_no_answer_is_cut_off(body: bytes, eventually: Eventually) -> None:
    """Its requests are answered while there is room for responses."""
    with opened(lambda spans: None, idle_seconds=1.0) as listeners, socket.socket() as deaf:
        listeners.http._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
        deaf.settimeout(1)
        deaf.connect(("127.0.0.1", listeners.http.port))
        many = (HEAD + b"Content-Length: 0\r\n\r\n") * 1000

        def cut_off() -> bool:
            try:
                deaf.sendall(many)
            except TimeoutError:
                return False  # the listener takes no more, for it cannot answer
            except ConnectionError:
                return True
            return False

        eventually(cut_off, "the connection is closed")
        assert listeners.refused("timeout") == 1
        assert listeners.good(body)


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame of HTTP/2 (RFC 9113, 4.1)."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload


def deaf_requests(body: bytes, count: int) -> bytes:
    """gRPC requests on a connection of a client with a flow-control window of 0."""

    def literal(name: bytes, value: bytes) -> bytes:  # RFC 7541, 6.2.2
        return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value

    headers = b"\x83\x86" + b"".join(
        literal(*pair)
        for pair in (
            (b":path", EXPORT.encode()),
            (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
        )
    )
    message = b"\0" + len(body).to_bytes(4, "big") + body
    settings_ = frame(4, 0, 0, b"\x00\x04" + bytes(4))
    streams = [frame(1, 4, n, headers) + frame(0, 1, n, message) for n in range(1, 2 * count, 2)]
    return b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings_ + b"".join(streams)


def test_a_grpc_client_that_reads_no_response_does_not_block_others(body: bytes, eventually: Eventually) -> None:
    """Its spans are stored and hold no pending bytes; a few responses per connection stay unsent."""
    kept: list[Span] = []
    with opened(kept.extend) as listeners, ExitStack() as stack:
        for _ in range(20):
            deaf = stack.enter_context(
                closing(socket.create_connection(("127.0.0.1", listeners.grpc.port), timeout=30))
            )
            deaf.sendall(deaf_requests(body, 3 * otlp_grpc.MAX_STREAMS_PER_CONNECTION))
        eventually(
            lambda: len(kept) == 20 * otlp_grpc.MAX_STREAMS_PER_CONNECTION,
            "those that a connection may have at once are kept",
        )
        eventually(lambda: listeners.receiver.stats().pending_bytes == 0, "they hold nothing")
        assert listeners.good(body)
