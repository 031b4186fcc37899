"""When the excess of a service began that still lasts at the time in question."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow, excursion_start
from foreshock_dashboard.analysis.root_cause.signal_rows import SignalRow
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.model.types import Floats

CHAT, OTHER = Service("serving", "chat"), Service("serving", "other")
TIMES: Floats = 10.0 * np.arange(420, dtype=np.float64)
WINDOW = AnalysisWindow(TIMES, 270, 360, TIMES[372])
"""45 minutes of baseline; a quarter of an hour later, from minute 60 on, the analyzed time; asked at minute 62."""


def latency(*changes: tuple[float, float], service: Service = CHAT, missing: slice = slice(0)) -> SignalRow:
    """A p95 of 0.1 s with 5% noise that changes at some minutes. missing: points without a value."""
    values = np.full(len(TIMES), 0.1)
    for minute, seconds in changes:
        values[60.0 * minute <= TIMES] = seconds
    values[missing] = np.nan
    noise = np.exp(0.05 * np.random.default_rng(3).standard_normal(len(TIMES)))
    return SignalRow(service, "latency", "latency_seconds", values * noise, "p95")


@pytest.mark.parametrize(
    ("rows", "minute"),
    [
        ([latency((52.0, 1.0))], 52.0),
        ([latency((40.0, 1.0))], 45.0),  # in the baseline already
        ([latency((61.0, 1.0))], 61.0),
        ([latency((50.0, 1.0), (52.0, 0.1), (56.0, 1.0))], 56.0),  # the earlier one was over
        ([latency((50.0, 0.13), (56.0, 5.0))], 56.0),  # a little slower before
        ([latency((52.0, 1.0), missing=slice(348, 351))], 52.0),  # without values at minute 58
        ([latency((52.0, 1.0), missing=slice(366, None))], 52.0),  # collapsed at minute 61
        ([latency((52.0, 1.0), missing=slice(290, 312))], 52.0),  # without values before
        ([latency((64.0, 1.0))], 62.0),  # it begins later
        ([latency()], 62.0),
        ([latency((52.0, 1.0), service=OTHER), latency()], 62.0),
        ([], 62.0),
    ],
)
def test_an_excess_began_where_it_was_first_at_least_half_as_large_without_a_break(
    rows: list[SignalRow], minute: float
) -> None:
    assert excursion_start(rows, WINDOW, CHAT) == pytest.approx(60.0 * minute, abs=60.0)
