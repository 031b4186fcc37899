"""Shared fixtures of the HTTP tests: readings, certificates, configurations, clients."""

from __future__ import annotations

import base64
import http.client
import json
import re
import shutil
import socket
import ssl
import subprocess
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import bcrypt
import pytest
import trustme

from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.model.family import Families, Family, HistogramSample, Sample
from foreshock_exporter.web.server import Server, serve

BUSY = Family("gpu_busy_seconds_total", "counter", ("gpu",), 'Seconds a "kernel" ran.')
RATIO = Family("gpu_utilization_sample_ratio", "histogram", ("gpu",), "Fast samples by share.", (0.0, 0.5, 1.0))
INFO = Family("gpu_info", "gauge", ("gpu", "model"), "What the GPU is; always 1.")
SEGMENTS = Family("node_netstat_Tcp_RetransSegs", "counter", (), "Segments sent again.")
UP = Family("node_network_up", "gauge", ("device",), "1 if up.")

FAMILIES: Families = [
    (BUSY, [Sample(("0",), 1.5), Sample(("1",), 2.0)]),
    (RATIO, [HistogramSample(("0",), (1, 2, 0, 3), 4.25)]),
    (INFO, [Sample(("0", 'H100 "SXM"\\'), 1)]),
    (SEGMENTS, [Sample((), 12.0)]),
    (UP, [Sample(("eth0",), 1.0)]),
]


@dataclass
class Readings:
    """Something to serve: two collectors, `gpu` and `network`; counts how often it is rendered."""

    is_ready: bool = True
    rendered: int = 0
    broken: bool = False
    hold: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)
    value: float = 1.0

    def __post_init__(self) -> None:
        self.hold.set()

    def render(self, openmetrics: bool = False, collectors: frozenset[str] | None = None) -> bytes:
        self.rendered += 1
        self.entered.set()
        self.hold.wait(30)
        if self.broken:
            raise ZeroDivisionError
        if unknown := (collectors or frozenset()) - {"gpu", "network"}:
            raise ValueError(f"no such collector: {', '.join(sorted(unknown))}")
        chosen = [
            (family, samples)
            for family, samples in FAMILIES
            if collectors is None or ("network" if family.name.startswith("node") else "gpu") in collectors
        ]
        return render([*chosen, (Family("tick", "gauge", (), "Grows."), [Sample((), self.value)])], openmetrics)

    def ready(self) -> bool:
        return self.is_ready


@pytest.fixture
def readings() -> Iterator[Readings]:
    """Readings that are there at once; let go of at the end."""
    made = Readings()
    yield made
    made.hold.set()


@pytest.fixture
def exposition() -> Families:
    """What the readings are made of."""
    return FAMILIES


class Serving(Protocol):
    """Starts servers that end with the test."""

    def __call__(self, web_config: Path | None = None, **options: Any) -> Server: ...  # noqa: ANN401 - as serve


@pytest.fixture
def serving(readings: Readings) -> Iterator[Serving]:
    """Serve the readings on a free port of loopback."""
    with ExitStack() as opened:
        yield lambda web_config=None, **options: opened.enter_context(
            closing(serve(readings, "127.0.0.1", 0, web_config=web_config, **options))
        )


@dataclass(frozen=True)
class Reply:
    """What a client got."""

    status: int
    headers: dict[str, str]
    body: bytes


class Ask(Protocol):
    """Asks a port of loopback once, over a separate connection."""

    def __call__(
        self,
        port: int,
        path: str = "/metrics",
        method: str = "GET",
        *,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        **headers: str,
    ) -> Reply: ...


@pytest.fixture
def ask() -> Ask:
    """HTTP client; underscores in header names become dashes."""

    def once(
        port: int,
        path: str = "/metrics",
        method: str = "GET",
        *,
        login: tuple[str, str] | None = None,
        tls: ssl.SSLContext | None = None,
        **headers: str,
    ) -> Reply:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if login:
            named["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
        connection = (
            http.client.HTTPSConnection("localhost", port, timeout=30, context=tls)
            if tls
            else http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        )
        with closing(connection):
            connection.request(method, path, headers=named)
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())

    return once


class Dial(Protocol):
    """Opens a plain connection to a port of loopback, from an address of a client."""

    def __call__(self, port: int, client: str = "127.0.0.1") -> socket.socket: ...


@pytest.fixture
def dial() -> Iterator[Dial]:
    """Opens plain connections that are closed at the end."""
    with ExitStack() as opened:
        yield lambda port, client="127.0.0.1": opened.enter_context(
            socket.create_connection(("127.0.0.1", port), timeout=30, source_address=(client, 0))
        )


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """The CA of these tests."""
    return trustme.CA()


@pytest.fixture
def folder(tmp_path: Path, authority: trustme.CA) -> Path:
    """A folder with cert.pem and key.pem of localhost, ca.pem, and another certificate with its key."""
    for name in ("", "other-"):
        certificate = authority.issue_cert("localhost", "127.0.0.1")
        _write_pair(certificate, tmp_path, name)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    return tmp_path


def _write_pair(certificate: trustme.LeafCert, folder: Path, name: str) -> None:
    (folder / f"{name}cert.pem").write_bytes(b"".join(blob.bytes() for blob in certificate.cert_chain_pems))
    certificate.private_key_pem.write_to_path(str(folder / f"{name}key.pem"))


@pytest.fixture
def config(folder: Path) -> Callable[[str], Path]:
    """Write a web configuration beside the certificates."""

    def write(text: str) -> Path:
        path = folder / "web.yml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def trusting(authority: trustme.CA) -> Callable[..., ssl.SSLContext]:
    """A client's context that trusts the authority; with names, one with a certificate of them."""

    def make(*names: str, signed_by: trustme.CA = authority) -> ssl.SSLContext:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if names:
            signed_by.issue_cert(*names).configure_cert(context)
        return context

    return make


@pytest.fixture(scope="session")
def hashed() -> Callable[[str], str]:
    """A password's bcrypt hash of the lowest cost."""
    return lambda password: bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()


Query = Callable[[str], list[dict[str, Any]]]


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[str], Query]]:
    """Start a real Prometheus with scrape configurations; return a query function."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("prometheus is not installed; `make setup-tests` installs it")
    with ExitStack() as opened:

        def start(scrape_configs: str) -> Query:
            config = tmp_path / "prometheus.yml"
            config.write_text(f"global: {{scrape_interval: 1s, scrape_timeout: 1s}}\nscrape_configs:\n{scrape_configs}")
            command = [
                binary, f"--config.file={config}", f"--storage.tsdb.path={tmp_path / 'data'}",
                "--web.listen-address=127.0.0.1:0",
            ]  # fmt: skip
            process = opened.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            opened.callback(_end, process)
            address = _address(process)
            return lambda query: _result(address, query)

        yield start


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.communicate(timeout=30)


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    seen, address, ready = [], "", False
    for line in process.stderr:
        seen.append(line)
        if found := re.search(r'msg="?Listening on"? .*address=(\S+)', line):
            address = found[1]
        ready = ready or "Server is ready to receive web requests" in line
        if ready and address:  # they come in either order
            return address
    pytest.fail("prometheus did not start: " + "".join(seen[-5:]))


def _result(address: str, query: str) -> list[dict[str, Any]]:
    url = f"http://{address}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    with urllib.request.urlopen(url, timeout=30) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found
