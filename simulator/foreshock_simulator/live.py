"""`python -m foreshock_simulator.live`: a simulated platform for a stack that is not foreshock's own.

Its hosts, model servers and cluster are pages for a Prometheus to scrape, which finds them by HTTP (`/targets`); its
services send their spans to an OTLP receiver, such as a Collector.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from foreshock_exporter.attribution.container import host_join_keys
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.text_format import CONTENT_TYPE, render
from foreshock_exporter.gpu.occupancy import Observation
from foreshock_exporter.otlp.pusher import OtlpPusher
from foreshock_simulator.emitter import Emitter
from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.scenarios.platforms.topology import SIZES
from foreshock_simulator.scenarios.truth import onset
from foreshock_simulator.simulation import CLUSTER_JOB, EXPORTER_JOB, SERVERS_JOB, Simulation, exporters

WARM_UP_SECONDS = 2100.0
"""Time before the first fault: half an hour, from which a hub learns."""
SAMPLE_SECONDS = 1.0
"""Time between two fast samples of an exporter."""
JOBS = {"hosts": EXPORTER_JOB, "model-servers": SERVERS_JOB, "cluster": CLUSTER_JOB}
"""Prometheus job of each kind of target."""

Pages = Callable[[], Mapping[str, Callable[[], bytes]]]
"""Returns the present targets by path; model servers come and go."""


class WallClock:
    """The system clock."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def wall_seconds(self, seconds: float) -> float:
        """The duration itself."""
        return seconds


class Platform:
    """A scenario that runs on the wall clock. `otlp` is the receiver of its spans, such as http://127.0.0.1:4318."""

    def __init__(self, simulation: Simulation, otlp: str) -> None:
        self._simulation = simulation
        self._emitter = Emitter(simulation, WallClock(), otlp)
        observe = [self._observer(index) for index in range(len(simulation.hosts))]
        self._exporters = exporters(simulation, lambda: simulation.now, observe)
        self._pushes = [self._push(index, exporter, otlp) for index, exporter in enumerate(self._exporters)]
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True, name="exporters")

    def start(self) -> None:
        """Start to send spans and to sample GPUs."""
        self._emitter.start()
        for push in self._pushes:
            push.start()
        self._sampler.start()

    def close(self) -> None:
        """Stop, and send the remaining spans."""
        self._ended.set()
        self._sampler.join()
        for push in self._pushes:
            push.close()
        self._emitter.close()

    def pages(self) -> Mapping[str, Callable[[], bytes]]:
        """Scrape targets at present by path, such as `/hosts/HOST:PORT`."""
        targets: dict[str, Callable[[], bytes]] = {
            f"/hosts/{host.host_name}:10877": exporter.render
            for host, exporter in zip(self._simulation.hosts, self._exporters, strict=True)
        }
        for server, families in self._simulation.inference().items():
            targets[f"/model-servers/{server}"] = lambda families=families: render(families)  # type: ignore[misc]
        targets["/cluster/kube-state-metrics:8080"] = lambda: render(self._simulation.capacity())
        return targets

    def _observer(self, index: int) -> Callable[[Observation], None]:
        return lambda observation: self._pushes[index].observe(observation)

    def _push(self, index: int, exporter: Exporter, otlp: str) -> OtlpPusher:
        host = self._simulation.hosts[index]
        resource = {"host.id": host.host_id, "host.name": host.host_name, "foreshock.mock": "true"}
        traces_alone = {"OTEL_METRICS_EXPORTER": "none"}
        return OtlpPusher(
            otlp, exporter.snapshot, resource, 10.0, time.time, environ=traces_alone, join_keys=host_join_keys
        )

    def _sample(self) -> None:
        """Sample all hosts in one thread, since their drivers share one simulation."""
        while not self._ended.wait(SAMPLE_SECONDS):
            for exporter in self._exporters:
                exporter.sample()


def targets(paths: Sequence[str], address: str) -> list[dict[str, object]]:
    """Prometheus HTTP service discovery: all pages at `address` (host:port), with job and instance."""
    result: list[dict[str, object]] = []
    for path in paths:
        _, kind, instance = path.split("/", 2)
        labels = {"__metrics_path__": path, "job": JOBS[kind], "instance": instance, "environment": "demo"}
        result.append({"targets": [address], "labels": labels})
    return result


def server(pages: Pages, host: str, port: int) -> ThreadingHTTPServer:
    """An HTTP server of the pages and of `/targets`, not yet serving."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            current = pages()
            if self.path == "/targets":
                address = self.headers.get("Host", f"127.0.0.1:{port}")
                self._answer(200, "application/json", json.dumps(targets(list(current), address)).encode())
            elif page := current.get(self.path):
                self._answer(200, CONTENT_TYPE, page())
            else:
                self._answer(404, "text/plain", b"there is no such page; /targets lists all\n")

        def _answer(self, code: int, kind: str, body: bytes) -> None:
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the inherited name
            """Stay quiet."""

    http_server = ThreadingHTTPServer((host, port), Handler)
    http_server.daemon_threads = True
    return http_server


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m foreshock_simulator.live", description=__doc__)
    parser.add_argument(
        "--otlp", required=True, metavar="URL", help="OTLP/HTTP endpoint for spans, such as http://collector:4318"
    )
    parser.add_argument(
        "--scenario",
        default="noisy-neighbor",
        choices=names(),
        metavar="NAME",
        help="scenario (default: noisy-neighbor)",
    )
    parser.add_argument("--size", default="small", choices=SIZES, help="size of the platform (default: small)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="random seed (default: 1)")
    parser.add_argument("--host", default="127.0.0.1", help="bind address (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9400, help="port, 0 for a free one (default: 9400)")
    options = parser.parse_args(arguments)
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda _number, _frame: stop.set())
    spec = load(options.scenario, options.size)
    simulation = Simulation(spec, options.seed, time.time() - max(0.0, (onset(spec) or 0.0) - WARM_UP_SECONDS))
    simulation.advance(time.time())
    with ExitStack() as stack:
        platform = stack.enter_context(closing(Platform(simulation, options.otlp)))
        pages = stack.enter_context(server(platform.pages, options.host, options.port))
        platform.start()
        stack.callback(pages.shutdown)
        threading.Thread(target=pages.serve_forever, daemon=True, name="pages").start()
        print(f"simulated platform ({options.scenario}): http://{options.host}:{pages.server_port}/targets", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
