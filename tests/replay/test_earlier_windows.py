"""Evidence below the gate counts where nothing as strong ever happened before."""

from __future__ import annotations

import numpy as np
import pytest

from foreshock_dashboard.analysis.root_cause import parameters as use
from foreshock_dashboard.analysis.root_cause.deviation import AnalysisWindow, window_around
from foreshock_dashboard.analysis.root_cause.signal_rows import SignalRow
from foreshock_dashboard.model.service import Service
from foreshock_dashboard.replay.earlier_windows import was_less_anomalous

FRONT, STORE = Service("shop", "front"), Service("shop", "store")


def history(step: float, seconds: float, burst: float = 0.0) -> tuple[list[SignalRow], AnalysisWindow]:
    """Latency and CPU of two services that vary by 3%; `burst` raises all for 5 min in the first half."""
    window = window_around(0.0, seconds + 600, seconds, step)
    assert window is not None
    random = np.random.default_rng(5)
    middle = np.abs(window.times - seconds / 3) < max(150.0, step)
    rows = []
    for service in (FRONT, STORE):
        for kind, metric in (("latency", "latency_seconds"), ("resource", "cpu_usage")):
            values = 0.2 * np.exp(0.03 * random.standard_normal(len(window.times)))
            values *= 1 + burst * middle
            rows.append(SignalRow(service, kind, metric, values))  # type: ignore[arg-type]  # kinds of the table
    return rows, window


@pytest.mark.parametrize("step", [15.0, 60.0, 300.0])
@pytest.mark.parametrize("affected", [FRONT, None])
def test_weaker_evidence_counts_on_a_quiet_system_only(step: float, affected: Service | None) -> None:
    """Not where an earlier time was as anomalous, and never below or above the range it is for."""
    seconds = max(7200.0, 200 * step)
    quiet, odd = history(step, seconds), history(step, seconds, burst=4.0)
    assert was_less_anomalous(*quiet, affected, 4.0)
    assert not was_less_anomalous(*odd, affected, 4.0)
    assert not was_less_anomalous(*quiet, affected, use.LOWERED_GATE_Z - 0.1)
    assert not was_less_anomalous(*quiet, affected, use.GATE_Z)


def test_a_short_history_shows_too_few_windows() -> None:
    """One in twenty is not known from eight."""
    assert not was_less_anomalous(*history(15.0, 1500.0), FRONT, 4.0)


def test_a_gap_in_the_history_is_no_earlier_window() -> None:
    """Nothing is compared where nothing was reported."""
    rows, window = history(15.0, 7200.0)
    gap = (window.times > 1800.0) & (window.times < 3600.0)
    rows = [row._replace(values=np.where(gap, np.nan, row.values)) for row in rows]
    assert was_less_anomalous(rows, window, FRONT, 4.0)
