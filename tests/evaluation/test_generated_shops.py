"""Generated recordings with one known fault each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from foreshock_evaluation.explanations.generated import KINDS, SERVICES, main, shop
from foreshock_evaluation.explanations.incident import labeled_recordings, read_incident

SHOWN = {"cpu": "cpu_usage", "memory": "memory_usage_bytes", "delay": "latency_p50_seconds"}


@pytest.mark.parametrize(("kind", "metric"), SHOWN.items())
def test_a_fault_shows_at_its_own_service(kind: str, metric: str) -> None:
    """Nowhere else does the metric grow as much, in standard deviations; latency is inherited by callers."""
    made = shop(KINDS.index(kind), 60.0)
    values, after = made.metrics[metric], made.times > made.onset + 60
    growth = np.median(values[:, after], axis=1) - np.median(values[:, ~after], axis=1)
    scales = growth / values[:, ~after].std(axis=1)
    largest = float(scales.max())
    assert scales[SERVICES.index(made.suspect)] >= (largest / 2 if kind == "delay" else largest)


def test_the_same_seed_makes_the_same_shop() -> None:
    """At each resolution, with at least 180 points before the fault."""
    for step in (1.0, 300.0):
        one, other = shop(5, step), shop(5, step)
        assert (one.times < one.onset).sum() >= 180
        assert all((one.metrics[name] == other.metrics[name]).all() for name in one.metrics)


def test_recordings_are_labeled(tmp_path: Path) -> None:
    """The last kind has no fault."""
    assert main([str(tmp_path), "300", "6"]) == 0
    for wrong in (["0", "6"], ["300", "x"], ["300", "6", "--first-seed", "-1"]):
        assert main([str(tmp_path), *wrong]) == 2
    incidents = [read_incident(folder) for folder in labeled_recordings(tmp_path)]
    assert [incident.kind for incident in incidents] == list(KINDS)
    assert [incident.is_fault for incident in incidents] == [True] * 5 + [False]
    assert all(incident.asked is not None and incident.asked.name in SERVICES for incident in incidents)


def test_the_first_seed_makes_other_shops(tmp_path: Path) -> None:
    """Figures on seeds that no value was set on need other recordings than those of development."""
    assert main([str(tmp_path), "300", "2", "--first-seed", "1000"]) == 0
    folders = labeled_recordings(tmp_path)
    assert [folder.name for folder in folders] == [f"{seed:04}-{shop(seed, 300.0).kind}" for seed in (1000, 1001)]
    assert shop(1000, 300.0).metrics["cpu_usage"].tolist() != shop(0, 300.0).metrics["cpu_usage"].tolist()
