"""Both OTLP listeners respond as the specification demands, over real sockets."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress

import grpc
import httpx
import pytest
from google.protobuf.json_format import MessageToJson
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]  # it ships no type marker
from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]  # it ships no type marker
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.admission import Admission
from foreshock_dashboard.sources.otlp.grpc import GrpcListener
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver, Refusal, RefusedError

Make = Callable[..., ExportTraceServiceRequest]
Eventually = Callable[[Callable[[], bool], str], None]
MAX_BYTES = 100_000
PROTOBUF, JSON = "application/x-protobuf", "application/json"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class Keeper:
    """Where spans go; `broken` makes it fail, `read_only` makes it refuse for good, `gate` makes it wait."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.broken = self.read_only = False
        self.gate: threading.Event | None = None

    def __call__(self, spans: Sequence[Span]) -> None:
        if self.gate is not None:
            self.gate.wait(30)
        if self.broken:
            raise OSError("no space left on device")
        if self.read_only:
            raise RefusedError(Refusal.READ_ONLY, "the hub shows a past time")
        self.spans.extend(spans)


@pytest.fixture
def keeper() -> Keeper:
    """Where spans go."""
    return Keeper()


@pytest.fixture
def receiver(keeper: Keeper) -> Receiver:
    """A receiver with small limits and a retry delay of 1.5 s."""
    return Receiver(accept=keeper, admission=Admission(2 * MAX_BYTES), max_bytes=MAX_BYTES, retry_after=lambda: 1.5)


@pytest.fixture
def http(receiver: Receiver) -> Iterator[HttpListener]:
    """The HTTP listener."""
    listener = HttpListener(receiver, "127.0.0.1", 0, body_seconds=0.5)
    yield listener
    listener.close()


@pytest.fixture
def post(http: HttpListener) -> Iterator[Callable[..., httpx.Response]]:
    """Send to the HTTP listener, over one kept-alive connection."""
    with httpx.Client(base_url=f"http://127.0.0.1:{http.port}", trust_env=False, timeout=30) as client:

        def send(
            content: bytes = b"", kind: str = PROTOBUF, path: str = "/v1/traces", method: str = "POST", **headers: str
        ) -> httpx.Response:
            names = {name.replace("_", "-"): value for name, value in headers.items()}
            return client.request(method, path, content=content, headers={"content-type": kind} | names)

        yield send


Post = Callable[..., httpx.Response]


@pytest.fixture
def export(receiver: Receiver) -> Iterator[Callable[..., bytes]]:
    """Call the gRPC listener."""
    listener = GrpcListener(receiver, "127.0.0.1", 0)
    with grpc.insecure_channel(f"127.0.0.1:{listener.port}") as channel:

        def call(payload: bytes, method: str = EXPORT, compression: grpc.Compression | None = None) -> bytes:
            send: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            return send(payload, compression=compression, timeout=30)

        yield call
    listener.close()


Export = Callable[..., bytes]


def status_of(answer: httpx.Response) -> RpcStatus:
    """The google.rpc.Status of a refusal, in whichever encoding."""
    if answer.headers["content-type"] == JSON:
        body = answer.json()
        return RpcStatus(code=body["code"], message=body["message"])
    return RpcStatus.FromString(answer.content)


def grpc_status(error: grpc.RpcError) -> RpcStatus:
    """The google.rpc.Status among the trailing metadata."""
    details = [datum.value for datum in error.trailing_metadata() if datum.key == "grpc-status-details-bin"]
    return RpcStatus.FromString(details[0])


def big(otlp_request: Make, size: int) -> bytes:
    """A request of about so many bytes that gzip makes small."""
    payload: bytes = otlp_request(1, padding=size).SerializeToString()
    return payload


@pytest.mark.parametrize("encoding", ["", "gzip", "x-gzip"])
@pytest.mark.parametrize("kind", [PROTOBUF, JSON])
def test_http_success_is_200_in_the_request_s_encoding_with_nothing_rejected(
    post: Post, keeper: Keeper, otlp_request: Make, kind: str, encoding: str
) -> None:
    """`partial_success` is unset, and the spans are kept before the answer comes."""
    if kind == JSON:
        span = {"traceId": "01" * 16, "spanId": "01" * 8, "startTimeUnixNano": "1", "endTimeUnixNano": "2"}
        body = json.dumps(
            {"resourceSpans": [{"scopeSpans": [{"spans": [span, span | {"spanId": "02" * 8}]}]}]}
        ).encode()
    else:
        body = otlp_request(2).SerializeToString()
    headers = {"content_encoding": encoding} if encoding else {}
    answer = post(gzip.compress(body) if encoding else body, f"{kind}; charset=utf-8", **headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    assert answer.content == (b"{}" if kind == JSON else b"")
    assert len(keeper.spans) == 2


@pytest.mark.parametrize("compression", [grpc.Compression.NoCompression, grpc.Compression.Gzip])
def test_grpc_success_is_an_empty_answer(
    export: Export, keeper: Keeper, otlp_request: Make, compression: grpc.Compression
) -> None:
    """With and without gzip."""
    assert export(otlp_request(2).SerializeToString(), compression=compression) == b""
    assert len(keeper.spans) == 2


def test_an_empty_request_is_a_success(post: Post, export: Export, receiver: Receiver) -> None:
    """A sender may have nothing to say."""
    assert (post(b"").status_code, post(b"{}", JSON).status_code, export(b"")) == (200, 200, b"")
    assert receiver.stats().requests == 3


def test_bad_spans_are_reported_as_a_partial_success(
    post: Post, export: Export, keeper: Keeper, receiver: Receiver, otlp_request: Make
) -> None:
    """The good ones are kept; the answer says how many were not, and why."""
    body = otlp_request(3, break_span={"span_id": b""}).SerializeToString()
    for answer in (post(body).content, export(body)):
        partial = ExportTraceServiceResponse.FromString(answer).partial_success
        assert (partial.rejected_spans, partial.error_message) == (1, "spans rejected: invalid span_id (1)")
    span = {"traceId": "zz", "spanId": "01" * 8}
    body_json = json.dumps({"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}).encode()
    assert post(body_json, JSON).json()["partialSuccess"]["rejectedSpans"] == "1"
    assert len(keeper.spans) == 4
    assert receiver.stats().rejected == {"invalid span_id": 2, "invalid trace_id": 1}


@pytest.mark.parametrize(
    ("request_", "code", "rpc", "message"),
    [
        ({"content": b"\xff\xff"}, 400, 3, "not a protobuf"),
        ({"content": b"{", "kind": JSON}, 400, 3, "not a JSON"),
        ({"content": b"plain", "content_encoding": "gzip"}, 400, 3, "not gzip"),
        ({"content": gzip.compress(b"x")[:-4], "content_encoding": "gzip"}, 400, 3, "not gzip"),
        ({"path": "/v1/logs"}, 404, 5, "send traces to /v1/traces, metrics to /v1/metrics"),
        ({"path": "/"}, 404, 5, "send traces to /v1/traces"),
        ({"method": "GET"}, 405, 12, "send with POST"),
        ({"method": "PUT"}, 405, 12, "send with POST"),
        ({"kind": "text/plain"}, 415, 3, "'text/plain' is neither application/x-protobuf nor application/json"),
        ({"kind": ""}, 415, 3, "is neither"),
        ({"content_encoding": "br"}, 415, 3, "'br' is neither gzip nor identity"),
        ({"content": bytes(MAX_BYTES + 1)}, 413, 8, f"larger than {MAX_BYTES} bytes; send smaller batches"),
        (
            {"content": gzip.compress(bytes(MAX_BYTES * 100)), "content_encoding": "gzip"},
            413,
            8,
            f"larger than {MAX_BYTES} bytes after decompression",
        ),
    ],
)
def test_http_refusals_have_a_status_and_a_message(
    post: Post, keeper: Keeper, otlp_request: Make, request_: dict[str, str], code: int, rpc: int, message: str
) -> None:
    """Each in the request's encoding, none to be retried; the same connection then works on."""
    answer = post(**request_)
    assert answer.status_code == code
    assert "retry-after" not in answer.headers
    assert answer.headers["content-type"] == (PROTOBUF if request_.get("kind", PROTOBUF) == PROTOBUF else JSON)
    status = status_of(answer)
    assert status.code == rpc
    assert message in status.message
    if code == 405:
        assert answer.headers["allow"] == "POST"
    assert post(otlp_request(1).SerializeToString()).status_code == 200
    assert len(keeper.spans) == 1


@pytest.mark.parametrize(
    "request_",
    [{"path": f"/{'x' * 200}"}, {"method": "X" * 200}, {"kind": "x" * 200}, {"content_encoding": "x" * 200}],
    ids=["path", "method", "content type", "content encoding"],
)
def test_a_refusal_repeats_a_bounded_part_of_the_request(post: Post, request_: dict[str, str]) -> None:
    message = status_of(post(**request_)).message.lower()
    assert 98 <= message.count("x") <= 105


@pytest.mark.parametrize("count", [0, 2])
def test_a_grpc_call_with_another_number_of_messages_than_one_is_refused(
    receiver: Receiver, keeper: Keeper, otlp_request: Make, count: int
) -> None:
    """None is stored: the sender cannot learn which of them were."""
    message: bytes = otlp_request(1).SerializeToString()
    with (
        closing(GrpcListener(receiver, "127.0.0.1", 0)) as listener,
        grpc.insecure_channel(f"127.0.0.1:{listener.port}") as channel,
    ):
        send: grpc.StreamUnaryMultiCallable[bytes, bytes] = channel.stream_unary(EXPORT)
        with pytest.raises(grpc.RpcError) as caught:
            send(iter([message] * count), timeout=30)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert keeper.spans == []
        assert receiver.stats().refused == {"cardinality": 1}
        assert send(iter([message]), timeout=30) == b""
    assert len(keeper.spans) == 1


def test_grpc_refusals_have_a_code_and_a_status(export: Export, keeper: Keeper, otlp_request: Make) -> None:
    """Malformed, too large before and after decompression, unknown method."""
    for payload, method, compression, code, message in (
        (b"\xff\xff", EXPORT, None, grpc.StatusCode.INVALID_ARGUMENT, "not a protobuf"),
        (big(otlp_request, MAX_BYTES), EXPORT, None, grpc.StatusCode.RESOURCE_EXHAUSTED, "larger than max"),
        (
            big(otlp_request, MAX_BYTES * 100),
            EXPORT,
            grpc.Compression.Gzip,
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "after decompression; send smaller batches",
        ),
        (b"", EXPORT.replace("Export", "Import"), None, grpc.StatusCode.UNIMPLEMENTED, ""),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            export(payload, method, compression)
        assert caught.value.code() is code
        assert message in (caught.value.details() or "")
        if "decompression" in message or "protobuf" in message:
            status = grpc_status(caught.value)
            assert (status.code, status.message, list(status.details)) == (code.value[0], caught.value.details(), [])
    assert export(otlp_request(1).SerializeToString()) == b""
    assert len(keeper.spans) == 1


def test_spans_that_could_not_be_stored_are_not_acknowledged(
    post: Post, export: Export, keeper: Keeper, receiver: Receiver, otlp_request: Make
) -> None:
    """503 with Retry-After, UNAVAILABLE with RetryInfo; afterwards the same request succeeds."""
    body = otlp_request(1).SerializeToString()
    keeper.broken = True
    answer = post(body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    assert "no space left on device; send again" in status_of(answer).message
    with pytest.raises(grpc.RpcError) as caught:
        export(body)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    info = RetryInfo()
    assert grpc_status(caught.value).details[0].Unpack(info)
    assert (info.retry_delay.seconds, info.retry_delay.nanos) == (1, 500_000_000)
    keeper.broken = False
    assert (post(body).status_code, export(body)) == (200, b"")
    stats = receiver.stats()
    assert (stats.spans, stats.refused, stats.pending_bytes) == (2, {"unavailable": 2}, 0)


def test_a_permanent_refusal_requests_no_retry(
    post: Post, export: Export, keeper: Keeper, receiver: Receiver, otlp_request: Make
) -> None:
    """403 without Retry-After, FAILED_PRECONDITION without RetryInfo: senders drop the spans."""
    body = otlp_request(1).SerializeToString()
    keeper.read_only = True
    answer = post(body)
    assert (answer.status_code, "retry-after" in answer.headers) == (403, False)
    assert status_of(answer).message == "the hub shows a past time"
    with pytest.raises(grpc.RpcError) as caught:
        export(body)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert list(grpc_status(caught.value).details) == []
    stats = receiver.stats()
    assert (stats.spans, stats.refused, stats.pending_bytes) == (0, {"read_only": 2}, 0)


def test_a_request_beyond_the_pending_bytes_is_refused(
    post: Post,
    export: Export,
    keeper: Keeper,
    receiver: Receiver,
    http: HttpListener,
    otlp_request: Make,
    eventually: Eventually,
) -> None:
    """Bytes in the hub are bounded, however many senders there are."""
    keeper.gate = threading.Event()
    body = big(otlp_request, MAX_BYTES - 1000)
    senders = [
        threading.Thread(
            target=httpx.post,
            args=(f"http://127.0.0.1:{http.port}/v1/traces",),
            kwargs={"content": body, "headers": {"content-type": PROTOBUF}, "timeout": 30},
        )
        for _ in range(2)
    ]
    for sender in senders:
        sender.start()
    eventually(lambda: receiver.stats().pending_bytes == 2 * len(body), "two requests that wait")
    answer = post(body)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    with pytest.raises(grpc.RpcError) as caught:
        export(body)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert grpc_status(caught.value).details[0].Is(RetryInfo.DESCRIPTOR), "without it, senders drop the spans"
    keeper.gate.set()
    for sender in senders:
        sender.join()
    assert len(keeper.spans) == 2
    assert receiver.stats().pending_bytes == 0


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("LOCALHOST:4318", 200), ("127.0.0.1:4318", 200), ("127.8.9.1", 200), ("[::1]:4318", 200),
        ("evil.example", 421), ("evil.example:4318", 421), ("localhost.evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("10.0.0.7:4318", 421), ("[fe80::1]", 421), ("[", 421), ("", 421),
    ],
)  # fmt: skip
def test_a_web_page_cannot_send_spans_by_a_name_that_leads_to_loopback(
    post: Post, keeper: Keeper, otlp_request: Make, host: str, status: int
) -> None:
    """DNS rebinding: the browser believes that the hub is the page's own server, and says so as Host."""
    answer = post(otlp_request(1).SerializeToString(), host=host)
    assert (answer.status_code, len(keeper.spans)) == (status, int(status == 200))
    if status == 421:
        assert "send to localhost" in status_of(answer).message


def test_a_listener_on_other_addresses_accepts_any_host_name(
    receiver: Receiver, keeper: Keeper, otlp_request: Make
) -> None:
    """Collectors use any name that resolves to it; only a listener on loopback checks the name."""
    listener = HttpListener(receiver, "0.0.0.0", 0)  # noqa: S104 the wide listener is the subject
    try:
        answer = httpx.post(
            f"http://127.0.0.1:{listener.port}/v1/traces",
            content=otlp_request(1).SerializeToString(),
            headers={"content-type": PROTOBUF, "host": "hub.internal"},
            trust_env=False,
        )
    finally:
        listener.close()
    assert (answer.status_code, len(keeper.spans)) == (200, 1)


def test_a_body_without_an_announced_length_is_bounded_too(post: Post, keeper: Keeper, otlp_request: Make) -> None:
    """Chunked transfer."""
    body = otlp_request(1).SerializeToString()

    def chunks(*parts: bytes) -> Iterator[bytes]:
        yield from parts

    assert post(chunks(body[:10], body[10:])).status_code == 200
    assert post(chunks(*[bytes(10_000)] * 11)).status_code == 413
    assert len(keeper.spans) == 1


def test_a_slow_sender_times_out_and_blocks_no_other(http: HttpListener, post: Post, otlp_request: Make) -> None:
    """The body has to arrive in time; others are served meanwhile."""
    with socket.create_connection(("127.0.0.1", http.port), timeout=30) as slow:
        slow.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{"
        )
        assert post(otlp_request(1).SerializeToString()).status_code == 200
        assert slow.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_a_sender_that_hangs_up_leaves_nothing_behind(
    http: HttpListener, receiver: Receiver, post: Post, eventually: Eventually
) -> None:
    """Its bytes no longer count as pending."""
    with socket.create_connection(("127.0.0.1", http.port), timeout=30) as rude:
        rude.sendall(
            b"POST /v1/traces HTTP/1.1\r\nHost: [::1]\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
        )
        eventually(lambda: receiver.stats().pending_bytes == 1, "the byte that has come")
    eventually(lambda: receiver.stats().pending_bytes == 0, "nothing pending")
    assert post(b"").status_code == 200


@pytest.mark.parametrize(
    "noise", [b"\x16\x03\x01\x02\x00", b"GARBAGE\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b""]
)
def test_noise_on_the_ports_stops_nothing(
    http: HttpListener, post: Post, export: Export, otlp_request: Make, noise: bytes
) -> None:
    """A TLS handshake, garbage, HTTP/2, or nothing at all."""
    with socket.create_connection(("127.0.0.1", http.port), timeout=30) as stranger, suppress(ConnectionError):
        stranger.sendall(noise)
        stranger.shutdown(socket.SHUT_WR)
        stranger.recv(1000)
    body = otlp_request(1).SerializeToString()
    assert (post(body).status_code, export(body)) == (200, b"")


@pytest.mark.parametrize("serve", [GrpcListener, HttpListener])
def test_a_port_in_use_is_reported(serve: type[GrpcListener] | type[HttpListener], receiver: Receiver) -> None:
    """Two hubs on one port do not share it silently; a closed listener may be closed again."""
    listener = serve(receiver, "127.0.0.1", 0)
    with pytest.raises(OSError, match="in use"):
        serve(receiver, "127.0.0.1", listener.port)
    listener.close()
    listener.close()
    serve(receiver, "127.0.0.1", listener.port).close()


@pytest.mark.parametrize("compression", [Compression.NoCompression, Compression.Gzip])
def test_the_open_telemetry_sdk_is_understood(http: HttpListener, keeper: Keeper, compression: Compression) -> None:
    """Its own exporter, through its own batch processor."""
    provider = TracerProvider(resource=Resource({"service.name": "checkout", "service.namespace": "shop"}))
    exporter = OTLPSpanExporter(f"http://127.0.0.1:{http.port}/v1/traces", compression=compression)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    with tracer.start_as_current_span("outer"), tracer.start_as_current_span("inner", attributes={"n": 1}):
        pass
    provider.shutdown()
    inner, outer = sorted(keeper.spans, key=lambda span: span.name)
    assert (inner.name, inner.parent_id, inner.trace_id) == ("inner", outer.span_id, outer.trace_id)
    assert str(inner.service) == "shop/checkout"
    assert inner.attributes == {"n": 1}


def test_the_answer_to_json_is_json_that_protobuf_reads() -> None:
    """The empty answer is the empty object."""
    assert json.loads(MessageToJson(ExportTraceServiceResponse())) == {}
