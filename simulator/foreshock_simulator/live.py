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
from foreshock_simulator.simulation import Simulation, exporters

QUIET = 2100.0
"""Seconds before the first fault: half an hour is what a hub learns from."""
SAMPLING = 1.0
"""Seconds between two fast samples of an exporter."""
JOBS = {"hosts": "foreshock-exporter", "model-servers": "model-servers", "cluster": "kube-state-metrics"}
"""Prometheus' job of each kind of page."""

Pages = Callable[[], Mapping[str, Callable[[], bytes]]]
"""What there is to scrape now, by path; model servers come and go."""


class WallClock:
    """Time as it is."""

    def now(self) -> float:
        """Unix seconds."""
        return time.time()

    def wall_seconds(self, seconds: float) -> float:
        """The same."""
        return seconds


class Platform:
    """A scenario that runs on the wall clock.

    Args:
        simulation: the scenario, not yet begun.
        otlp: where its spans go, such as http://127.0.0.1:4318.
        clock: the wall clock.
    """

    def __init__(self, simulation: Simulation, otlp: str, clock: WallClock) -> None:
        self._simulation, self._clock = simulation, clock
        self._emitter = Emitter(simulation, clock, otlp)
        self._pushes: list[OtlpPusher] = []
        observe = [self._observer(at) for at in range(len(simulation.hosts))]
        self._exporters = exporters(simulation, lambda: simulation.now, observe)
        self._pushes += [self._push(at, exporter, otlp) for at, exporter in enumerate(self._exporters)]
        self._ended = threading.Event()
        self._sampler = threading.Thread(target=self._sample, daemon=True, name="exporters")

    def start(self) -> None:
        """Begin: spans are sent and GPUs sampled from here on."""
        self._emitter.start()
        for push in self._pushes:
            push.start()
        self._sampler.start()

    def close(self) -> None:
        """End it, and send what is left."""
        self._ended.set()
        self._sampler.join()
        for push in self._pushes:
            push.close()
        self._emitter.close()

    def pages(self) -> Mapping[str, Callable[[], bytes]]:
        """What there is to scrape now, by path: `/hosts/HOST:PORT` and the like."""
        found: dict[str, Callable[[], bytes]] = {
            f"/hosts/{host.host_name}:10877": exporter.render
            for host, exporter in zip(self._simulation.hosts, self._exporters, strict=True)
        }
        for server, told in self._simulation.inference().items():
            found[f"/model-servers/{server}"] = lambda told=told: render(told)  # type: ignore[misc]
        found["/cluster/kube-state-metrics:8080"] = lambda: render(self._simulation.capacity())
        return found

    def _observer(self, at: int) -> Callable[[Observation], None]:
        return lambda observation: self._pushes[at].observe(observation)

    def _push(self, at: int, exporter: Exporter, otlp: str) -> OtlpPusher:
        host = self._simulation.hosts[at]
        resource = {"host.id": host.host_id, "host.name": host.host_name, "foreshock.mock": "true"}
        traces_alone = {"OTEL_METRICS_EXPORTER": "none"}
        return OtlpPusher(
            otlp, exporter.snapshot, resource, 10.0, self._clock.now, environ=traces_alone, join_keys=host_join_keys
        )

    def _sample(self) -> None:
        """Sample all hosts in one thread: their drivers are one simulation, which only one at a time can run."""
        while not self._ended.wait(SAMPLING):
            for exporter in self._exporters:
                exporter.sample()


def targets(paths: Sequence[str], address: str) -> list[dict[str, object]]:
    """Prometheus' HTTP service discovery: every page at `address` (host:port), with its job and instance."""
    found: list[dict[str, object]] = []
    for path in paths:
        _, kind, instance = path.split("/", 2)
        labels = {"__metrics_path__": path, "job": JOBS[kind], "instance": instance, "environment": "demo"}
        found.append({"targets": [address], "labels": labels})
    return found


def server(pages: Pages, host: str, port: int) -> ThreadingHTTPServer:
    """An HTTP server of the pages and of `/targets`; not yet serving."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            there = pages()
            if self.path == "/targets":
                address = self.headers.get("Host", f"127.0.0.1:{port}")
                self._answer(200, "application/json", json.dumps(targets(list(there), address)).encode())
            elif page := there.get(self.path):
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

    made = ThreadingHTTPServer((host, port), Handler)
    made.daemon_threads = True
    return made


def main(words: Sequence[str] | None = None) -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m foreshock_simulator.live", description=__doc__)
    parser.add_argument("--otlp", required=True, metavar="URL", help="where spans go: http://collector:4318")
    parser.add_argument("--scenario", default="starve", choices=names(), metavar="NAME", help="default: starve")
    parser.add_argument("--size", default="small", choices=SIZES, help="of the platform (default: small)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same platform (default: 1)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, default=9400, help="0: a free one (default: 9400)")
    given = parser.parse_args(words)
    stop = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda _number, _frame: stop.set())
    spec, clock = load(given.scenario, given.size), WallClock()
    simulation = Simulation(spec, given.seed, clock.now() - max(0.0, (onset(spec) or 0.0) - QUIET))
    simulation.advance(clock.now())
    with ExitStack() as opened:
        platform = opened.enter_context(closing(Platform(simulation, given.otlp, clock)))
        pages = opened.enter_context(server(platform.pages, given.host, given.port))
        platform.start()
        opened.callback(pages.shutdown)
        threading.Thread(target=pages.serve_forever, daemon=True, name="pages").start()
        print(f"simulated platform ({given.scenario}): http://{given.host}:{pages.server_port}/targets", flush=True)
        stop.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
