"""The exporters that `make bench` compares, each a process of its own over the C library of tests/nvml."""

from __future__ import annotations

import gzip
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.nvml.double import Double

from bench_gpus import GPUS

BIN = Path(sys.executable).parent


@dataclass(frozen=True, slots=True)
class Page:
    """An answer to a scrape: milliseconds, bytes as sent, and the text."""

    took: float
    sent: int
    text: bytes


@dataclass
class Running:
    """An exporter that runs, and what was measured of it. By window, in percent of a core: its CPU, and that
    of the library in it, which is not its own; its passes over a GPU per second; milliseconds of scrapes."""

    name: str
    period: float
    peer: bool
    port: int
    double: Double
    pid: int
    cpu: list[float] = field(default_factory=list)
    library: list[float] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    paced: list[float] = field(default_factory=list)
    blocks: list[list[float]] = field(default_factory=list)
    page: Page = Page(0.0, 0, b"")

    def own(self) -> list[float]:
        """Its CPU without the library's."""
        return [cpu - library for cpu, library in zip(self.cpu, self.library, strict=True)]

    def seconds(self) -> float:
        """CPU seconds it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """Resident memory, MiB."""
        match = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(match[1]) / 1024 if match else float("nan")

    def scrape(self) -> Page:
        """Ask as Prometheus does. Raises RuntimeError where it does not answer with metrics."""
        begun = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request("GET", "/metrics", headers={"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - begun
        connection.close()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"{self.name} answers {answer.status}")
        zipped = answer.getheader("Content-Encoding") == "gzip"
        return Page(took * 1000, len(body), gzip.decompress(body) if zipped else body)


def exporters(sink: str) -> Iterator[tuple[str, float, bool, list[str]]]:
    """Name, period, whether it is the peer, and how it is started."""
    ours, peer = str(BIN / "foreshock-exporter"), str(BIN / "nvitop-exporter")
    for period in (0.1, 0.25, 1.0):
        yield "foreshock-exporter", period, False, [ours, "--sampling.period", str(period)]
    yield "foreshock-exporter, OTLP", 0.1, False, [ours, "--sampling.period", "0.1", "--otlp.endpoint", sink]
    for period in (0.25, 1.0):
        yield "nvitop-exporter", period, True, [peer, "--interval", str(period)]


@contextmanager
def running(name: str, period: float, peer: bool, command: Sequence[str], double: Double) -> Iterator[Running]:
    """Start an exporter over the library; it is there once it tells of all GPUs."""
    port = free_port()
    where = (
        ["--bind-address", "127.0.0.1", "--port", str(port)] if peer else ["--web.listen-address", f"127.0.0.1:{port}"]
    )
    process = subprocess.Popen(
        [*command, *where], env=double.environment(os.environ), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert process.stderr
    told: list[bytes] = []
    reader = threading.Thread(target=lambda: told.extend(process.stderr or ()), daemon=True)
    reader.start()
    one = Running(name, period, peer, port, double, process.pid)
    try:
        if not _there(one, process):
            raise RuntimeError(f"{name} does not tell of its GPUs; it says: {b''.join(told).decode()}")
        yield one
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(10)
        reader.join()


def _there(one: Running, process: subprocess.Popen[bytes]) -> bool:
    wanted = re.compile(rb"^gpu_power\w+\{", re.MULTILINE)
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if len(wanted.findall(one.scrape().text)) >= GPUS:
                return True
        except OSError:
            pass
        time.sleep(0.1)
    return False


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Sink(BaseHTTPRequestHandler):
    """Takes what is pushed by OTLP/HTTP."""

    protocol_version = "HTTP/1.1"
    pushes = 0
    """By all requests."""

    def do_POST(self) -> None:
        """Accept all of it."""
        self.rfile.read(int(self.headers["Content-Length"]))
        Sink.pushes += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the base class has it
        """Say nothing."""


@contextmanager
def sink() -> Iterator[str]:
    """A local receiver of OTLP; gives its address. Raises RuntimeError where nothing was pushed to it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Sink) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
    if not Sink.pushes:
        raise RuntimeError("nothing was pushed by OTLP")
