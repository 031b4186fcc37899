"""Real servers that refuse requests without credentials, shared by all tests."""

from __future__ import annotations

import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import which

import bcrypt
import httpx
import pytest
import trustme
from tests.conftest import Eventually
from tests.ports import free_port
from tests.web.oidc import Provider, provider

PASSWORD = "p:ss wörd"  # noqa: S105


@contextmanager
def process(command: list[str | Path], ready: Callable[[], bool], wait: Eventually) -> Iterator[None]:
    """Run a server until the end of the block."""
    if which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed; `make setup-tests` installs it")
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            wait(ready, f"{command[0]} answers")
            yield
        finally:
            running.terminate()


def answers(url: str, **options: object) -> bool:
    """Whether a server listens there."""
    try:
        httpx.get(url, trust_env=False, **options)  # type: ignore[arg-type]  # by name
    except httpx.TransportError:
        return False
    return True


@pytest.fixture(scope="session")
def wait() -> Eventually:
    """Wait for a condition."""
    import time

    def until(condition: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, what
            threading.Event().wait(0.05)

    return until


@pytest.fixture(scope="session")
def victoria(tmp_path_factory: pytest.TempPathFactory, wait: Eventually) -> Iterator[str]:
    """The URL of a VictoriaMetrics."""
    url = f"http://127.0.0.1:{(port := free_port())}"
    command: list[str | Path] = [
        "victoria-metrics",
        f"-storageDataPath={tmp_path_factory.mktemp('victoria')}",
        f"-httpListenAddr=127.0.0.1:{port}",
    ]
    with process(command, lambda: answers(url), wait):
        yield url


@pytest.fixture(scope="session")
def vmauth(victoria: str, tmp_path_factory: pytest.TempPathFactory, wait: Eventually) -> Iterator[str]:
    """The URL of a proxy before it that demands one of two bearer tokens."""
    config = tmp_path_factory.mktemp("vmauth") / "auth.yml"
    users = "".join(f'  - {{bearer_token: token-{n}, url_prefix: "{victoria}"}}\n' for n in (1, 2))
    config.write_text(f"users:\n{users}")
    url = f"http://127.0.0.1:{(port := free_port())}"
    command: list[str | Path] = ["vmauth", f"-auth.config={config}", f"-httpListenAddr=127.0.0.1:{port}"]
    with process(command, lambda: answers(url), wait):
        yield url


@dataclass(frozen=True)
class Secured:
    """A Prometheus with TLS, client certificates, and the password of `ada`; `folder` has the files of a client."""

    url: str
    folder: Path
    ca: trustme.CA

    def issue(self, name: str, ca: trustme.CA | None = None) -> None:
        """Write NAME.crt and NAME.key."""
        made = (ca or self.ca).issue_cert(name)
        (self.folder / f"{name}.crt").write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))
        (self.folder / f"{name}.key").write_bytes(made.private_key_pem.bytes())


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory, wait: Eventually) -> Iterator[Secured]:
    """A Prometheus that demands both."""
    folder = tmp_path_factory.mktemp("secured")
    made = Secured(f"https://127.0.0.1:{(port := free_port())}", folder, trustme.CA())
    made.ca.cert_pem.write_to_path(folder / "ca.pem")
    made.issue("127.0.0.1")
    made.issue("client")
    (folder / "password").write_text(PASSWORD)
    (folder / "web.yml").write_text(
        "tls_server_config: {cert_file: 127.0.0.1.crt, key_file: 127.0.0.1.key, client_ca_file: ca.pem, "
        "client_auth_type: RequireAndVerifyClientCert}\n"
        f"basic_auth_users: {{ada: '{bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()}'}}\n"
    )
    (folder / "prometheus.yml").write_text("global: {}\n")
    command: list[str | Path] = [
        "prometheus",
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.config.file={folder / 'web.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    context = ssl.create_default_context(cafile=folder / "ca.pem")
    context.load_cert_chain(folder / "client.crt", folder / "client.key")
    with process(command, lambda: answers(made.url, verify=context), wait):
        yield made


@pytest.fixture(scope="session")
def issuer() -> Iterator[Provider]:
    """An OAuth2 server."""
    with provider(free_port()) as started:
        yield started


@dataclass
class Request:
    """A request as a server sees it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Guard:
    """A proxy that passes on what `allows` accepts, and answers 401 to all else. requests: all that came."""

    url: str
    allows: Callable[[Request], bool] = lambda _: False
    requests: list[Request] = field(default_factory=list)


@pytest.fixture
def guard(victoria: str) -> Iterator[Guard]:
    """A proxy before VictoriaMetrics."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            request = Request(self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body)
            made.requests.append(request)
            status, kind, content = 401, "text/plain", b"no"
            if made.allows(request):
                headers = {"content-type": request.headers.get("content-type", "")}
                answer = behind.request(self.command, victoria + self.path, content=body, headers=headers)
                status, kind, content = answer.status_code, answer.headers["content-type"], answer.content
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ExitStack() as opened:
        behind = opened.enter_context(httpx.Client(trust_env=False))
        server = opened.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        made = Guard(f"http://127.0.0.1:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        opened.callback(thread.join)
        opened.callback(server.shutdown)
        yield made
