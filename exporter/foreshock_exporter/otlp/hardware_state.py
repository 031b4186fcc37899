"""State of a GPU in terms of OpenTelemetry's `hw.status`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "degraded", "failed", "predicted_failure"]
STATES: tuple[State, ...] = ("ok", "degraded", "failed", "predicted_failure")

XID_ACTIVE_SECONDS = 600.0
"""Time for which an XID error affects the state."""
MIN_THROTTLED_RATIO = 0.1
"""Share of time at which a throttled GPU is degraded."""
FATAL_XIDS = frozenset({46, 48, 62, 64, 79, 95, 110, 119, 120, 140, 143})
"""XID errors that require a reset of the GPU or a restart of the host (NVIDIA's XID catalog)."""
APPLICATION_XIDS = frozenset({8, 13, 31, 43, 45, 68, 94, 109})
"""XID errors caused by an application or limited to it (NVIDIA's XID catalog)."""
_FAULT_REASONS = frozenset({"thermal", "hw_thermal", "power_brake", "reliability", "board_limit"})
"""Throttle reasons of a GPU with insufficient cooling or power; the power limit and idling are normal."""


@dataclass(frozen=True, slots=True)
class Condition:
    """Condition of a GPU; None if not reported.

    `xids`: seconds since the last report of each XID. `throttled`: share 0 to 1 of recent time, by reason.
    """

    lost: bool = False
    row_remap_pending: bool | None = None
    row_remap_failed: bool | None = None
    xids: Mapping[int, float] = field(default_factory=dict)
    throttled: Mapping[str, float] = field(default_factory=dict)


def hardware_state(condition: Condition) -> State:
    """Worst applicable state.

    *failed*: lost, or an XID that requires a reset. *predicted_failure*: no spare rows left, for which NVIDIA replaces
    the GPU. *degraded*: a row waits for a reset, another XID of the device, or throttled by heat or power supply.
    """
    recent = {xid for xid, age in condition.xids.items() if age <= XID_ACTIVE_SECONDS}
    if condition.lost or recent & FATAL_XIDS:
        return "failed"
    if condition.row_remap_failed:
        return "predicted_failure"
    throttled_by_fault = any(
        share >= MIN_THROTTLED_RATIO for reason, share in condition.throttled.items() if reason in _FAULT_REASONS
    )
    if condition.row_remap_pending or recent - APPLICATION_XIDS or throttled_by_fault:
        return "degraded"
    return "ok"


def growth_ratios(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Growth per second of each counter of seconds; empty for a zero duration."""
    if seconds <= 0.0:
        return {}
    return {name: max(0.0, after[name] - before[name]) / seconds for name in after if name in before}
