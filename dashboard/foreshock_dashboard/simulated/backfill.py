"""Backfill: simulated history, written into the hub's store as if it had been scraped and received."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from foreshock_dashboard.hub.hub import Hub
from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.simulated.endpoints import RenderPage
from foreshock_dashboard.simulated.occupancy_spans import OccupancySpans
from foreshock_dashboard.simulated.recorder import to_span
from foreshock_dashboard.sources.prometheus.target import ScrapeTarget
from foreshock_dashboard.sources.prometheus.text_format import SeriesCache, parse
from foreshock_exporter.exporter import Exporter
from foreshock_simulator.simulation import Simulation

CHUNK_SECONDS = 60.0
"""Simulated time written together."""
TRACED_SECONDS = 300.0
"""Simulated time before the end in which spans are stored as traces; earlier spans are only counted."""
SCRAPE_SECONDS, SAMPLING_SECONDS = 10.0, 5.0
"""Time between two scrapes, and between two GPU samples before traces are stored."""


def backfill(
    simulation: Simulation,
    hosts: Sequence[Exporter],
    pages: Sequence[tuple[RenderPage, ScrapeTarget]],
    occupancies: Sequence[OccupancySpans],
    hub: Hub,
    sampling: float,
    until: float,
    interval: float = SCRAPE_SECONDS,
) -> Iterator[float]:
    """Play a simulation to `until` (Unix seconds), and store what its exporters and services emit, as a live hub does.

    sampling: seconds between two GPU samples while traces are stored. interval: seconds between two scrapes. Yields the
    reached time after each chunk.
    """
    caches = [SeriesCache() for _ in pages]
    pending: list[SampleBatch] = []
    now = written = simulation.now
    scrape = now + interval
    while now < until:
        is_traced = now + SAMPLING_SECONDS > until - TRACED_SECONDS
        now = min(now + (sampling if is_traced else SAMPLING_SECONDS), until)
        spans = [to_span(span) for span in simulation.advance(now)]
        hub.pipeline.count(spans, now)
        if now >= until - TRACED_SECONDS and spans:
            hub.store.append_spans(spans)
        for exporter in hosts:
            exporter.sample(now)
        if occupancy_spans := [span for occupancy in occupancies for span in occupancy.take(last=now >= until)]:
            hub.store.append_spans(occupancy_spans)
        if now >= scrape:
            pending += [hub.pipeline.collect(now), *_scrape(pages, caches, now)]
            hub.pipeline.mark_written()
            scrape += interval
        if now - written >= CHUNK_SECONDS or now >= until:
            hub.store.append_samples(pending)
            pending, written = [], now
            yield now


def _scrape(
    pages: Sequence[tuple[RenderPage, ScrapeTarget]], caches: Sequence[SeriesCache], now: float
) -> Iterator[SampleBatch]:
    for (page, target), cache in zip(pages, caches, strict=True):
        up = Sample("up", labels_of(target.target_labels), 1.0)
        yield SampleBatch(now, target.instance, (up, *parse(page().decode(), target.target_labels, cache)))
