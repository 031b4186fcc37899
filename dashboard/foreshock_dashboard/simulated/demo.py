"""The demo: a simulated platform, its exporters, and a hub that reads it as it would read a real one."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
import webbrowser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.process import tune_process
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.settings.option_types import EXPORTER_PORT
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.simulated.backfill import TRACED_SECONDS, backfill
from foreshock_dashboard.simulated.endpoints import RenderPage, merge_pages, serve_pages
from foreshock_dashboard.simulated.load_history import load_history, token_counts
from foreshock_dashboard.simulated.occupancy_spans import OccupancySpans
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_exporter.attribution.container import host_join_keys
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.otlp.pusher import OtlpPusher
from foreshock_exporter.web.server import serve as serve_exporter
from foreshock_simulator.emitter import Emitter
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.scenarios.truth import onset
from foreshock_simulator.simulation import CLUSTER_JOB, EXPORTER_JOB, SERVERS_JOB, Simulation, exporters

DEMO_HISTORY_SECONDS = 2100.0
"""Simulated time before going live that is scraped: the analysis needs half an hour for its baselines."""
WARMUP_SECONDS = 300.0
"""Simulated time before the history for a scenario without an onset, in which queues and caches fill."""
ONSET_SECONDS = 20.0
"""Simulated time from going live to the first fault of the scenario."""
INTERVAL_SECONDS = 5.0
"""Scrape interval and evaluation interval."""
SAMPLING_SECONDS = 1.0
"""Time between two fast samples of an exporter."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Options of the demo.

    Attributes:
        scenario: name of a built-in one, or a file.
        speed: times as fast as the wall clock.
        duration: wall-clock seconds until the end; None runs until stopped.
        hub: further fields of the hub's `Settings`.
    """

    scenario: str
    size: str
    seed: int
    speed: float
    duration: float | None
    open_browser: bool
    hub: Mapping[str, Any]


class PausedClock:
    """A wall clock, in Unix seconds, that is stopped until it is released."""

    def __init__(self) -> None:
        self.origin = time.time()
        self._released: float | None = None

    def __call__(self) -> float:
        """Unix seconds."""
        return self.origin + (time.time() - self._released if self._released is not None else 0.0)

    def release(self) -> None:
        """Start the clock."""
        self._released = time.time()


def demo(options: DemoOptions, stop: threading.Event) -> None:
    """Run the demo until its duration is over or `stop` is set."""
    tune_process()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-demo-")))
        wall = PausedClock()
        clock = Clock(options.speed, wall.origin, wall.origin, wall, wall)
        spec = load(options.scenario, options.size)
        first_fault = onset(spec)
        before = DEMO_HISTORY_SECONDS + WARMUP_SECONDS
        if first_fault is not None:
            before = max(INTERVAL_SECONDS, first_fault - ONSET_SECONDS)
        history = min(DEMO_HISTORY_SECONDS, before)
        simulation = Simulation(spec, options.seed, wall.origin - before)
        simulation.advance(wall.origin - history)
        occupancies = [
            OccupancySpans(host.host_id, host.host_name, wall.origin - TRACED_SECONDS) for host in simulation.hosts
        ]
        hosts = exporters(simulation, lambda: simulation.now, [item.observe for item in occupancies])
        pages = [*_exporter_pages(simulation, hosts, opened), *_other_pages(simulation, opened)]
        settings = Settings(
            otlp_grpc_port=0,
            otlp_http_port=0,
            store_path=folder,
            scrape_interval=INTERVAL_SECONDS,
            evaluation_interval=INTERVAL_SECONDS,
            **options.hub,
        )
        hub = opened.enter_context(closing(Hub(settings, clock, [target for _, target in pages])))
        servers = [(page, target) for page, target in pages if target.job == SERVERS_JOB]
        tokens = token_counts(servers)
        chunks = backfill(simulation, hosts, pages, occupancies, hub, SAMPLING_SECONDS, wall.origin)
        if not fill(chunks, wall.origin, history, stop):
            return
        rates = {labels: (count - tokens.get(labels, 0.0)) / history for labels, count in token_counts(servers).items()}
        hub.store.append_samples([*load_history(rates, wall.origin)])
        wall.release()
        endpoint = f"http://127.0.0.1:{hub.http.port}"
        for occupancy, exporter in zip(occupancies, hosts, strict=True):
            _push(occupancy, exporter, clock, endpoint, opened)
        _sample(hosts, clock, opened)
        hub.start()
        emitter = opened.enter_context(closing(Emitter(simulation, clock, endpoint)))
        emitter.start()
        print_url(options, hub)
        if first_fault is not None:
            begins = datetime.fromtimestamp(simulation.start + first_fault, UTC)
            print(f"First fault at {begins:%Y-%m-%dT%H:%M:%SZ}.", flush=True)
        print("Simulated platform. Press Ctrl-C to stop.", flush=True)
        open_browser(options, hub)
        stop.wait(options.duration)


def print_url(options: DemoOptions, hub: Hub) -> None:
    """Print where the pages are."""
    url = hub.web.url.replace("//0.0.0.0:", "//127.0.0.1:")  # all interfaces: this one is one of them
    print(f"foreshock demo ({options.scenario}, seed {options.seed}): {url}", flush=True)


def open_browser(options: DemoOptions, hub: Hub) -> None:
    """Open the pages where there is a desktop, unless the options say otherwise."""
    if options.open_browser and any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
        webbrowser.open(hub.web.url)


def _exporter_pages(
    simulation: Simulation, hosts: Sequence[Exporter], opened: ExitStack
) -> Iterator[tuple[RenderPage, ScrapeTarget]]:
    """Serve the metrics of each exporter, and yield the page and its scrape target."""
    for host, exporter in zip(simulation.hosts, hosts, strict=True):
        server = opened.enter_context(closing(serve_exporter(exporter, "127.0.0.1", 0)))
        url = f"http://127.0.0.1:{server.port}/metrics"
        yield exporter.render, ScrapeTarget(url, EXPORTER_JOB, {"instance": f"{host.host_name}:{EXPORTER_PORT}"})


def _other_pages(simulation: Simulation, opened: ExitStack) -> Iterator[tuple[RenderPage, ScrapeTarget]]:
    """Serve the metrics of the model servers and of the cluster, and yield each page and its scrape target."""
    pages: dict[str, RenderPage] = {
        SERVERS_JOB: lambda: render(merge_pages(simulation.inference())),
        CLUSTER_JOB: lambda: render(simulation.capacity()),
    }
    base = opened.enter_context(serve_pages({f"/{job}": page for job, page in pages.items()}))
    for job, page in pages.items():
        yield page, ScrapeTarget(f"{base}/{job}", job, {"instance": job})


def fill(chunks: Iterator[float], until: float, history: float, stop: threading.Event) -> bool:
    """Fill the store with the history and show the progress; false if `stop` is set."""
    begin = time.monotonic()
    is_terminal = sys.stderr.isatty()
    if not is_terminal:
        print(f"simulating {history / 60:.0f} min of history (one to two minutes)", file=sys.stderr, flush=True)
    for reached in chunks:
        if stop.is_set():
            return False
        minutes = (history - (until - reached)) / 60
        if is_terminal:
            print(f"\rsimulating history: {minutes:.0f} of {history / 60:.0f} min", end="", file=sys.stderr, flush=True)
    seconds = time.monotonic() - begin
    start = "\r" if is_terminal else ""
    print(f"{start}simulated {history / 60:.0f} min of history in {seconds:.0f} s", file=sys.stderr, flush=True)
    return True


def _sample(hosts: Sequence[Exporter], clock: Clock, opened: ExitStack) -> None:
    """Sample all hosts in one thread: their drivers are one simulation, which is not thread-safe."""
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(clock.wall_seconds(SAMPLING_SECONDS)):
            for exporter in hosts:
                exporter.sample()

    thread = threading.Thread(target=sample, daemon=True, name="exporters")
    thread.start()
    opened.callback(thread.join)
    opened.callback(ended.set)


def _push(occupancy: OccupancySpans, exporter: Exporter, clock: Clock, endpoint: str, opened: ExitStack) -> None:
    """Push an exporter's occupancy spans as a real exporter does; the hub scrapes its metrics."""
    pusher = OtlpPusher(
        endpoint,
        exporter.snapshot,
        occupancy.resource,
        INTERVAL_SECONDS,
        clock.now,
        environ={"OTEL_METRICS_EXPORTER": "none"},
        join_keys=host_join_keys,
    )
    occupancy.start_push(pusher)
    pusher.start()
    opened.callback(pusher.close)
