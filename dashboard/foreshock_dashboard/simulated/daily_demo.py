"""The demo's scenario `daily-peak`: a day that is played fast, in lockstep with the hub.

The clock advances only once the samples of a step are stored and evaluated. So a slow machine plays the same day.
"""

from __future__ import annotations

import math
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from foreshock_dashboard.common.clock import Clock
from foreshock_dashboard.common.process import tune_process
from foreshock_dashboard.hub.analysis_loop import SETTLE_SECONDS
from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.world_sections import DAY_SECONDS
from foreshock_dashboard.settings.option_types import EXPORTER_PORT
from foreshock_dashboard.settings.settings import Settings
from foreshock_dashboard.simulated.backfill import backfill
from foreshock_dashboard.simulated.daily_traffic import DailyTraffic
from foreshock_dashboard.simulated.demo import DemoOptions, fill, open_browser, print_url
from foreshock_dashboard.simulated.endpoints import RenderPage, merge_pages
from foreshock_dashboard.simulated.load_history import GAP_SECONDS, token_counts
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_exporter.exposition.text_format import render
from foreshock_simulator.scenarios.load import load
from foreshock_simulator.simulation import CLUSTER_JOB, EXPORTER_JOB, SERVERS_JOB, Simulation, exporters

STEP_SECONDS = 60.0
"""Simulated time of a step: the scrape interval, and the evaluation interval."""
SAMPLING_SECONDS = 10.0
"""Simulated time between two GPU samples."""
MIN_STEP_WALL_SECONDS = 0.4
"""Shortest wall-clock time of a step, so that a person can follow: a day takes `MIN_DAY_MINUTES` or longer."""
MIN_DAY_MINUTES = DAY_SECONDS / STEP_SECONDS * MIN_STEP_WALL_SECONDS / 60.0
WARMUP_SECONDS = 600.0
"""Simulated time in which queues and caches fill, before anything is stored."""
BADGE = "Simulated, 1 min/step"


class SimulatedDay:
    """A simulated platform and the hub that monitors it, whose clock advances by steps.

    start: Unix seconds. The hub's store has eight days of load, and all signals of the last three hours before.
    """

    def __init__(self, start: float, seed: int, folder: Path, options: Mapping[str, Any]) -> None:
        spec = load(Path(__file__).with_name("daily-peak.yaml"))
        traffic = DailyTraffic(start // DAY_SECONDS * DAY_SECONDS, spec.platform.flows[0].rate)
        begin = start - GAP_SECONDS
        self.now = start
        self.simulation = Simulation(traffic.follow(spec, begin - WARMUP_SECONDS), seed, begin - WARMUP_SECONDS)
        self.simulation.advance(begin)
        self._exporters = exporters(self.simulation, lambda: self.simulation.now)
        self._pages = [*self._targets()]
        settings = Settings(
            otlp_grpc_port=0,
            otlp_http_port=0,
            store_path=folder,
            scrape_interval=STEP_SECONDS,
            evaluation_interval=STEP_SECONDS,
            **options,
        )
        self.hub = Hub(settings, Clock(wall=lambda: self.now, steady=lambda: self.now), badge=BADGE)
        replicas, (_, servers) = [*token_counts(self._pages)], self._pages[0]
        self.hub.store.append_samples([*traffic.history(spec, servers.target_labels, replicas, begin, seed)])

    def fill(self, stop: threading.Event) -> bool:
        """Simulate the hours before the start; false if `stop` is set meanwhile."""
        is_filled = fill(self._play(self.now), self.now, GAP_SECONDS, stop)
        self.now += SETTLE_SECONDS  # evaluations reach until so long before the present
        return is_filled

    def step(self) -> None:
        """Simulate a step, store it, let the clock reach its end, and evaluate it."""
        end = self.now + STEP_SECONDS
        for _ in self._play(end - SETTLE_SECONDS):
            pass
        self.now = end
        self.hub.step()

    def _play(self, until: float) -> Iterator[float]:
        hosts, pages = self._exporters, self._pages
        return backfill(self.simulation, hosts, pages, [], self.hub, SAMPLING_SECONDS, until, STEP_SECONDS)

    def _targets(self) -> Iterator[tuple[RenderPage, ScrapeTarget]]:
        """The metrics of model servers, cluster, and hosts, none of which is served."""
        url, simulation = "http://127.0.0.1/metrics", self.simulation
        pages: dict[str, RenderPage] = {
            SERVERS_JOB: lambda: render(merge_pages(simulation.inference())),
            CLUSTER_JOB: lambda: render(simulation.capacity()),
        }
        for job, page in pages.items():
            yield page, ScrapeTarget(url, job, {"instance": job})
        for host, exporter in zip(simulation.hosts, self._exporters, strict=True):
            labels = {"instance": f"{host.host_name}:{EXPORTER_PORT}"}
            yield exporter.render, ScrapeTarget(url, EXPORTER_JOB, labels)


def play_day(options: DemoOptions, stop: threading.Event) -> None:
    """Play the present day (UTC) from midnight to midnight. Its pages stay until the duration ends or `stop` is set."""
    tune_process()
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="foreshock-demo-")))
        start = time.time() // DAY_SECONDS * DAY_SECONDS
        day = SimulatedDay(start, options.seed, folder, options.hub)
        opened.enter_context(closing(day.hub))
        if not day.fill(stop):
            return
        day.step()
        day.hub.start(in_steps=True)
        print_url(options, day.hub)
        print(
            f"Simulated day from 00:00 to 24:00 UTC, in at least {MIN_DAY_MINUTES:.1f} min. Press Ctrl-C to stop.",
            flush=True,
        )
        open_browser(options, day.hub)
        end = math.inf if options.duration is None else time.monotonic() + options.duration
        while day.now < start + DAY_SECONDS:
            begun = time.monotonic()
            if stop.is_set() or begun >= end:
                return
            day.step()
            stop.wait(max(0.0, begun + MIN_STEP_WALL_SECONDS - time.monotonic()))
        print("The day is over. Its pages stay until Ctrl-C.", flush=True)
        stop.wait(None if options.duration is None else max(0.0, end - time.monotonic()))
