"""GPU state in terms of OpenTelemetry."""

from __future__ import annotations

from typing import Any

import pytest

from foreshock_exporter.otlp.readings import (
    MIN_THROTTLED_RATIO,
    XID_ACTIVE_SECONDS,
    State,
    growth_ratios,
    hardware_state,
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ({}, "ok"),
        ({"row_remap_pending": False, "row_remap_failed": False}, "ok"),
        ({"lost": True}, "failed"),
        ({"lost": True, "row_remap_failed": True}, "failed"),
        ({"xids": {79: 1.0}}, "failed"),
        ({"xids": {79: XID_ACTIVE_SECONDS + 1}}, "ok"),
        ({"xids": {95: 0.0}, "row_remap_pending": True}, "failed"),
        ({"row_remap_failed": True}, "predicted_failure"),
        ({"row_remap_failed": True, "row_remap_pending": True}, "predicted_failure"),
        ({"row_remap_pending": True}, "degraded"),
        ({"xids": {63: 5.0}}, "degraded"),
        ({"xids": {74: 5.0}}, "degraded"),
        ({"xids": {74: XID_ACTIVE_SECONDS + 1}}, "ok"),
        ({"xids": {13: 5.0, 31: 5.0, 43: 5.0, 45: 5.0, 94: 5.0}}, "ok"),
        ({"throttled": {"hw_thermal": 0.5}}, "degraded"),
        ({"throttled": {"power_brake": MIN_THROTTLED_RATIO}}, "degraded"),
        ({"throttled": {"hw_thermal": 0.05}}, "ok"),
        ({"throttled": {"power": 1.0, "low_utilization": 1.0, "sync_boost": 1.0}}, "ok"),
    ],
)
def test_the_state_is_the_worst_applicable(condition: dict[str, Any], expected: State) -> None:
    """Application errors, the power limit, and old events do not count."""
    assert hardware_state(**{"xids": {}, "throttled": {}, **condition}) == expected


def test_how_long_a_gpu_was_throttled_comes_from_two_readings() -> None:
    """A new reason and a reset counter have no growth yet."""
    assert growth_ratios({"thermal": 10.0, "power": 5.0}, {"thermal": 12.5, "power": 0.0, "board_limit": 9.0}, 5.0) == {
        "thermal": 0.5,
        "power": 0.0,
    }
    assert growth_ratios({"thermal": 10.0}, {"thermal": 11.0}, 0.0) == {}
