"""TLS of the page: its version, and its certificate, which may be renewed while the hub runs."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import trustme
from fastapi import FastAPI

from foreshock_dashboard.access.tls import TlsFiles
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.web.http.server import WebServer

CA = trustme.CA()


def issue(folder: Path) -> TlsFiles:
    """A new certificate and its key, in the files of the previous one."""
    made = CA.issue_cert("127.0.0.1")
    files = TlsFiles(folder / "hub.crt", folder / "hub.key")
    files.cert.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
    files.key.write_bytes(made.private_key_pem.bytes())
    return files


@contextmanager
def served(files: TlsFiles) -> Iterator[WebServer]:
    """A server with one page."""
    app = FastAPI()
    app.get("/")(lambda: "here")
    server = WebServer(app, "127.0.0.1", 0, tls=files)
    server.start()
    try:
        yield server
    finally:
        server.close()


def trusting() -> ssl.SSLContext:
    """The context of a client that trusts the authority of the tests."""
    context = ssl.create_default_context()
    CA.configure_trust(context)
    return context


def certificate(server: WebServer) -> str:
    """What the server presents in a new connection."""
    return ssl.get_server_certificate(("127.0.0.1", server.port), timeout=30)


def test_the_page_is_served_over_tls_and_not_without(tmp_path: Path) -> None:
    """A client that speaks HTTP to the port gets nothing."""
    with served(issue(tmp_path)) as server:
        assert server.url == f"https://127.0.0.1:{server.port}/"
        assert httpx.get(server.url, verify=trusting(), trust_env=False).text == '"here"'
        with pytest.raises(httpx.TransportError):
            httpx.get(server.url.replace("https", "http"), trust_env=False)


def test_versions_before_tls_1_2_are_refused(tmp_path: Path) -> None:
    """RFC 8996."""
    context = trusting()
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 is deprecated"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1 is deprecated"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with (
        served(issue(tmp_path)) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain,
        pytest.raises(ssl.SSLError, match=r"EOF|PROTOCOL_VERSION"),
    ):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


def test_a_renewed_certificate_is_presented_to_the_next_connection_and_a_broken_one_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a restart, and without a request in between; open connections stay."""
    files = issue(tmp_path)
    with served(files) as server, httpx.Client(verify=trusting(), trust_env=False) as client:
        assert client.get(server.url).status_code == 200
        first = certificate(server)
        issue(tmp_path)
        second = certificate(server)
        assert second != first
        files.key.write_text("half a key")
        assert certificate(server) == second
        assert client.get(server.url).status_code == 200
    assert "the previous certificate stays valid" in caplog.text


def test_files_that_cannot_be_used_are_named_at_the_start(tmp_path: Path) -> None:
    """Before the port is bound."""
    files = issue(tmp_path)
    files.cert.write_text("not PEM")
    with pytest.raises(FileError, match=r"hub\.crt"), served(files):
        pass


@pytest.mark.parametrize("clients", [False, True], ids=["any client", "clients with a certificate"])
def test_grpc_gets_a_certificate_only_when_it_is_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clients: bool
) -> None:
    """gRPC asks in each handshake; None stands for the one that it has."""
    given: list[tuple[object, Callable[[], object], bool]] = []

    def credentials(first: object, fetch: Callable[[], object], *, require_client_authentication: bool) -> None:
        given.append((first, fetch, require_client_authentication))

    monkeypatch.setattr("grpc.dynamic_ssl_server_credentials", credentials)
    files = issue(tmp_path)
    if clients:
        CA.cert_pem.write_to_path(tmp_path / "ca.crt")
        files = files._replace(client_ca=tmp_path / "ca.crt")
    files.credentials()
    [(first, fetch, required)] = given
    assert required is clients
    assert fetch() is None
    issue(tmp_path)
    assert fetch() not in (None, first)
    assert fetch() is None
    assert (files.context().verify_mode is ssl.CERT_REQUIRED) is clients
    files.key.write_text("half a key")
    assert fetch() is None
