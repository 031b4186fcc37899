"""The past of a simulated platform, written into the hub's store as if it had been scraped and received."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.recording.occupancy import OccupancySpans
from foreshock_dashboard.recording.recorder import to_span
from foreshock_dashboard.simulated.endpoints import Page
from foreshock_dashboard.sources.prometheus.scrape import ScrapeTarget
from foreshock_dashboard.sources.prometheus.text_format import SeriesCache, parse
from foreshock_exporter.exporter import Exporter
from foreshock_simulator.simulation import Simulation

CHUNK = 60.0
"""Simulated seconds written together."""
TRACED_SECONDS = 300.0
"""Simulated seconds before the end whose spans are kept as traces; before that they are only counted."""
INTERVAL, LOOK = 10.0, 5.0
"""Seconds between two scrapes of the past, and between two samples of GPUs before traces are kept."""


class Backfill:
    """Plays a simulation and hands on what its exporters and services emit: the same text, the same pairing as live."""

    def __init__(
        self,
        simulation: Simulation,
        hosts: Sequence[Exporter],
        pages: Sequence[tuple[Page, ScrapeTarget]],
        told: Sequence[OccupancySpans],
        hub: Hub,
        sampling: float,
    ) -> None:
        self._simulation = simulation
        self._hosts, self._pages = tuple(hosts), tuple(pages)
        self._told = tuple(told)
        self._hub = hub
        self._sampling = sampling
        self._known: list[SeriesCache] = [{} for _ in pages]

    def play(self, until: float) -> Iterator[float]:
        """Advance to `until` (Unix seconds) and write all of it; yields the time reached after every minute or so."""
        pending: list[SampleBatch] = []
        now = written = self._simulation.now
        scrape = now + INTERVAL
        while now < until:
            look = LOOK if now + LOOK <= until - TRACED_SECONDS else self._sampling
            now = min(now + look, until)
            spans = [to_span(span) for span in self._simulation.advance(now)]
            self._hub.pipeline.count(spans, now)
            if now >= until - TRACED_SECONDS and spans:
                self._hub.store.append_spans(spans)
            for exporter in self._hosts:
                exporter.sample(now)
            if occupied := [span for told in self._told for span in told.take(last=now >= until)]:
                self._hub.store.append_spans(occupied)
            if now >= scrape:
                pending += self._scrape(now)
                scrape += INTERVAL
            if now - written >= CHUNK or now >= until:
                self._hub.store.append_samples(pending)
                pending, written = [], now
                yield now

    def _scrape(self, now: float) -> list[SampleBatch]:
        own = self._hub.pipeline.collect(now)
        self._hub.pipeline.mark_written(own)
        batches = [own]
        for (page, target), known in zip(self._pages, self._known, strict=True):
            samples = parse(page().decode(), target.target_labels, known)
            up = Sample("up", labels_of(target.target_labels), 1.0)
            batches.append(SampleBatch(now, target.instance, (up, *samples)))
        return batches
