"""Both OTLP listeners on loopback with a well-behaved client, for the tests of hostile clients."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
import httpx

from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.grpc import CONTENDED_BODY_SECONDS, HANDSHAKE_SECONDS, GrpcListener
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver

PROTOBUF = "application/x-protobuf"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"


class Listeners:
    """Both listeners of one receiver, and a well-behaved client of each."""

    def __init__(self, receiver: Receiver, http: HttpListener, export: GrpcListener) -> None:
        self.receiver, self.http, self.grpc = receiver, http, export

    def post(self, body: bytes) -> httpx.Response:
        """Send over HTTP on a new connection."""
        url = f"http://127.0.0.1:{self.http.port}/v1/traces"
        return httpx.post(url, content=body, headers={"content-type": PROTOBUF}, trust_env=False, timeout=30)

    def export(self, body: bytes) -> bytes:
        """Send over gRPC on a new connection."""
        with self.channel() as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            return call(body, timeout=30)

    def channel(self) -> grpc.Channel:
        """Return a channel with its own connection."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.insecure_channel(f"127.0.0.1:{self.grpc.port}", options)

    def connect(self) -> socket.socket:
        """Return a socket connected to the HTTP listener."""
        return socket.create_connection(("127.0.0.1", self.http.port), timeout=30)

    def refused(self, reason: str) -> int:
        """Return the number of requests refused for a reason."""
        return self.receiver.stats().refused.get(reason, 0)

    def good(self, body: bytes) -> bool:
        """Whether well-behaved clients are served."""
        return self.post(body).status_code == 200 and self.export(body) == b""


@contextmanager
def opened(
    accept: Callable[[Sequence[Span]], object],
    body_seconds: float = 30.0,
    idle_seconds: float = 60.0,
    connections: int = 50,
    contended_body_seconds: float = CONTENDED_BODY_SECONDS,
    handshake_seconds: float = HANDSHAKE_SECONDS,
    grpc_connections: int | None = None,
) -> Iterator[Listeners]:
    """Open both listeners; the result of `accept` is ignored."""
    receiver = Receiver(accept=accept)  # type: ignore[arg-type]  # its result is ignored
    http = HttpListener(
        receiver, "127.0.0.1", 0, body_seconds=body_seconds, idle_seconds=idle_seconds, connections=connections
    )
    export = GrpcListener(
        receiver,
        "127.0.0.1",
        0,
        body_seconds=body_seconds,
        contended_body_seconds=contended_body_seconds,
        handshake_seconds=handshake_seconds,
        connections=grpc_connections,
    )
    try:
        yield Listeners(receiver, http, export)
    finally:
        export.close()
        http.close()


def ended(sock: socket.socket) -> bytes:
    """Return the bytes received until the other side closes the connection."""
    received = b""
    try:
        while chunk := sock.recv(65_536):
            received += chunk
    except ConnectionError:
        pass
    return received
