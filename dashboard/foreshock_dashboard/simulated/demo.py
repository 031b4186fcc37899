"""The demo: a simulated platform, its exporters, and a hub that reads it as it would read a real one."""

from __future__ import annotations

import math
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
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.simulated.daily_course import daily_course
from foreshock_dashboard.simulated.load_history import PEAK_AHEAD_SECONDS
from foreshock_dashboard.simulated.occupancy_spans import OccupancySpans
from foreshock_dashboard.simulated.platform import INTERVAL_SECONDS, demo_platform
from foreshock_dashboard.simulated.scenarios import scenario_path
from foreshock_exporter.attribution.container import host_join_keys
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.otlp.pusher import OtlpPusher
from foreshock_simulator.emitter import Emitter
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.scenarios.truth import onset

MIN_WALL_INTERVAL_SECONDS = 0.6
"""Wall-clock time between two scrapes, and between two evaluations, at least: two slow cores manage that."""
SAMPLES_PER_INTERVAL = 5
"""Fast samples of an exporter between two scrapes."""


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
        interval = scrape_interval(options.speed)
        platform = demo_platform(load(scenario_path(options.scenario), options.size), options.seed, wall.origin, opened)
        simulation, occupancies, hosts = platform.simulation, platform.occupancies, platform.hosts
        settings = Settings(
            otlp_grpc_port=0,
            otlp_http_port=0,
            store_path=folder,
            scrape_interval=interval,
            evaluation_interval=interval,
            **options.hub,
        )
        hub = opened.enter_context(closing(Hub(settings, clock, [target for _, target in platform.pages])))
        tokens = platform.token_counts()
        if not _fill(platform.play(hub, wall.origin), wall.origin, platform.history, stop):
            return
        platform.write_load_history(hub, tokens)
        if daily_course(simulation.spec):  # whose hours pass in minutes: its forecast is there when it begins
            hub.evaluate()
            hub.forecast_capacity()
        wall.release()
        endpoint = f"http://127.0.0.1:{hub.http.port}"
        for occupancy, exporter in zip(occupancies, hosts, strict=True):
            _push(occupancy, exporter, clock, endpoint, interval, opened)
        _sample(hosts, clock, interval / SAMPLES_PER_INTERVAL, opened)
        hub.start()
        emitter = opened.enter_context(closing(Emitter(simulation, clock, endpoint)))
        emitter.start()
        url = hub.web.url.replace("//0.0.0.0:", "//127.0.0.1:")  # all interfaces: this one is one of them
        print(f"foreshock demo ({options.scenario}, seed {options.seed}): {url}", flush=True)
        first_fault = onset(simulation.spec)
        if daily_course(simulation.spec):
            print(f"Daily peak at {_utc(wall.origin + PEAK_AHEAD_SECONDS)}.", flush=True)
        elif first_fault is not None:
            print(f"First fault at {_utc(simulation.start + first_fault)}.", flush=True)
        print("Simulated platform. Press Ctrl-C to stop.", flush=True)
        if options.open_browser and any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")):
            webbrowser.open(hub.web.url)
        stop.wait(options.duration)


def scrape_interval(speed: float) -> float:
    """Simulated seconds between two scrapes, and between two evaluations, at a speed: whole ones, at least 5."""
    return max(INTERVAL_SECONDS, float(math.ceil(speed * MIN_WALL_INTERVAL_SECONDS)))


def _utc(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _fill(chunks: Iterator[float], until: float, history: float, stop: threading.Event) -> bool:
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


def _sample(hosts: Sequence[Exporter], clock: Clock, period: float, opened: ExitStack) -> None:
    """Sample all hosts in one thread: their drivers are one simulation, which is not thread-safe."""
    ended = threading.Event()

    def sample() -> None:
        while not ended.wait(clock.wall_seconds(period)):
            for exporter in hosts:
                exporter.sample()

    thread = threading.Thread(target=sample, daemon=True, name="exporters")
    thread.start()
    opened.callback(thread.join)
    opened.callback(ended.set)


def _push(
    occupancy: OccupancySpans, exporter: Exporter, clock: Clock, endpoint: str, interval: float, opened: ExitStack
) -> None:
    """Push an exporter's occupancy spans as a real exporter does; the hub scrapes its metrics."""
    pusher = OtlpPusher(
        endpoint,
        exporter.snapshot,
        occupancy.resource,
        interval,
        clock.now,
        environ={"OTEL_METRICS_EXPORTER": "none"},
        join_keys=host_join_keys,
    )
    occupancy.start_push(pusher)
    pusher.start()
    opened.callback(pusher.close)
