"""Exporters that `make bench` and `make card` compare, each in a process: over a C library of tests/nvml, or a card."""

from __future__ import annotations

import gzip
import http.client
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.nvml.double import Double

from bench.support.process import BIN, MeasuredProcess, free_ports


@dataclass(frozen=True, slots=True)
class Page:
    """An answer to a scrape: milliseconds, bytes as sent, and the text."""

    took: float
    sent: int
    text: bytes


@dataclass(kw_only=True)
class Running(MeasuredProcess):
    """A running exporter and its measurements.

    cpu, library: percent of a core by window; the CPU time of the library is part of the CPU time. passes: over a GPU
    per second, by window. paced, blocks: milliseconds of scrapes.
    """

    name: str
    period: float
    peer: bool
    port: int
    double: Double | None
    gpus: int
    cpu: list[float] = field(default_factory=list)
    library: list[float] = field(default_factory=list)
    passes: list[float] = field(default_factory=list)
    paced: list[float] = field(default_factory=list)
    blocks: list[list[float]] = field(default_factory=list)
    page: Page = Page(0.0, 0, b"")

    def own(self) -> list[float]:
        """CPU percent without the library."""
        return [cpu - library for cpu, library in zip(self.cpu, self.library, strict=True)]

    def scrape(self) -> Page:
        """Scrape as Prometheus does.

        Raises:
            RuntimeError: the answer is an error.
        """
        started = time.perf_counter()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("GET", "/metrics", headers={"Accept": "text/plain;version=0.0.4", "Accept-Encoding": "gzip"})
        answer = connection.getresponse()
        body = answer.read()
        took = time.perf_counter() - started
        connection.close()
        if answer.status != HTTPStatus.OK:
            raise RuntimeError(f"{self.name} answers {answer.status}")
        zipped = answer.getheader("Content-Encoding") == "gzip"
        return Page(took * 1000, len(body), gzip.decompress(body) if zipped else body)


class Command(NamedTuple):
    """An exporter to run: its sampling period in seconds, whether it is a peer, and its arguments.

    `{port}` in an argument is the port of loopback at which it listens.
    """

    name: str
    period: float
    peer: bool
    arguments: tuple[str, ...]


def ours(period: float, *arguments: str) -> Command:
    """foreshock-exporter, with host metrics even if node_exporter runs, so that its work is always the same."""
    listens = ("--web.listen-address", "127.0.0.1:{port}", "--collector.host", "on")
    name = "foreshock-exporter, OTLP" if "--otlp.endpoint" in arguments else "foreshock-exporter"
    program = str(BIN / "foreshock-exporter")
    return Command(name, period, False, (program, *listens, "--sampling.period", str(period), *arguments))


def nvitop(period: float) -> Command:
    """nvitop-exporter."""
    listens = ("--bind-address", "127.0.0.1", "--port", "{port}")
    return Command("nvitop-exporter", period, True, (str(BIN / "nvitop-exporter"), *listens, "--interval", str(period)))


def exporters(sink: str) -> Iterator[Command]:
    """Exporters that `make bench` compares; `sink` receives OTLP."""
    yield from (ours(period) for period in (0.1, 0.25, 1.0))
    yield ours(0.1, "--otlp.endpoint", sink)
    yield from (nvitop(period) for period in (0.25, 1.0))


@contextmanager
def running(command: Command, double: Double | None, gpus: int) -> Iterator[Running]:
    """Start an exporter over the library, or else the host's NVML, and wait until it has metrics of all GPUs."""
    port = free_ports(1)[0]
    process = subprocess.Popen(
        [argument.format(port=port) for argument in command.arguments],
        env=double.environment(os.environ) if double else None,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr
    output: list[bytes] = []
    reader = threading.Thread(target=lambda: output.extend(process.stderr or ()), daemon=True)
    reader.start()
    exporter = Running(
        name=command.name,
        period=command.period,
        peer=command.peer,
        port=port,
        double=double,
        gpus=gpus,
        pid=process.pid,
    )
    try:
        if not _has_metrics(exporter, process):
            process.kill()
            reader.join()  # its output is complete
            raise RuntimeError(f"{command.name} does not report its GPUs; output: {b''.join(output).decode()}")
        yield exporter
    finally:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.wait(10)
        reader.join()


def _has_metrics(exporter: Running, process: subprocess.Popen[bytes]) -> bool:
    power = re.compile(rb"^(?:gpu_power_watts|gpu_power_usage_W|DCGM_FI_DEV_POWER_USAGE)\{", re.MULTILINE)
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if len(power.findall(exporter.scrape().text)) >= exporter.gpus:
                return True
        except (OSError, RuntimeError):  # it does not listen yet, or answers an error until it has read the GPUs
            pass
        time.sleep(0.1)
    return False


class Sink(BaseHTTPRequestHandler):
    """Receiver of OTLP/HTTP; discards everything."""

    protocol_version = "HTTP/1.1"
    pushes = 0
    """Number of all requests."""

    def do_POST(self) -> None:
        """Accept the request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        Sink.pushes += 1
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the inherited name
        """Stay quiet."""


@contextmanager
def sink() -> Iterator[str]:
    """Run a local receiver of OTLP; gives its address.

    Raises:
        RuntimeError: nothing was pushed to it.
    """
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
