"""Servers that give credentials: answers of other forms, failures, and authorities."""

from __future__ import annotations

import json
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import HttpUrl, SecretStr

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.reloading_file import FileError
from foreshock_dashboard.model.query import SourceError
from foreshock_dashboard.sources.http_config import attempt
from foreshock_dashboard.sources.http_config.client import ReloadingClient
from foreshock_dashboard.sources.http_config.oauth2 import MAX_ANSWER_BYTES
from foreshock_dashboard.sources.http_config.tls import ssl_context
from foreshock_dashboard.sources.http_config.values import HttpConfig, OAuth2, SigV4, TlsConfig
from foreshock_dashboard.sources.prometheus.scrape import Scraper
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget

Answer = tuple[int, str]
Respond = Callable[[str, dict[str, str], str], Answer]
"""Path, headers, and body of a request; status and body of the answer."""
Serve = Callable[..., str]
MACHINE = {"client_id": "a", "client_secret": SecretStr("b")}


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts HTTP servers, with a certificate if one is given, and returns the URL."""
    with ExitStack() as opened:

        def start(respond: Respond, tls: ssl.SSLContext | None = None) -> str:
            class Handler(BaseHTTPRequestHandler):
                def do_GET(self) -> None:
                    body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
                    status, text = respond(self.path, {k.lower(): v for k, v in self.headers.items()}, body)
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(text.encode())))
                    self.end_headers()
                    self.wfile.write(text.encode())

                do_POST = do_GET  # noqa: N815

                def log_message(self, *_: object) -> None:
                    pass

            server = opened.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
            server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that refuses a certificate
            if tls:
                server.socket = tls.wrap_socket(server.socket, server_side=True)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            opened.callback(thread.join)
            opened.callback(server.shutdown)
            return f"http{'s' if tls else ''}://127.0.0.1:{server.server_address[1]}"

        yield start


def get(config: HttpConfig, url: str, times: int = 1) -> httpx.Response:
    """The last response of a client with the configuration."""
    with closing(ReloadingClient(config, trust_env=False)) as client:
        return [client.current().get(url) for _ in range(times)][-1]


@pytest.mark.parametrize(
    ("expires_in", "tokens"), [("3600", 1), (3600, 1), ("5", 3), (5, 3), (None, 1), ("soon", 1), ("5.0", 3)]
)
def test_a_token_is_renewed_before_its_end_whether_a_number_or_its_text(
    expires_in: object, tokens: int, serve: Serve
) -> None:
    """Some servers give the seconds as text; a token that ends within the leeway is fetched for each request."""
    given: list[str] = []

    def respond(path: str, headers: dict[str, str], _: str) -> Answer:
        if path == "/token":
            given.append(f"token-{len(given)}")
            return 200, json.dumps({"access_token": given[-1], "expires_in": expires_in})
        return 200, headers["authorization"]

    url = serve(respond)
    config = HttpConfig(oauth2=OAuth2(**MACHINE, token_url=HttpUrl(f"{url}/token")))  # type: ignore[arg-type]
    assert get(config, url, times=3).text == f"Bearer {given[-1]}"
    assert len(given) == tokens


@pytest.mark.parametrize("status", [400, 401, 403])
@pytest.mark.parametrize("page", ["<html>Unauthorized</html>", "", '{"error": "invalid_client"}', "[]"])
def test_a_server_that_refuses_the_header_gets_the_secret_in_the_form(status: int, page: str, serve: Serve) -> None:
    """Whatever the form of its answer."""

    def respond(_: str, headers: dict[str, str], body: str) -> Answer:
        if headers.get("authorization", "").startswith("Basic "):
            return status, page
        return 200, json.dumps({"access_token": "t"}) if "client_secret=b" in body else headers["authorization"]

    url = serve(respond)
    config = HttpConfig(oauth2=OAuth2(**MACHINE, token_url=HttpUrl(url)))  # type: ignore[arg-type]
    assert get(config, url).text == "Bearer t"


@pytest.mark.parametrize("answer", ['{"access_token": "t0p\\n\\nsecret"}', '{"access_token": 5}', "[]", "<html>"])
def test_an_answer_without_a_token_is_an_error_that_does_not_quote_it(answer: str, serve: Serve) -> None:
    """A token with a line end cannot be sent, and the reason of that quotes it."""
    url = serve(lambda *_: (200, answer))
    config = HttpConfig(oauth2=OAuth2(**MACHINE, token_url=HttpUrl(url)))  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=r"returned no access_token \(status 200\)") as failed:
        get(config, url)
    assert "t0p" not in str(failed.value)


def test_the_answer_of_a_token_server_is_bounded(serve: Serve) -> None:
    """It may be another service by mistake, such as a download."""
    url = serve(lambda *_: (200, json.dumps({"access_token": "t", "more": "x" * MAX_ANSWER_BYTES})))
    config = HttpConfig(oauth2=OAuth2(**MACHINE, token_url=HttpUrl(url)))  # type: ignore[arg-type]
    with pytest.raises(SourceError, match=r"answers with more than 1 MiB\. Check token_url"):
        get(config, url)


def test_the_server_name_of_a_token_server_is_checked(tmp_path: Path, serve: Serve) -> None:
    """Its certificate has another name than its address."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("idp.example").configure_cert(tls)
    token_url = HttpUrl(serve(lambda *_: (200, '{"access_token": "t"}'), tls))
    url = serve(lambda _, headers, __: (200, headers["authorization"]))
    for name, works in (("idp.example", True), ("other.example", False), (None, False)):
        trusted = TlsConfig(ca_file=tmp_path / "ca.pem", server_name=name)
        config = HttpConfig(oauth2=OAuth2(**MACHINE, token_url=token_url, tls_config=trusted))  # type: ignore[arg-type]
        if works:
            assert get(config, url).text == "Bearer t"
        else:
            with pytest.raises(SourceError, match="CERTIFICATE_VERIFY_FAILED"):
                get(config, url)


def test_requests_that_wait_for_a_token_share_its_failure(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    """Else each of them waits for a timeout, after those of all before."""
    requests: list[str] = []
    asked, go_on = threading.Event(), threading.Event()

    def respond(path: str, *_: object) -> Answer:
        requests.append(path)
        asked.set()
        go_on.wait(20)
        return 500, ""

    url = serve(respond)
    config = HttpConfig(oauth2=OAuth2(**MACHINE, token_url=HttpUrl(url)))  # type: ignore[arg-type]
    errors: list[str] = []

    def request() -> None:
        with pytest.raises(SourceError) as failed:
            client.current().get(url)
        errors.append(str(failed.value))

    with closing(ReloadingClient(config, trust_env=False)) as client:
        threads = [threading.Thread(target=request) for _ in range(8)]
        for thread in threads:
            thread.start()
        assert asked.wait(20)
        go_on.set()
        for thread in threads:
            thread.join(20)
        assert len(errors) == 8
        assert len(requests) == 1
        assert len({*errors}) == 1

        later = time.monotonic() + attempt.RETRY_SECONDS + 20
        monkeypatch.setattr(time, "monotonic", lambda: later)
        request()
        assert len(requests) == 2


def test_a_scraper_ends_while_its_targets_wait_for_a_token() -> None:
    """It waits for the timeout of a scrape, not for that of each token, and stores nothing afterwards."""
    stored: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as hangs:
        token_url = HttpUrl(f"http://127.0.0.1:{hangs.getsockname()[1]}")
        config = HttpConfig(oauth2=OAuth2(**MACHINE, token_url=token_url))  # type: ignore[arg-type]
        with closing(ReloadingClient(config, trust_env=False)) as client:
            scraper = Scraper([], sink=stored.append, clock=Clock(), interval=0.05, timeout=0.2)
            scraper.replace("job", [ScrapeTarget(f"http://127.0.0.1:1/{n}", "job") for n in range(3)], client.current)
            scraper.start()
            waiting, _ = hangs.accept()
            with waiting:
                closer = threading.Thread(target=scraper.close)
                closer.start()
                closer.join(5)
                assert not closer.is_alive(), "the token server does not answer for 10 s"
    for thread in threading.enumerate():
        if thread.name.startswith("scrape 127.0.0.1:1"):
            thread.join(20)
    assert stored == []


@pytest.mark.parametrize("strict", [False, True])
def test_an_authority_without_key_identifiers_is_accepted(
    strict: bool, tmp_path: Path, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in Prometheus. strict: the default of Python 3.13."""
    create = ssl.create_default_context

    def created(*args: object, **options: object) -> ssl.SSLContext:
        context = create(*args, **options)  # type: ignore[arg-type]
        context.verify_flags |= ssl.VERIFY_X509_STRICT if strict else ssl.VerifyFlags(0)
        return context

    monkeypatch.setattr(ssl, "create_default_context", created)
    write_plain_authority(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(tmp_path / "server.pem")
    url = serve(lambda *_: (200, "ok"), tls)
    assert get(HttpConfig(tls_config=TlsConfig(ca_file=tmp_path / "ca.pem")), url).text == "ok"
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        get(HttpConfig(), url)


def write_plain_authority(folder: Path) -> None:
    """Write ca.pem, and server.pem with its key: certificates with no more than the name of the server."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) for name in ("authority", "server")]
    now = datetime.now(UTC)
    for number, file in enumerate(("ca.pem", "server.pem")):
        extension: x509.ExtensionType = (
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
            if number
            else x509.BasicConstraints(ca=True, path_length=None)
        )
        made = (
            x509.CertificateBuilder(names[0], names[number], keys[number].public_key(), number + 1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(extension, critical=not number)
            .sign(keys[0], hashes.SHA256())
        )
        key = keys[number].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / file).write_bytes(made.public_bytes(serialization.Encoding.PEM) + (key if number else b""))


def test_authorities_of_the_system_are_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside those of certifi, which has none of a company."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    load = ssl.SSLContext.load_default_certs

    def loaded(context: ssl.SSLContext, *_: object) -> None:
        load(context)
        context.load_verify_locations(tmp_path / "ca.pem")

    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", loaded)
    subjects = [dict(pair[0] for pair in held["subject"]) for held in ssl_context(None).get_ca_certs()]  # type: ignore[misc]
    assert any("trustme" in subject.get("organizationName", "") for subject in subjects)
    assert len(subjects) > 50, "those of certifi"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """An environment without AWS credentials."""
    import os

    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    return monkeypatch


@pytest.mark.parametrize("role", [None, "arn:aws:iam::123456789012:role/x"])
def test_aws_credentials_may_come_later(role: str | None, aws: pytest.MonkeyPatch, serve: Serve) -> None:
    """Those of a machine's role may not be there when the hub starts. A role is assumed in the region of the file."""
    assumed: list[str] = []

    def respond(_: str, headers: dict[str, str], body: str) -> Answer:
        if "AssumeRole" in body:
            assumed.append(headers["authorization"])
            return 200, ASSUMED.format(end=(datetime.now(UTC) + timedelta(hours=1)).isoformat())
        return 200, headers["authorization"]

    url = serve(respond)
    aws.setenv("AWS_ENDPOINT_URL_STS", url)
    aws.setattr(attempt, "RETRY_SECONDS", 0.0)
    config = HttpConfig(sigv4=SigV4(region="cn-north-1", role_arn=role))
    with closing(ReloadingClient(config, trust_env=False)) as client:
        with pytest.raises(SourceError, match=r"sigv4: no AWS credentials\. Set access_key"):
            client.current().get(url)
        aws.setenv("AWS_ACCESS_KEY_ID", "LATE")
        aws.setenv("AWS_SECRET_ACCESS_KEY", "b")
        key = "ASSUMED" if role else "LATE"
        for _ in range(2):
            assert f"Credential={key}/" in client.current().get(url).text
    assert [("LATE/" in text, "/cn-north-1/sts/" in text) for text in assumed] == ([(True, True)] if role else [])


ASSUMED = """<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult>
<AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/x/y</Arn><AssumedRoleId>A:y</AssumedRoleId></AssumedRoleUser>
<Credentials><AccessKeyId>ASSUMED</AccessKeyId><SecretAccessKey>c</SecretAccessKey><SessionToken>d</SessionToken>
<Expiration>{end}</Expiration></Credentials></AssumeRoleResult></AssumeRoleResponse>"""


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("region", [None, "eu-west-1"])
def test_an_unknown_profile_is_named(region: str | None) -> None:
    """When the file is read, not in a trace at the first request."""
    with pytest.raises(FileError, match=r"sigv4: The config profile \(nope\) could not be found. Check profile"):
        ReloadingClient(HttpConfig(sigv4=SigV4(region=region, profile="nope")))
