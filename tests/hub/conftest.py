"""Real processes: the hub, an exporter, Prometheus. Each on a port that the system chose, each ended by its id."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml
from bench.support.process import free_ports
from tests.hub.process import BIN, HubProcess, Process
from tests.ports import free_port

Start = Callable[..., HubProcess]


@pytest.fixture(name="processes")
def _processes() -> Iterator[list[Process]]:
    started: list[Process] = []
    yield started
    for process in reversed(started):
        process.end()


@pytest.fixture(name="serve")
def _serve(processes: list[Process], tmp_path: Path, eventually: Callable[..., None]) -> Start:
    """Start a hub with flags and wait until it is ready (or, with `wait=False`, not at all)."""

    def start(
        *flags: str, store: Path | None = None, wait: bool = True, env: dict[str, str] | None = None
    ) -> HubProcess:
        hub = HubProcess.serving(store or tmp_path / "store", *flags, env=env)
        processes.append(hub)
        if wait:
            eventually(lambda: hub.up() or hub.process.poll() is not None, "the hub is ready", 90)
            assert hub.process.poll() is None, hub.output
        return hub

    return start


class DemoProcess(HubProcess):
    """A running `foreshock demo`."""

    @property
    def url(self) -> str:
        """The page's address, without a slash at the end."""
        return self.find(r"(http://[0-9.:]+)/")

    @property
    def address(self) -> str:
        """The same, for those who ask over HTTP themselves."""
        return self.url


@pytest.fixture(name="demo")
def _demo(processes: list[Process], eventually: Callable[..., None], tmp_path: Path) -> Callable[..., DemoProcess]:
    """Start a demo with flags on a free port and wait until it is ready (or, with `wait=False`, not at all).

    Its temporary folder is `tmp_path`.
    """

    def start(*flags: str, wait: bool = True) -> DemoProcess:
        ports = [] if "--port" in flags else ["--port", "0"]
        command = [str(BIN / "foreshock"), "demo", "--no-browser", *ports, *flags]
        process = DemoProcess(command, {**os.environ, "TMPDIR": str(tmp_path)})
        processes.append(process)
        if wait:
            eventually(lambda: process.up() or process.process.poll() is not None, "the demo is ready", 300)
            assert process.process.poll() is None, process.output
        return process

    return start


@pytest.fixture(name="free_address")
def _free_address() -> str:
    """A `host:port` to listen at."""
    return f"127.0.0.1:{free_port()}"


@pytest.fixture(name="closed_address")
def _closed_address() -> Iterator[str]:
    """A `host:port` that refuses connections, and that no other process gets."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(name="free_addresses")
def _free_addresses() -> Callable[[int], list[str]]:
    """Different `host:port` to listen at."""

    return lambda count: [f"127.0.0.1:{port}" for port in free_ports(count)]


class _Html(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = b"<!doctype html><title>It works</title>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 as http.server has it
        pass


@pytest.fixture(name="html_page")
def _html_page() -> Iterator[str]:
    """The `host:port` of something that is no exporter."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Html)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(name="prometheus")
def _prometheus(
    processes: list[Process], tmp_path: Path, eventually: Callable[..., None]
) -> Callable[[dict[str, str]], str]:
    """Start a real Prometheus that scrapes the targets (job → host:port) every second; gives its URL."""

    def start(targets: dict[str, str]) -> str:
        jobs = [{"job_name": job, "static_configs": [{"targets": [target]}]} for job, target in targets.items()]
        config = tmp_path / "prometheus.yml"
        config.write_text(
            yaml.safe_dump({"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs})
        )
        address = f"127.0.0.1:{free_port()}"
        processes.append(
            Process(
                [
                    "prometheus",
                    f"--config.file={config}",
                    f"--storage.tsdb.path={tmp_path / 'tsdb'}",
                    f"--web.listen-address={address}",
                ]
            )
        )

        def ready() -> bool:
            try:
                return httpx.get(f"http://{address}/-/ready", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        eventually(ready, "Prometheus is ready")
        return f"http://{address}"

    return start


@pytest.fixture(name="mock_exporter")
def _mock_exporter(processes: list[Process], eventually: Callable[..., None]) -> Callable[..., str]:
    """Start a mock exporter with flags; gives its `host:port` once it is ready."""

    def start(*flags: str) -> str:
        address = f"127.0.0.1:{free_port()}"
        command = [str(BIN / "foreshock-exporter"), "--mock", f"--web.listen-address={address}", *flags]
        processes.append(Process(command))

        def answers() -> bool:
            try:
                return httpx.get(f"http://{address}/readyz", trust_env=False).status_code == 200
            except httpx.TransportError:
                return False

        eventually(answers, "the exporter is ready")
        return address

    return start


@pytest.fixture(name="exporter")
def _exporter(mock_exporter: Callable[..., str]) -> str:
    """A mock exporter's `host:port`."""
    return mock_exporter()
