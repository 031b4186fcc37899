"""Authentication at both OTLP listeners with bearer tokens and TLS, also with the real SDK."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc
import httpx
import pytest
import trustme
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

from foreshock_dashboard.access.tls import TlsFiles
from foreshock_dashboard.access.tokens import Tokens, token_line
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.span import Span
from foreshock_dashboard.sources.otlp.grpc import GrpcListener
from foreshock_dashboard.sources.otlp.http import HttpListener
from foreshock_dashboard.sources.otlp.receiver import Receiver

FIRST, SECOND = "first-token-0123456789", "second-token-0123456789"
PROTOBUF = "application/x-protobuf"
EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    """A file with one token, a comment and a blank line."""
    path = tmp_path / "tokens"
    path.write_text(f"# the collectors\n\n{token_line('collector', FIRST)}\n")
    return path


@dataclass
class Authority:
    """A certificate authority and the files of a server that it vouches for."""

    ca: trustme.CA
    folder: Path

    def __post_init__(self) -> None:
        self.issue()
        self.ca.cert_pem.write_to_path(self.folder / "ca.pem")

    def issue(self) -> None:
        """A new certificate and key in the same files."""
        made = self.ca.issue_cert("127.0.0.1", "localhost")
        (self.folder / "key.pem").write_bytes(made.private_key_pem.bytes())
        (self.folder / "cert.pem").write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))

    def keys(self, *, clients: bool = False) -> TlsFiles:
        """Return the TLS files; with `clients`, clients need a certificate."""
        folder = self.folder
        return TlsFiles(folder / "cert.pem", folder / "key.pem", folder / "ca.pem" if clients else None)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """An authority of this test."""
    return Authority(trustme.CA(), tmp_path)


@contextmanager
def http_listener(
    allows: Callable[[str], bool] | None = None, keys: TlsFiles | None = None
) -> Iterator[tuple[int, list[Span]]]:
    spans: list[Span] = []
    listener = HttpListener(Receiver(accept=spans.extend, allows=allows), "127.0.0.1", 0, keys)
    try:
        yield listener.port, spans
    finally:
        listener.close()


@contextmanager
def grpc_listener(allows: Callable[[str], bool] | None = None, keys: TlsFiles | None = None) -> Iterator[int]:
    listener = GrpcListener(Receiver(accept=lambda spans: None, allows=allows), "127.0.0.1", 0, keys)
    try:
        yield listener.port
    finally:
        listener.close()


@pytest.mark.parametrize(("header", "allowed"), [(f"Bearer {FIRST}", True), (f"Bearer {SECOND}", False), ("", False)])
def test_the_http_listener_requires_a_token(header: str, allowed: bool, token_file: Path) -> None:
    with http_listener(Tokens(token_file).allows) as (port, _):
        answer = httpx.post(
            f"http://127.0.0.1:{port}/v1/traces",
            content=b"",
            headers={"content-type": PROTOBUF, "authorization": header},
            trust_env=False,
        )
    assert answer.status_code == (200 if allowed else 401)
    assert ("www-authenticate" in answer.headers) == (not allowed)


def test_the_grpc_listener_requires_the_same_tokens(token_file: Path) -> None:
    with grpc_listener(Tokens(token_file).allows) as port, grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        send: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
        assert send(b"", metadata=(("authorization", f"Bearer {FIRST}"),), timeout=30) == b""
        for metadata in ((("authorization", "Bearer wrong"),), ()):
            with pytest.raises(grpc.RpcError) as refused:
                send(b"", metadata=metadata, timeout=30)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


def test_the_sdk_sends_over_tls_with_a_token(
    authority: Authority, token_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service is configured as docs/reference/hub.md describes."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):  # they win over a session's own authority
        monkeypatch.delenv(name, raising=False)
    with http_listener(Tokens(token_file).allows, authority.keys()) as (port, spans):
        exporter = OTLPSpanExporter(
            f"https://127.0.0.1:{port}/v1/traces",
            certificate_file=str(authority.folder / "ca.pem"),
            headers={"authorization": f"Bearer {FIRST}"},
        )
        provider = TracerProvider(resource=Resource({"service.name": "checkout"}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with provider.get_tracer("t").start_as_current_span("pay"):
            pass
        provider.shutdown()
    assert [(span.service.name, span.name) for span in spans] == [("checkout", "pay")]


def test_grpc_over_tls_is_answered_and_follows_a_new_certificate(authority: Authority) -> None:
    def send() -> bytes:
        roots = (authority.folder / "ca.pem").read_bytes()
        with grpc.secure_channel(f"127.0.0.1:{port}", grpc.ssl_channel_credentials(roots)) as channel:
            call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(EXPORT)
            return call(ExportTraceServiceRequest().SerializeToString(), timeout=30)

    with grpc_listener(keys=authority.keys()) as port:
        assert send() == b""
        authority.issue()
        assert send() == b""


def test_clients_need_a_certificate_where_an_authority_for_them_is_given(authority: Authority) -> None:
    made = authority.ca.issue_cert("collector")
    (authority.folder / "client.pem").write_bytes(made.private_key_and_cert_chain_pem.bytes())
    import ssl

    def post(port: int, client: str | None) -> int:
        context = ssl.create_default_context(cafile=str(authority.folder / "ca.pem"))
        if client:
            context.load_cert_chain(client)
        answer = httpx.post(
            f"https://127.0.0.1:{port}/v1/traces", headers={"content-type": PROTOBUF}, verify=context, trust_env=False
        )
        return answer.status_code

    with http_listener(keys=authority.keys(clients=True)) as (port, _):
        assert post(port, str(authority.folder / "client.pem")) == 200
        with pytest.raises(httpx.TransportError):
            post(port, None)


def test_new_connections_get_a_new_certificate(authority: Authority) -> None:
    import ssl

    def served(port: int) -> str:
        return ssl.get_server_certificate(("127.0.0.1", port))

    def ask(port: int) -> None:
        context = ssl.create_default_context(cafile=str(authority.folder / "ca.pem"))
        httpx.post(f"https://127.0.0.1:{port}/", verify=context, trust_env=False)

    with http_listener(keys=authority.keys()) as (port, _):
        before = served(port)
        authority.issue()
        ask(port)
        assert served(port) != before
        (authority.folder / "key.pem").write_text("half a key")
        ask(port)
        assert served(port), "a broken file changes nothing"


@pytest.mark.parametrize("broken", ["cert.pem", "key.pem", "ca.pem"])
def test_files_that_cannot_be_used_are_named_at_the_start(broken: str, authority: Authority) -> None:
    (authority.folder / broken).write_text("not PEM")
    with pytest.raises(FileError, match=broken), http_listener(keys=authority.keys(clients=True)):
        pass
    with pytest.raises(FileError, match=broken), grpc_listener(keys=authority.keys(clients=True)):
        pass
