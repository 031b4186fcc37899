"""Ten minutes of spans leave the hub's memory as two minutes did."""

from __future__ import annotations

from pathlib import Path
from statistics import median

import pytest

RATE, MINUTES = 5_000, 10
MOST = 600.0
"""MiB that the hub may have at any of these minutes."""


@pytest.mark.soak
def test_memory_is_flat_under_a_steady_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over both protocols, with the service graph and span metrics on; `make bench` has the same load, faster.

    A segment being written shows for some seconds, so three minutes are looked at together.
    """
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "scripts")
    from bench_spans import load

    outcome = load(60.0 * MINUTES, RATE)
    told = f"MiB by minute: {[round(each) for each in outcome.resident]}"
    assert (outcome.refused, outcome.lost) == (0, 0)
    assert outcome.accepted > 0.9 * RATE * 60 * MINUTES
    assert max(outcome.resident) < MOST, told
    assert median(outcome.resident[-3:]) < 1.1 * median(outcome.resident[:3]), told
