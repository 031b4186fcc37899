"""Memory that an earlier incident of a service left behind is no cause of the next one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow, deviations
from foreshock_dashboard.analysis.root_cause.signal_rows import SignalRow
from foreshock_dashboard.model.explanation import SignalKind
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

STORE, FRONT = Service("shop", "store"), Service("shop", "front")


def steps(times: Floats, normal: float, *changes: tuple[float, float]) -> Floats:
    """A value that varies by 1% and changes at some minutes."""
    level = np.full(len(times), normal)
    for minute, value in changes:
        level[times >= 60.0 * minute] = value
    return level * np.exp(0.01 * np.random.default_rng(7).standard_normal(len(times)))


@pytest.mark.parametrize("step", [10.0, 60.0])
@pytest.mark.parametrize("of", ["service", "call"])
@pytest.mark.parametrize(
    ("latency", "memory", "expected"),
    [
        (((52.0, 0.5), (55.0, 0.05)), ((54.0, 0.6),), False),  # the incident is over, its memory stays
        (((52.0, 0.5), (55.0, 0.05)), ((54.0, 0.6), (60.0, 0.9)), True),  # more is new
        (((52.0, 0.5),), ((54.0, 0.6),), True),  # the incident goes on: it was noticed late
        ((), ((54.0, 0.6),), True),  # there was no incident: the memory may be the cause
        (((10.0, 0.5), (12.0, 0.05)), ((54.0, 0.6),), True),  # the incident was long before
        ((), ((60.0, 0.6),), True),
        (((52.0, 0.5), (55.0, math.nan)), ((54.0, 0.6),), True),  # the service is down since
        (((52.1, 0.5), (52.4, 0.05)), ((51.0, 0.6),), True),  # a moment is no incident
        (((52.0, 0.5), (59.8, 0.05)), ((54.0, 0.6),), True),  # nor a moment the end of one
    ],
)
def test_memory_that_an_earlier_incident_left_is_no_anomaly(
    latency: tuple[tuple[float, float], ...],
    memory: tuple[tuple[float, float], ...],
    expected: bool,
    of: str,
    step: float,
) -> None:
    """Only what a service's next incident adds to it is one; without an earlier incident, all of it."""
    times = np.arange(0.0, 3900.0, step)
    entity = STORE if of == "service" else (FRONT, STORE)
    rows = [
        SignalRow(entity, "latency", "latency_seconds", steps(times, 0.05, *latency)),
        SignalRow(STORE, "resource", "memory_ratio", steps(times, 0.2, *memory)),
    ]
    window = AnalysisWindow(times, int(2700 / step), int(3600 / step), 3660.0)
    found = deviations(rows, window)
    kinds: list[SignalKind] = [row.kind for row in found.rows]
    assert (np.median(found.z[kinds.index("resource")]) > 3) == expected
