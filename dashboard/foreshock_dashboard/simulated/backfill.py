"""Backfill: simulated history, written into the hub's store as if it had been scraped and received."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.simulated.endpoints import RenderPage
from foreshock_dashboard.simulated.occupancy import OccupancySpans
from foreshock_dashboard.simulated.recorder import to_span
from foreshock_dashboard.sources.prometheus.scrape import ScrapeTarget
from foreshock_dashboard.sources.prometheus.text_format import SeriesCache, parse
from foreshock_exporter.exporter import Exporter
from foreshock_simulator.simulation import Simulation

CHUNK_SECONDS = 60.0
"""Simulated time written together."""
TRACED_SECONDS = 300.0
"""Simulated time before the end in which spans are stored as traces; earlier spans are only counted."""
SCRAPE_SECONDS, SAMPLING_SECONDS = 10.0, 5.0
"""Time between two scrapes, and between two GPU samples before traces are stored."""


class Backfill:
    """Plays a simulation and stores what its exporters and services emit, parsed and paired as in a live hub.

    sampling: seconds between two GPU samples while traces are stored.
    """

    def __init__(
        self,
        simulation: Simulation,
        hosts: Sequence[Exporter],
        pages: Sequence[tuple[RenderPage, ScrapeTarget]],
        occupancies: Sequence[OccupancySpans],
        hub: Hub,
        sampling: float,
    ) -> None:
        self._simulation = simulation
        self._hosts, self._pages = tuple(hosts), tuple(pages)
        self._occupancies = tuple(occupancies)
        self._hub = hub
        self._sampling = sampling
        self._known: list[SeriesCache] = [{} for _ in pages]

    def play(self, until: float) -> Iterator[float]:
        """Advance to `until` (Unix seconds) and store everything; yields the reached time after each chunk."""
        pending: list[SampleBatch] = []
        now = written = self._simulation.now
        scrape = now + SCRAPE_SECONDS
        while now < until:
            is_traced = now + SAMPLING_SECONDS > until - TRACED_SECONDS
            now = min(now + (self._sampling if is_traced else SAMPLING_SECONDS), until)
            spans = [to_span(span) for span in self._simulation.advance(now)]
            self._hub.pipeline.count(spans, now)
            if now >= until - TRACED_SECONDS and spans:
                self._hub.store.append_spans(spans)
            for exporter in self._hosts:
                exporter.sample(now)
            if occupancy_spans := [
                span for occupancy in self._occupancies for span in occupancy.take(last=now >= until)
            ]:
                self._hub.store.append_spans(occupancy_spans)
            if now >= scrape:
                pending += self._scrape(now)
                scrape += SCRAPE_SECONDS
            if now - written >= CHUNK_SECONDS or now >= until:
                self._hub.store.append_samples(pending)
                pending, written = [], now
                yield now

    def _scrape(self, now: float) -> list[SampleBatch]:
        own = self._hub.pipeline.collect(now)
        self._hub.pipeline.mark_written()
        batches = [own]
        for (page, target), known in zip(self._pages, self._known, strict=True):
            samples = parse(page().decode(), target.target_labels, known)
            up = Sample("up", labels_of(target.target_labels), 1.0)
            batches.append(SampleBatch(now, target.instance, (up, *samples)))
        return batches
