"""Each kind of credentials, against a real server that refuses requests without them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import bcrypt
import httpx
import pytest
import trustme
from tests.conftest import Eventually
from tests.ports import free_port
from tests.sources.http_config.conftest import PASSWORD, Guard, Request, Secured, answers, process
from tests.web.oidc import SECRET, Provider

from foreshock_dashboard.cli.main import main
from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.query import Query, SourceError
from foreshock_dashboard.notify.alertmanager import Alertmanager
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.sources.http_client import error_text
from foreshock_dashboard.sources.http_config.reading import read_http_config
from foreshock_dashboard.sources.prometheus.api import PrometheusSource

pytestmark = pytest.mark.slow

REFUSED = "returned 401; set the required credentials or tenant with --prometheus-config"
Open = Callable[..., PrometheusSource]


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Open]:
    """Opens a Prometheus with the configuration of a file; without a text, with none."""
    with ExitStack() as opened:

        def make(url: str, text: str = "", folder: Path = tmp_path) -> PrometheusSource:
            (folder / "http.yml").write_text(text)
            config = read_http_config(folder / "http.yml")
            return opened.enter_context(closing(PrometheusSource(url, config=config)))

        yield make


def test_basic_authentication_and_client_certificates(secured: Secured, door: Open) -> None:
    """Prometheus refuses either without the other. A renewed password and a renewed certificate are used at once."""
    tls = "tls_config: {ca_file: ca.pem, cert_file: client.crt, key_file: client.key}\n"
    basic = "basic_auth: {username: ada, password_file: password}\n"
    with pytest.raises(SourceError, match=r"certificate required|alert|closed"):
        door(secured.url, f"{basic}tls_config: {{ca_file: ca.pem}}\n", secured.folder).answers()
    with pytest.raises(SourceError, match=REFUSED):
        door(secured.url, tls, secured.folder).answers()
    both = door(secured.url, basic + tls, secured.folder)
    assert both.answers()

    (secured.folder / "password").write_text("another one")
    with pytest.raises(SourceError, match=REFUSED):
        both.answers()
    (secured.folder / "password").write_text(PASSWORD)
    assert both.answers()

    secured.issue("client", trustme.CA())
    with pytest.raises(SourceError, match="cannot be reached"):
        both.answers()
    secured.issue("client")
    assert both.answers()
    (secured.folder / "client.key").write_text("half a k")  # while the two files are written, the old ones stay
    assert both.answers()
    secured.issue("client")


def test_the_certificate_of_the_server_is_checked(secured: Secured, door: Open) -> None:
    """By the bundle, and for the name; both can be switched off."""
    rest = "cert_file: client.crt, key_file: client.key"
    basic = f"basic_auth: {{username: ada, password: '{PASSWORD}'}}\n"
    with pytest.raises(SourceError, match=r"CERTIFICATE_VERIFY_FAILED"):
        door(secured.url, f"{basic}tls_config: {{{rest}}}\n", secured.folder).answers()
    with pytest.raises(SourceError, match=r"not valid for 'other.example'"):
        door(
            secured.url, f"{basic}tls_config: {{{rest}, ca_file: ca.pem, server_name: other.example}}\n", secured.folder
        ).answers()
    assert door(secured.url, f"{basic}tls_config: {{{rest}, insecure_skip_verify: true}}\n", secured.folder).answers()


def test_a_bearer_token_from_a_file_that_is_renewed(vmauth: str, door: Open, tmp_path: Path) -> None:
    """As those of Kubernetes' service accounts are. A file that is gone leaves the last token in use."""
    with pytest.raises(SourceError, match=REFUSED):
        door(vmauth).answers()
    (tmp_path / "token").write_text("token-3\n")
    source = door(vmauth, "authorization: {credentials_file: token}")
    with pytest.raises(SourceError, match=REFUSED):
        source.answers()
    for token in ("token-1", "token-2"):
        (tmp_path / "token").write_text(f"{token}\n")
        assert source.answers()
    (tmp_path / "token").unlink()
    assert source.answers()


def test_an_oauth2_token_is_fetched_once_and_again_when_it_was_revoked(
    issuer: Provider, guard: Guard, door: Open, tmp_path: Path
) -> None:
    """A real token server issues it, and checks it for the API."""
    machine = httpx.BasicAuth("machine", SECRET)

    def active(request: Request) -> bool:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        data = {"token": token}
        answer = httpx.post(f"{issuer.issuer}/token/introspection", data=data, auth=machine, trust_env=False)
        return scheme == "Bearer" and bool(answer.json().get("active"))

    guard.allows = active
    with pytest.raises(SourceError, match=REFUSED):
        door(guard.url).answers()
    (tmp_path / "secret").write_text(SECRET)
    grant = f"client_id: machine, token_url: {issuer.issuer}/token"
    source = door(guard.url, f"oauth2: {{{grant}, client_secret_file: secret}}")
    guard.requests.clear()
    assert all(source.answers() for _ in range(3))
    (token,) = {request.headers["authorization"].removeprefix("Bearer ") for request in guard.requests}

    httpx.post(f"{issuer.issuer}/token/revocation", data={"token": token}, auth=machine, trust_env=False)
    assert source.answers()
    assert len({request.headers["authorization"] for request in guard.requests}) == 2

    with pytest.raises(SourceError, match=r"oauth2: http://.*/token rejected the client .* Check client_id") as refused:
        door(guard.url, f"oauth2: {{{grant}, client_secret: hunter2}}").answers()
    assert "hunter2" not in str(refused.value)
    with pytest.raises(SourceError, match=r"returned no token .*Check token_url"):
        door(guard.url, "oauth2: {client_id: machine, client_secret: a, token_url: http://127.0.0.1:1/}").answers()


def test_tenants_headers_and_parameters(guard: Guard, door: Open, tmp_path: Path) -> None:
    """The tenant of Mimir, a header from a file, and the namespace that OpenShift demands."""
    guard.allows = lambda request: (
        request.headers.get("x-scope-orgid") == "team-a"
        and request.headers.get("x-key") == "k"
        and "namespace=gpus" in request.path
    )
    (tmp_path / "key").write_text("k\n")
    tenant, key = "X-Scope-OrgID: {values: [team-a]}", "X-Key: {files: [key]}"
    namespace = "params: {namespace: [gpus]}"
    for incomplete in ("", f"http_headers: {{{tenant}, {key}}}", f"http_headers: {{{tenant}}}\n{namespace}"):
        with pytest.raises(SourceError, match=REFUSED):
            door(guard.url, incomplete).answers()
    source = door(guard.url, f"http_headers: {{{tenant}, {key}}}\n{namespace}")
    assert source.answers()
    assert source.metric_names() == frozenset()
    assert source.fetch(Query("up"), 0, 10, 10).labels == ()
    assert door(guard.url, f"headers: {{X-Scope-OrgID: team-a, X-Key: k}}\n{namespace}").answers()


def test_requests_are_signed_for_amazon(guard: Guard, door: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server computes each signature by botocore; a space and a plus sign in a query are signed as well."""
    keys = {"AKID": "secret-key"}
    guard.allows = lambda request: signed(request, keys)
    with pytest.raises(SourceError, match=REFUSED):
        door(guard.url).answers()
    with pytest.raises(SourceError, match=REFUSED):
        door(guard.url, "sigv4: {region: eu-west-1, access_key: AKID, secret_key: wrong}").answers()
    text = "sigv4: {region: eu-west-1, access_key: AKID, secret_key: secret-key}\nparams: {x: ['a b+c', 'd']}"
    source = door(guard.url, text)
    assert source.answers()
    assert source.metric_names() == frozenset()
    assert source.fetch(Query("up"), 0, 10, 10).labels == ()
    for name, value in (
        ("ACCESS_KEY_ID", "AKID"),
        ("SECRET_ACCESS_KEY", "secret-key"),
        ("DEFAULT_REGION", "eu-west-1"),
    ):
        monkeypatch.setenv(f"AWS_{name}", value)
    assert door(guard.url, "sigv4: {}").answers()


def signed(request: Request, keys: dict[str, str]) -> bool:
    """Whether a request has the signature that botocore computes for it."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    given = request.headers.get("authorization", "")
    if not given.startswith("AWS4-HMAC-SHA256 "):
        return False
    fields = dict(part.split("=", 1) for part in given.removeprefix("AWS4-HMAC-SHA256 ").split(", "))
    key, _, region, service, _ = fields["Credential"].split("/")
    names = fields["SignedHeaders"].split(";")
    url = f"http://{request.headers['host']}{request.path}"
    headers = {name: request.headers[name] for name in names}
    sent = AWSRequest(request.method, url, data=request.body, headers=headers)
    sent.context["timestamp"] = request.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(key, keys.get(key, "")), service, region)
    text = signer.string_to_sign(sent, signer.canonical_request(sent))
    return {"host", "x-amz-date"} <= {*names} and fields["Signature"] == signer.signature(text, sent)


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["explain"], "--http-config"),
        (["recording", "create", "--output-dir", "out"], "--http-config"),
        (["recording", "create", "--output-dir", "out"], "--prometheus-config"),
    ],
    ids=["explain", "record", "record by the name of the hub's option"],
)
def test_commands_read_a_prometheus_by_the_same_file(
    secured: Secured,
    command: list[str],
    option: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without the password the message names the option. With it, this Prometheus has nothing for an answer."""
    monkeypatch.chdir(tmp_path)
    tls = "tls_config: {ca_file: ca.pem, cert_file: client.crt, key_file: client.key}\n"
    file = secured.folder / "command.yml"
    said = []
    for text in (tls, f"{tls}basic_auth: {{username: ada, password_file: password}}\n"):
        file.write_text(text)
        assert main([*command, "--from", secured.url, option, str(file)]) == 1
        said.append(capsys.readouterr().err)
    assert "--http-config" in said[0]
    assert "no " in said[1]
    assert "--http-config" not in said[1]


def test_an_alertmanager_takes_credentials_by_the_same_file(tmp_path: Path, wait: Eventually) -> None:
    """A real one with passwords refuses the hub without."""
    port, peer = free_port(), free_port()
    (tmp_path / "am.yml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    hashed = bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{ada: '{hashed}'}}\n")
    command: list[str | Path] = [
        "prometheus-alertmanager",
        f"--config.file={tmp_path / 'am.yml'}",
        f"--storage.path={tmp_path / 'data'}",
        f"--web.config.file={tmp_path / 'web.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--cluster.listen-address=127.0.0.1:{peer}",
    ]
    url = f"http://127.0.0.1:{port}"
    with process(command, lambda: answers(url), wait):
        with closing(Alertmanager(url)) as unknown, pytest.raises(SourceError, match="with --alertmanager-config"):
            unknown.silences()
        (tmp_path / "http.yml").write_text(f"basic_auth: {{username: ada, password: '{PASSWORD}'}}")
        with closing(Alertmanager(url, config=read_http_config(tmp_path / "http.yml"))) as known:
            assert known.silences() == ()


def test_no_secret_is_shown_by_a_hub_that_is_refused(
    guard: Guard, tmp_path: Path, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither by its API, nor its metrics, its log, or its journal; the reason names the option."""
    caplog.set_level(logging.DEBUG)
    (tmp_path / "http.yml").write_text(
        "basic_auth: {username: ada, password: hunter2}\nheaders: {X-Key: hunter2}\n"
        "http_headers: {X: {secrets: [hunter2]}}\n"
    )
    settings = Settings(
        port=0,
        otlp_grpc_port=0,
        otlp_http_port=0,
        store_path=tmp_path / "store",
        prometheus_url=guard.url,
        prometheus_config=tmp_path / "http.yml",
    )
    with closing(Hub(settings, Clock())) as hub:
        hub.start()

        def get(path: str) -> str:
            return httpx.get(hub.web.url.rstrip("/") + path, trust_env=False, timeout=20).text

        eventually(lambda: "with --prometheus-config" in get("/readyz"), "the hub says what it lacks")
        shown = [get(path) for path in ("/readyz", "/api/status", "/metrics", "/api/now")]
    assert guard.requests[0].headers["x-key"] == "hunter2"
    written = [file.read_bytes() for file in (tmp_path / "store").rglob("*") if file.is_file()]
    assert "hunter2" not in "".join(shown) + caplog.text + repr(settings)
    assert not any(b"hunter2" in content for content in written)


BLOCKS = {
    "authorization:\n  credentials: |\n    hunter2\n": ("authorization", "Bearer hunter2"),
    "authorization: {type: Token, credentials: ' hunter2 '}": ("authorization", "Token hunter2"),
    "basic_auth:\n  username: ada\n  password: |\n    hunter2\n": ("authorization", "Basic YWRhOmh1bnRlcjI="),
    "basic_auth: {username: hunter2}": ("authorization", "Basic aHVudGVyMjo="),
    "http_headers:\n  X-Key:\n    secrets:\n    - |\n      hunter2\n": ("x-key", "hunter2"),
    "headers:\n  X-Key: |\n    hunter2\n": ("x-key", "hunter2"),
}


@pytest.mark.parametrize("text", BLOCKS)
def test_a_secret_of_a_block_is_sent_without_its_line_end(text: str, guard: Guard, door: Open) -> None:
    """As YAML ends the text of a block with one."""
    name, value = BLOCKS[text]
    guard.allows = lambda request: request.headers.get(name) == value
    assert door(guard.url, text).answers()


def test_no_message_quotes_a_request_that_cannot_be_sent(guard: Guard) -> None:
    """The reason of h11 has the whole header."""
    with pytest.raises(httpx.LocalProtocolError, match="hunter2") as refused:
        httpx.get(guard.url, headers={"Authorization": "hunter2\n"}, trust_env=False)
    assert "hunter2" not in error_text(refused.value)


def test_victoriametrics_is_read_without_its_delay(victoria: str, door: Open) -> None:
    """By default, it leaves out the last 30 s of each query."""
    now = time.time()
    fresh = f"fresh_metric 7 {round((now - 2) * 1000)}\n"
    httpx.post(f"{victoria}/api/v1/import/prometheus", content=fresh, trust_env=False)
    httpx.get(f"{victoria}/internal/force_flush", trust_env=False)
    end = now // 1
    delayed = httpx.get(
        f"{victoria}/api/v1/query_range",
        params={"query": "fresh_metric", "start": end - 10, "end": end, "step": 1},
        trust_env=False,
    ).json()
    assert delayed["data"]["result"] == []
    source = door(victoria)
    source.metric_names()
    assert source.fetch(Query("fresh_metric"), end - 10, end, 1).values[0, -1] == 7
