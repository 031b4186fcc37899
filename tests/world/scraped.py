"""Pages of exporters and servers, scraped into a real store and read as a World."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from foreshock_dashboard.model.samples import STALE, Labels, Sample, SampleBatch, labels_of
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.world import World
from foreshock_dashboard.sources.prometheus.text_format import parse
from foreshock_dashboard.store import Store
from foreshock_dashboard.world.builder import WorldBuilder, catalog
from foreshock_dashboard.world.histogram_quantiles import QuantileReducer
from foreshock_dashboard.world.observer import fetch_catalog

START = 1_800_000_000.0
INTERVAL = 10.0

Page = Callable[[float], str | None]
"""Page of a target, by seconds after `START`; None while it is down."""


def world_scraped(
    folder: Path,
    pages: Mapping[tuple[str, str], Page],
    seconds: float = 120.0,
    tiers: Mapping[Service, str] | None = None,
) -> World:
    """The World after `seconds` of scrapes of targets (job, instance). `tiers`: as configured in the hub."""
    store = Store.open(folder, now=lambda: START + seconds)
    try:
        for (job, instance), page in pages.items():
            labels, before, batches = {"job": job, "instance": instance}, dict[tuple[str, Labels], Sample](), []
            for i in range(int(seconds / INTERVAL) + 1):
                text = page(i * INTERVAL)
                found = {(sample.metric, sample.labels): sample for sample in parse(text or "", labels)}
                gone = [Sample(metric, known, STALE) for metric, known in before.keys() - found.keys()]
                up = Sample("up", labels_of(labels), 0.0 if text is None else 1.0)
                batches.append(SampleBatch(START + i * INTERVAL, instance, (*found.values(), *gone, up)))
                before = found
            store.append_samples(batches)
        readings, _ = fetch_catalog(store, catalog(59.0), START, START + seconds, INTERVAL)
    finally:
        store.close()
    return WorldBuilder(INTERVAL, tiers=tiers or {}).add(QuantileReducer()(readings))
