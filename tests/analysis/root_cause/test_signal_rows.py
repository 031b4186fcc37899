"""Signals of any series: which are counters, and what their values mean."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause.signal_rows import is_counter
from foreshock_dashboard.model.types import Floats

POINTS = 60
RNG = np.random.default_rng(1)
CONSTANT: Floats = np.full(POINTS, 30.0)
WANDERING: Floats = 30.0 + RNG.integers(-1, 2, POINTS).astype(np.float64)
GROWING: Floats = np.cumsum(RNG.poisson(5.0, POINTS)).astype(np.float64)
RARE: Floats = np.cumsum(np.arange(POINTS) % 10 == 0).astype(np.float64)
RESTARTED: Floats = np.concatenate([GROWING[:40], GROWING[:20]])


@pytest.mark.parametrize(
    ("metric", "past", "expected"),
    [
        ("jvm_thread_count", CONSTANT, False),
        ("db_client_connection_count", WANDERING, False),
        ("orders_count", GROWING, True),
        ("orders_sum", RARE, True),
        ("orders_count", RESTARTED, True),
        ("orders_total", CONSTANT, True),
    ],
)
def test_a_metric_named_count_is_a_counter_only_if_it_grew(metric: str, past: Floats, expected: bool) -> None:
    """An UpDownCounter of OpenTelemetry has the same suffix."""
    assert is_counter(metric, past[None]) is expected
