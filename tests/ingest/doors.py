"""Both OTLP doors on loopback, and good clients of them, for the tests of hostile ones."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import grpc
import httpx

from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.grpc import CONTENDED_BODY_SECONDS, HANDSHAKE_SECONDS, serve_grpc
from foreshock_dashboard.sources.otlp.http import serve_http
from foreshock_dashboard.sources.otlp.receiver import Listener, Receiver

PROTOBUF = "application/x-protobuf"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n"


class Doors:
    """Both doors of one receiver, and a good client of each."""

    def __init__(self, receiver: Receiver, http: Listener, export: Listener) -> None:
        self.receiver, self.http, self.grpc = receiver, http, export

    def post(self, body: bytes) -> httpx.Response:
        """Send over HTTP, on a connection of its own."""
        url = f"http://127.0.0.1:{self.http.port}/v1/traces"
        return httpx.post(url, content=body, headers={"content-type": PROTOBUF}, trust_env=False, timeout=30)

    def export(self, body: bytes) -> bytes:
        """Send over gRPC, on a connection of its own."""
        with self.channel() as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            return call(body, timeout=30)

    def channel(self) -> grpc.Channel:
        """A connection that no other channel shares."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        return grpc.insecure_channel(f"127.0.0.1:{self.grpc.port}", options)

    def connect(self) -> socket.socket:
        """A bare connection to the HTTP door."""
        return socket.create_connection(("127.0.0.1", self.http.port), timeout=30)

    def refused(self, reason: str) -> int:
        """How many requests were refused for a reason."""
        return self.receiver.stats().refused.get(reason, 0)

    def good(self, body: bytes) -> bool:
        """Whether good clients are served."""
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
) -> Iterator[Doors]:
    """Open them; what `accept` gives is not looked at."""
    receiver = Receiver(accept=accept)  # type: ignore[arg-type]  # as said
    http = serve_http(
        receiver, "127.0.0.1", 0, body_seconds=body_seconds, idle_seconds=idle_seconds, connections=connections
    )
    export = serve_grpc(
        receiver,
        "127.0.0.1",
        0,
        body_seconds=body_seconds,
        contended_body_seconds=contended_body_seconds,
        handshake_seconds=handshake_seconds,
        connections=grpc_connections,
    )
    try:
        yield Doors(receiver, http, export)
    finally:
        export.close()
        http.close()


def ended(sock: socket.socket) -> bytes:
    """What the other side says until it closes the connection."""
    found = b""
    try:
        while some := sock.recv(65_536):
            found += some
    except ConnectionError:
        pass
    return found
