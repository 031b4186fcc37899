"""The scrape interval is estimated from samples."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foreshock_dashboard.model.samples import Sample, SampleBatch, labels_of
from foreshock_dashboard.store import Store
from foreshock_dashboard.world.observer import scrape_interval

NOW = 1_800_000_000.0
TARGETS = 9


@pytest.mark.parametrize("interval", [5.0, 10.0, 15.0, 30.0, 60.0, 300.0])
@pytest.mark.parametrize("lost", [0.0, 0.1], ids=["all scraped", "a tenth lost"])
def test_the_interval_is_the_median_distance_of_samples(tmp_path: Path, interval: float, lost: float) -> None:
    """At any phase of the targets, and with late or lost scrapes."""
    chance = np.random.default_rng(int(interval))
    batches = []
    for target in range(TARGETS):
        sample = Sample("up", labels_of({"job": "x", "instance": str(target)}), 1.0)
        phase = chance.uniform(0, interval)
        due = np.arange(NOW - 1600 + phase, NOW, interval)
        times = (due + chance.uniform(0, 0.05, len(due)))[chance.random(len(due)) >= lost]
        batches += [SampleBatch(time, str(target), (sample,)) for time in times.tolist()]
    store = Store.open(tmp_path, now=lambda: NOW)
    store.append_samples(sorted(batches, key=lambda batch: batch.time))

    assert scrape_interval(store, NOW, otherwise=7.0) == pytest.approx(interval, abs=1.0)
    store.close()


def test_a_source_without_samples_shows_none(tmp_path: Path) -> None:
    """Then what was said before holds."""
    store = Store.open(tmp_path, now=lambda: NOW)

    assert scrape_interval(store, NOW, otherwise=7.0) == 7.0
    store.close()
