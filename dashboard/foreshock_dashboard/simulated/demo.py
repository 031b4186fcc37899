"""`foreshock demo`: a simulated platform, its exporters, and a hub that sees of it what it would see of a real one."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
import webbrowser
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.shutdown import stop_on_signals
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.hub.process_tuning import tune_process
from foreshock_dashboard.recording.occupancy import OccupancySpans
from foreshock_dashboard.settings.option_types import parse_duration, parse_port
from foreshock_dashboard.settings.settings import Settings, parse_flag
from foreshock_dashboard.simulated.backfill import TRACED_SECONDS, Backfill
from foreshock_dashboard.simulated.endpoints import Page, merge_pages, serve_pages
from foreshock_dashboard.sources.prometheus.scrape import ScrapeTarget
from foreshock_exporter.attribution.container import host_join_keys
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.otlp.pusher import OtlpPusher
from foreshock_exporter.web.server import serve as serve_exporter
from foreshock_simulator.emitter import Emitter
from foreshock_simulator.scenarios.load import load, names
from foreshock_simulator.scenarios.platforms.topology import SIZES
from foreshock_simulator.scenarios.truth import onset
from foreshock_simulator.simulation import Simulation, exporters

HISTORY = 2100.0
"""Simulated seconds before going live that are scraped: half an hour is what the analysis learns from."""
UNSEEN = 300.0
"""Simulated seconds before those, where the scenario has no onset; then queues and caches are as they usually are."""
ONSET = 20.0
"""Simulated seconds after going live when the scenario's first fault begins."""
INTERVAL = 5.0
"""Seconds between two scrapes and between two ticks."""
SAMPLING = 1.0
"""Seconds between two fast samples of an exporter."""
JOB, SERVERS, CLUSTER = "foreshock-exporter", "model-servers", "kube-state-metrics"
FASTEST = 60.0


class PausedClock:
    """A wall clock that stands still until it is released."""

    def __init__(self) -> None:
        self.origin = time.time()
        self._released: float | None = None

    def __call__(self) -> float:
        """Unix seconds."""
        return self.origin + (time.time() - self._released if self._released is not None else 0.0)

    def release(self) -> None:
        """Let it run."""
        self._released = time.time()


def add_demo_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the demo."""
    parser.add_argument(
        "--scenario", default="starve", choices=names(), help="what happens (default: starve)", metavar="NAME"
    )
    parser.add_argument("--size", default="demo", choices=SIZES, help="of the platform (default: demo)")
    parser.add_argument("--speed", default="1", metavar="N", help="run N times as fast as the wall clock (default: 1)")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="same seed, same platform (default: 1)")
    parser.add_argument("--duration", metavar="T", help="stop after this much wall time: 150, 5m (default: never)")
    parser.add_argument(
        "--port", default="8050", metavar="PORT", help="port of the page; 0: a free one (default: 8050)"
    )
    parser.add_argument("--no-browser", action="store_true", help="do not open the page in a browser")


class DemoOptions(NamedTuple):
    """What flags say in numbers: the page's port, seconds until the end (None: never), times the wall clock's speed."""

    port: int
    duration: float | None
    speed: float


def demo_options(arguments: argparse.Namespace) -> DemoOptions:
    """Read the numbers among the flags; starts nothing.

    Raises:
        SettingsError: one of them makes no sense.
    """
    return DemoOptions(
        parse_flag("--port", parse_port, arguments.port),
        parse_flag("--duration", parse_duration, arguments.duration) if arguments.duration else None,
        parse_flag("--speed", _speed, arguments.speed),
    )


def run_demo(arguments: argparse.Namespace) -> int:
    """As `demo`, until SIGINT or SIGTERM at the latest."""
    with stop_on_signals() as stop:
        return demo(arguments, stop)


def demo(arguments: argparse.Namespace, stop: threading.Event) -> int:
    """Run the demo until its duration is over or it is told to stop."""
    page_port, duration, speed = demo_options(arguments)
    logging.basicConfig(level="WARNING", format="%(levelname)s %(name)s: %(message)s")
    tune_process()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-demo-")))
        wall = PausedClock()
        clock = Clock(speed, wall.origin, wall.origin, wall)
        spec = load(arguments.scenario, arguments.size)
        begins = onset(spec)
        before = HISTORY + UNSEEN if begins is None else max(INTERVAL, begins - ONSET)
        history = min(HISTORY, before)
        simulation = Simulation(spec, arguments.seed, wall.origin - before)
        simulation.advance(wall.origin - history)
        told = [OccupancySpans(host.host_id, host.host_name, wall.origin - TRACED_SECONDS) for host in simulation.hosts]
        hosts = exporters(simulation, lambda: simulation.now, [each.observe for each in told])
        pages: list[tuple[Page, ScrapeTarget]] = []
        for host, exporter in zip(simulation.hosts, hosts, strict=True):
            server = opened.enter_context(closing(serve_exporter(exporter, "127.0.0.1", 0)))
            url = f"http://127.0.0.1:{server.port}/metrics"
            pages.append((exporter.render, ScrapeTarget(url, JOB, {"instance": f"{host.host_name}:10877"})))
        others = {
            SERVERS: lambda: render(merge_pages(simulation.inference())),
            CLUSTER: lambda: render(simulation.capacity()),
        }
        base = opened.enter_context(serve_pages({f"/{job}": page for job, page in others.items()}))
        pages += [(page, ScrapeTarget(f"{base}/{job}", job, {"instance": job})) for job, page in others.items()]
        settings = Settings(
            port=page_port,
            otlp_grpc_port=0,
            otlp_http_port=0,
            store=folder,
            scrape_interval=INTERVAL,
            step=INTERVAL,
        )
        hub = opened.enter_context(closing(Hub(settings, clock, [target for _, target in pages])))
        past = Backfill(simulation, hosts, pages, told, hub, SAMPLING)
        if not _play(past, wall.origin, history, stop):
            return 0
        wall.release()
        for each, exporter in zip(told, hosts, strict=True):
            _push_on(each, exporter, clock, f"http://127.0.0.1:{hub.http.port}", opened)
        _sample_on(hosts, clock, opened)
        hub.start()
        opened.enter_context(closing(_started(Emitter(simulation, clock, f"http://127.0.0.1:{hub.http.port}"))))
        print(f"foreshock demo ({arguments.scenario}, seed {arguments.seed}): {hub.web.url}", flush=True)
        print("the platform is simulated; Ctrl-C ends it", flush=True)
        if not arguments.no_browser and any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
            webbrowser.open(hub.web.url)
        stop.wait(duration)
    return 0


def _play(past: Backfill, until: float, history: float, stop: threading.Event) -> bool:
    """Play the past, telling how far it is; false where it was told to stop."""
    begun = time.monotonic()
    shown = sys.stderr.isatty()
    if not shown:
        print(f"playing {history / 60:.0f} min of history, which takes a minute or two", file=sys.stderr, flush=True)
    for reached in past.play(until):
        if stop.is_set():
            return False
        minutes = (history - (until - reached)) / 60
        if shown:
            print(f"\rplaying {minutes:.0f} of {history / 60:.0f} min of history", end="", file=sys.stderr, flush=True)
    took = time.monotonic() - begun
    start = "\r" if shown else ""
    print(f"{start}played {history / 60:.0f} min of history in {took:.0f} s", file=sys.stderr, flush=True)
    return True


def _sample_on(hosts: tuple[Exporter, ...], clock: Clock, opened: ExitStack) -> None:
    """Sample all hosts in one thread: their drivers are one simulation, which only one at a time can run."""
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(clock.wall_seconds(SAMPLING)):
            for exporter in hosts:
                exporter.sample()

    thread = threading.Thread(target=sample, daemon=True, name="exporters")
    thread.start()
    opened.callback(thread.join)
    opened.callback(ended.set)


def _push_on(told: OccupancySpans, exporter: Exporter, clock: Clock, endpoint: str, opened: ExitStack) -> None:
    """Let an exporter push its occupancy as a real one does; the hub scrapes the readings."""
    traces_alone = {"OTEL_METRICS_EXPORTER": "none"}
    push = OtlpPusher(
        endpoint, exporter.snapshot, told.resource, INTERVAL, clock.now, environ=traces_alone, join_keys=host_join_keys
    )
    told.start_push(push)
    push.start()
    opened.callback(push.close)


def _started(emitter: Emitter) -> Emitter:
    emitter.start()
    return emitter


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed <= FASTEST:
        raise ValueError(f"is not a number above 0 and up to {FASTEST:.0f}")
    return speed
