"""The health of a service, its stage on the timeline, and its condition beside other services."""

from __future__ import annotations

from typing import Literal

Health = Literal["ok", "warning", "critical", "idle", "unknown"]
Stage = Literal["healthy", "early_warning", "degraded", "breached"]
ConditionKind = Literal[
    "healthy",
    "affected",
    "recovering",
    "at_risk",
    "noisy_neighbor",
    "suspected_cause",
    "errors",
    "slo_breach",
    "no_traffic",
    "no_data",
]
