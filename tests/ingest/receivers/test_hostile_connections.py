"""Connections that are too many, idle, or malformed are closed and counted; other clients are served."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.ingest.receivers.listeners import EXPORT, HEAD, PROTOBUF, ended, opened

from foreshock_dashboard.access.tls import TlsFiles
from foreshock_dashboard.common.http_limits import LISTEN_BACKLOG
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver

Make = Callable[..., ExportTraceServiceRequest]
Eventually = Callable[[Callable[[], bool], str], None]


@pytest.fixture
def body(otlp_request: Make) -> bytes:
    """A good request of one span."""
    made: bytes = otlp_request(1).SerializeToString()
    return made


def test_connections_beyond_the_limit_replace_the_most_idle_one(body: bytes, eventually: Eventually) -> None:
    """Never one with a request in progress; a new one is always accepted."""
    gate = threading.Event()
    answers: list[int] = []
    with opened(lambda spans: gate.wait(30), connections=10) as listeners, ExitStack() as stack:
        working = [threading.Thread(target=lambda: answers.append(listeners.post(body).status_code)) for _ in range(5)]
        for thread in working:
            thread.start()
        eventually(lambda: listeners.receiver.stats().pending_bytes == 5 * len(body), "five requests are being kept")
        idle = [stack.enter_context(closing(listeners.connect())) for _ in range(200)]
        eventually(lambda: listeners.refused("crowded") == 195, "idle connections are closed")
        assert all(ended(sock) == b"" for sock in idle[:195])
        late = threading.Thread(target=lambda: answers.append(listeners.post(body).status_code))
        late.start()
        eventually(lambda: listeners.receiver.stats().pending_bytes == 6 * len(body), "a new one is taken")
        gate.set()
        for thread in (*working, late):
            thread.join(30)
        assert answers == [200] * 6


def test_unfinished_tls_handshakes_are_limited(body: bytes, tmp_path: Path, eventually: Eventually) -> None:
    """The oldest are closed, and a good client is served."""
    authority = trustme.CA()
    made = authority.issue_cert("127.0.0.1")
    keys = TlsFiles(tmp_path / "cert.pem", tmp_path / "key.pem")
    made.cert_chain_pems[0].write_to_path(keys.cert)
    made.private_key_pem.write_to_path(keys.key)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    receiver = Receiver(accept=lambda spans: None)
    listener = HttpListener(receiver, "127.0.0.1", 0, keys, connections=10)
    try:
        with ExitStack() as stack:
            silent = [
                stack.enter_context(closing(socket.create_connection(("127.0.0.1", listener.port), timeout=30)))
                for _ in range(LISTEN_BACKLOG + 50)
            ]
            eventually(lambda: receiver.stats().refused.get("crowded") == 50, "the first ones made room")
            assert [ended(sock) for sock in silent[:50]] == [b""] * 50
            url, kind = f"https://127.0.0.1:{listener.port}/v1/traces", {"content-type": PROTOBUF}
            for _ in range(20):
                assert httpx.post(url, content=body, headers=kind, verify=context, trust_env=False).status_code == 200
    finally:
        listener.close()


def test_idle_grpc_connections_are_limited_and_closed(body: bytes, eventually: Eventually) -> None:
    """Those beyond the limit at once, the others after a silence; an earlier client is served meanwhile."""
    with (
        opened(lambda spans: None, grpc_connections=20, handshake_seconds=1.0) as listeners,
        listeners.channel() as before,
        ExitStack() as stack,
    ):
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = before.unary_unary(EXPORT)
        assert call(body, timeout=30) == b""
        idle = [
            stack.enter_context(closing(socket.create_connection(("127.0.0.1", listeners.grpc.port), timeout=30)))
            for _ in range(100)
        ]
        assert call(body, timeout=30) == b""
        for sock in idle:
            ended(sock)

        def served() -> bool:
            try:
                return listeners.export(body) == b""
            except grpc.RpcError:
                return False

        eventually(served, "a new connection is taken")


# --- what is not HTTP


@pytest.mark.parametrize(
    "noise",
    [
        b"GARBAGE\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"X: " + b"x" * 100_000,
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["garbage", "negative length", "two lengths", "endless head", "bad chunk", "bad chunk after the answer"],
)
def test_a_request_that_is_not_http_is_refused_counted_and_logged_once(
    body: bytes, noise: bytes, caplog: pytest.LogCaptureFixture, eventually: Eventually
) -> None:
    """A hundred times: one line in the log, and good clients are served."""
    with opened(lambda spans: None) as listeners:
        for _ in range(100):
            with listeners.connect() as mad:
                try:
                    mad.sendall(noise)
                    mad.shutdown(socket.SHUT_WR)
                except OSError:  # the hub was faster
                    continue
                assert ended(mad)[:13] in (b"", b"HTTP/1.1 400 ", b"HTTP/1.1 404 ")
        eventually(lambda: listeners.refused("malformed") == 100, "each is counted")
        assert listeners.good(body)
    said = [record.message.partition(":")[0] for record in caplog.records]
    assert len(said) == len(set(said)), "each kind of refusal is logged once"
