"""TLS and basic authentication over real sockets, with changing certificates."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from foreshock_exporter.web.auth import PasswordChecker
from foreshock_exporter.web.connections import MAX_CLIENT_CONNECTIONS, Connections
from foreshock_exporter.web.tls import alternative_names

if TYPE_CHECKING:
    from tests.conftest import Eventually
    from tests.exporter.web.conftest import Ask, Serving

Config = Callable[[str], Path]
Hashed = Callable[[str], str]
Trusting = Callable[..., ssl.SSLContext]
Dial = Callable[[int], socket.socket]

TLS = "tls_server_config:\n  cert_file: cert.pem\n  key_file: key.pem\n"
MUTUAL = TLS + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n"


def users(hashed: Hashed, **passwords: str) -> str:
    return "basic_auth_users:\n" + "".join(f"  {user}: {hashed(password)}\n" for user, password in passwords.items())


def served_certificate(port: int, context: ssl.SSLContext) -> bytes | None:
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        return secured.getpeercert(binary_form=True)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_metrics_are_served_over_tls(
    version: ssl.TLSVersion, serving: Serving, config: Config, ask: Ask, trusting: Trusting
) -> None:
    context = trusting()
    context.minimum_version = context.maximum_version = version
    reply = ask(serving(config(TLS)).port, tls=context)
    assert (reply.status, b"gpu_info" in reply.body) == (200, True)


def test_a_plain_http_client_gets_an_error_that_names_https(serving: Serving, config: Config, ask: Ask) -> None:
    reply = ask(serving(config(TLS)).port)
    assert (reply.status, reply.body) == (400, b"This port speaks HTTPS; use https://\n")


def test_a_client_that_offers_http_2_is_served_by_http_1_1(
    serving: Serving, config: Config, trusting: Trusting
) -> None:
    context = trusting()
    context.set_alpn_protocols(["h2", "http/1.1"])
    port = serving(config(TLS + "http_server_config: {http2: true}\n")).port
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert secured.selected_alpn_protocol() == "http/1.1"


def test_a_version_below_the_lowest_is_refused(serving: Serving, config: Config, ask: Ask, trusting: Trusting) -> None:
    old = trusting()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    port = serving(config(TLS + "  min_version: TLS13\n")).port
    with pytest.raises(ssl.SSLError):
        ask(port, tls=old)
    assert ask(port, tls=trusting()).status == 200


def test_the_cipher_and_curve_of_the_file_are_those_that_are_used(
    serving: Serving, config: Config, trusting: Trusting
) -> None:
    port = serving(
        config(
            TLS + "  max_version: TLS12\n  curve_preferences: [CurveP384]\n"
            "  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n"
        )
    ).port
    context = trusting()
    with (
        socket.create_connection(("127.0.0.1", port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as secured,
    ):
        assert (secured.cipher() or ("",))[0] == "ECDHE-ECDSA-AES256-GCM-SHA384"
    only_p256 = trusting()
    only_p256.set_ecdh_curve("prime256v1")
    with pytest.raises(ssl.SSLError):
        served_certificate(port, only_p256)


def test_a_certificate_that_was_renewed_is_served_from_the_next_connection(
    serving: Serving, config: Config, folder: Path, trusting: Trusting, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    """Certificate and key are two files: between the two writes the old pair goes on."""
    port = serving(config(TLS)).port
    first = served_certificate(port, trusting())
    (folder / "cert.pem").write_bytes((folder / "other-cert.pem").read_bytes())
    assert served_certificate(port, trusting()) == first
    assert caplog.text.count("key values mismatch") == 1
    (folder / "key.pem").write_bytes((folder / "other-key.pem").read_bytes())
    assert served_certificate(port, trusting()) != first
    assert ask(port, tls=trusting()).status == 200


def test_a_client_without_its_certificate_is_refused(
    serving: Serving, config: Config, ask: Ask, trusting: Trusting
) -> None:
    port = serving(config(MUTUAL)).port
    assert ask(port, tls=trusting("prometheus.example")).status == 200
    for stranger in (trusting(), trusting("prometheus.example", signed_by=trustme.CA())):
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            ask(port, tls=stranger)


def test_where_certificates_may_be_given_one_that_is_given_is_checked(
    serving: Serving, config: Config, ask: Ask, trusting: Trusting
) -> None:
    port = serving(config(MUTUAL.replace("RequireAndVerify", "Verify").replace("Cert\n", "CertIfGiven\n"))).port
    assert ask(port, tls=trusting()).status == 200
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
        ask(port, tls=trusting("prometheus.example", signed_by=trustme.CA()))


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("prometheus.example", True),
        ("other.example", False),
        ("10.0.0.1", True),
        ("10.0.0.2", False),
        ("fd00::1", True),
        ("ops@example.com", True),
    ],
)
def test_only_certificates_with_an_allowed_name_are_accepted(
    name: str, allowed: bool, serving: Serving, config: Config, ask: Ask, trusting: Trusting
) -> None:
    text = MUTUAL + '  client_allowed_sans: [prometheus.example, 10.0.0.1, "fd00::1", ops@example.com]\n'
    port = serving(config(text)).port
    if allowed:
        assert ask(port, tls=trusting(name)).status == 200
    else:
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            ask(port, tls=trusting(name))


def test_names_of_a_certificate_are_read_in_their_common_form() -> None:
    certificate: dict[str, Any] = {
        "subjectAltName": (("DNS", "a.b"), ("IP Address", "FD00:0:0:0:0:0:0:1"), ("URI", "spiffe://x/y"),
                           ("IP Address", "<invalid>"), ("DirName", "c"))
    }  # fmt: skip
    assert alternative_names(certificate) == {"a.b", "fd00::1", "spiffe://x/y", "<invalid>"}
    assert alternative_names(None) == frozenset()


def test_a_client_without_a_handshake_blocks_no_other(
    serving: Serving, config: Config, ask: Ask, trusting: Trusting, dial: Dial
) -> None:
    port = serving(config(TLS)).port
    for _ in range(3):
        dial(port)
    half = dial(port)
    half.sendall(b"\x16\x03\x01")
    assert ask(port, tls=trusting()).status == 200


def test_a_client_that_is_silent_in_the_handshake_is_dropped(
    serving: Serving, config: Config, dial: Dial, eventually: Eventually
) -> None:
    server = serving(config(TLS), io_timeout=0.1)
    for sent in (b"", b"\x16\x03\x01"):
        connection = dial(server.port)
        connection.sendall(sent)
        assert connection.recv(100) == b""
    eventually(lambda: not server._connections, "no place is kept")


def test_connections_without_a_handshake_do_not_keep_a_scrape_out(
    serving: Serving, config: Config, dial: Dial, ask: Ask, trusting: Trusting, eventually: Eventually
) -> None:
    server = serving(config(TLS))
    for _ in range(MAX_CLIENT_CONNECTIONS):
        dial(server.port)
    eventually(lambda: len(server._connections) == MAX_CLIENT_CONNECTIONS, "all are there")
    assert ask(server.port, tls=trusting()).status == 200


def test_a_tls_connection_that_is_refused_gets_no_plain_text(serving: Serving, config: Config, dial: Dial) -> None:
    server = serving(config(TLS), connections=Connections(total=0))
    assert dial(server.port).recv(100) == b""


def test_closing_a_tls_server_ends_its_idle_connections(serving: Serving, config: Config, trusting: Trusting) -> None:
    server = serving(config(TLS))
    with closing(http.client.HTTPSConnection("localhost", server.port, timeout=30, context=trusting())) as connection:
        connection.request("GET", "/healthz")
        assert connection.getresponse().read() == b"ok\n"
        server.close()
        assert not server._connections


@pytest.mark.parametrize("path", ["/metrics", "/healthz", "/readyz", "/", "/none"])
def test_every_path_wants_a_password(path: str, serving: Serving, config: Config, ask: Ask, hashed: Hashed) -> None:
    port = serving(config(users(hashed, alice="apple"))).port
    for login in (None, ("alice", "plum"), ("mallory", "apple")):
        reply = ask(port, path, login=login)
        assert (reply.status, reply.headers["www-authenticate"], reply.body) == (401, "Basic", b"Unauthorized\n")
    assert ask(port, path, login=("alice", "apple")).status == (404 if path == "/none" else 200)


def test_users_change_while_a_connection_is_open(serving: Serving, config: Config, hashed: Hashed, ask: Ask) -> None:
    port = serving(config(users(hashed, alice="apple"))).port
    assert ask(port, login=("alice", "apple")).status == 200
    config(users(hashed, alice="cherry", bob="pear"))
    assert ask(port, login=("alice", "apple")).status == 401
    assert ask(port, login=("bob", "pear")).status == 200
    config("basic_auth_users: {alice: broken}\n")
    assert ask(port, login=("bob", "pear")).status == 200


def test_with_too_many_password_checks_a_client_gets_503(
    serving: Serving, config: Config, hashed: Hashed, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PasswordChecker, "check", lambda *_: "busy")
    reply = ask(serving(config(users(hashed, alice="apple"))).port, login=("alice", "apple"))
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")


def test_headers_of_the_file_are_on_every_answer(serving: Serving, config: Config, ask: Ask, hashed: Hashed) -> None:
    text = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    Strict-Transport-Security: max-age=1\n"
    port = serving(config(text + users(hashed, alice="apple"))).port
    for reply in (ask(port), ask(port, "/none", login=("alice", "apple")), ask(port, login=("alice", "apple"))):
        assert (reply.headers["x-frame-options"], reply.headers["strict-transport-security"]) == ("deny", "max-age=1")
