"""How well a GPU is, in the states of OpenTelemetry's `hw.status`. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["ok", "degraded", "failed", "predicted_failure"]
STATES: tuple[State, ...] = ("ok", "degraded", "failed", "predicted_failure")

XID_ACTIVE_SECONDS = 600.0
"""Seconds for which an XID error says something of the GPU's state."""
MIN_THROTTLED_RATIO = 0.1
"""Share of the time from which a GPU held back is degraded."""
FATAL_XIDS = frozenset({46, 48, 62, 64, 79, 95, 110, 119, 120, 140, 143})
"""XID errors after which a GPU has to be reset or its host restarted (NVIDIA's XID catalog)."""
APPLICATION_XIDS = frozenset({8, 13, 31, 43, 45, 68, 94, 109})
"""XID errors that an application causes or that cost only the application (NVIDIA's XID catalog)."""
_SICK = frozenset({"thermal", "hw_thermal", "power_brake", "reliability", "board_limit"})
"""What holds a GPU back that is not well cooled or fed; the power limit and idling are normal."""


@dataclass(frozen=True, slots=True)
class Condition:
    """What is known of a GPU; None where the device does not say.

    `xids`: seconds since each XID error was last reported. `throttled`: share 0…1 of the last seconds, by reason.
    """

    lost: bool = False
    row_remap_pending: bool | None = None
    row_remap_failed: bool | None = None
    xids: Mapping[int, float] = field(default_factory=dict)
    throttled: Mapping[str, float] = field(default_factory=dict)


def hardware_state(condition: Condition) -> State:
    """The worst that holds.

    *failed*: lost, or it reported an error that only a reset ends. *predicted_failure*: it has no spare rows left for
    bad memory, for which NVIDIA has it replaced. *degraded*: a bad row waits for a reset, it reported another error of
    its own, or heat or supply holds its clocks down.
    """
    recent = {xid for xid, age in condition.xids.items() if age <= XID_ACTIVE_SECONDS}
    if condition.lost or recent & FATAL_XIDS:
        return "failed"
    if condition.row_remap_failed:
        return "predicted_failure"
    held = any(share >= MIN_THROTTLED_RATIO for reason, share in condition.throttled.items() if reason in _SICK)
    if condition.row_remap_pending or recent - APPLICATION_XIDS or held:
        return "degraded"
    return "ok"


def growth_ratios(before: Mapping[str, float], after: Mapping[str, float], seconds: float) -> dict[str, float]:
    """Which share of the `seconds` between two readings each counter of seconds grew by; empty where none passed."""
    if seconds <= 0.0:
        return {}
    return {name: max(0.0, after[name] - before[name]) / seconds for name in after if name in before}
