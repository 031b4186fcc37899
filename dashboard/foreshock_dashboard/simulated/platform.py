"""The demo's platform: a simulation, its real exporters, and the pages that a hub scrapes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass

from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.samples import Labels
from foreshock_dashboard.settings.option_types import EXPORTER_PORT
from foreshock_dashboard.simulated.backfill import OF_HISTORY, TRACED_SECONDS, PlayConfig, backfill
from foreshock_dashboard.simulated.daily_course import daily_course, with_peak_ahead
from foreshock_dashboard.simulated.endpoints import RenderPage, merge_pages, serve_pages
from foreshock_dashboard.simulated.load_history import load_history, token_counts
from foreshock_dashboard.simulated.occupancy_spans import OccupancySpans
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_exporter.exporter import Exporter
from foreshock_exporter.exposition.text_format import render
from foreshock_exporter.web.server import serve as serve_exporter
from foreshock_simulator.scenarios.truth import onset
from foreshock_simulator.simulation import CLUSTER_JOB, EXPORTER_JOB, SERVERS_JOB, Simulation, exporters
from foreshock_simulator.spec.scenario import ScenarioSpec

DEMO_HISTORY_SECONDS = 2100.0
"""Simulated time before going live that is scraped: the analysis needs half an hour for its baselines."""
WARMUP_SECONDS = 300.0
"""Simulated time before the history for a scenario without an onset, in which queues and caches fill."""
ONSET_SECONDS = 20.0
"""Simulated time from going live to the first fault of the scenario."""
INTERVAL_SECONDS = 5.0
"""Scrape interval and evaluation interval."""


@dataclass(frozen=True, slots=True)
class DemoPlatform:
    """A simulation and what a hub reads of it.

    now: Unix seconds of going live. history: simulated seconds before it that are scraped.
    """

    simulation: Simulation
    hosts: Sequence[Exporter]
    occupancies: Sequence[OccupancySpans]
    pages: Sequence[tuple[RenderPage, ScrapeTarget]]
    now: float
    history: float

    def play(self, hub: Hub, until: float, config: PlayConfig = OF_HISTORY) -> Iterator[float]:
        """Play up to Unix seconds into the hub's store; yields the times reached."""
        return backfill(self.simulation, self.hosts, self.pages, self.occupancies, hub, until, config)

    def token_counts(self) -> Mapping[Labels, float]:
        """As `load_history.token_counts`."""
        return token_counts([(page, target) for page, target in self.pages if target.job == SERVERS_JOB])

    def write_load_history(self, hub: Hub, before: Mapping[Labels, float]) -> None:
        """Write the days of load before the history, which lead to the rates of the history.

        before: `token_counts` at its start.
        """
        rates = {
            labels: (count - before.get(labels, 0.0)) / self.history for labels, count in self.token_counts().items()
        }
        course = daily_course(self.simulation.spec)
        hub.store.append_samples([*load_history(rates, self.now, course.ratios if course else None)])


def demo_platform(spec: ScenarioSpec, seed: int, now: float, opened: ExitStack) -> DemoPlatform:
    """The platform of a scenario at the start of its history. now: Unix seconds of going live."""
    spec = with_peak_ahead(spec, now)
    first_fault = onset(spec)
    before = DEMO_HISTORY_SECONDS + WARMUP_SECONDS
    if first_fault is not None:
        before = max(INTERVAL_SECONDS, first_fault - ONSET_SECONDS)
    history = min(DEMO_HISTORY_SECONDS, before)
    simulation = Simulation(spec, seed, now - before)
    simulation.advance(now - history)
    occupancies = [OccupancySpans(host.host_id, host.host_name, now - TRACED_SECONDS) for host in simulation.hosts]
    hosts = exporters(simulation, lambda: simulation.now, [item.observe for item in occupancies])
    pages = [*_exporter_pages(simulation, hosts, opened), *_other_pages(simulation, opened)]
    return DemoPlatform(simulation, hosts, occupancies, pages, now, history)


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
