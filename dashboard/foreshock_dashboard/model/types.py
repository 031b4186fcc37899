"""Type aliases shared by all packages."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
"""Array of double precision; NaN is a missing value."""
Bools = NDArray[np.bool_]
Json = dict[str, Any]
"""A JSON object at the edges of the program."""

Health = Literal["ok", "warning", "critical", "idle", "unknown"]
HEALTH_ORDER: tuple[Health, ...] = ("critical", "warning", "unknown", "ok", "idle")
"""The worst first."""

Activity = Literal["failed_calls", "queue", "work"]
"""What a part of a trace's duration was spent on."""

Stage = Literal["healthy", "early_warning", "degraded", "breached"]

SafeLimitBasis = Literal["capacity", "bursts", "peak"]
"""What a safe limit rests on: capacity alone, a bursty load, or the load that the service has carried."""

ConditionKind = Literal[
    "healthy",
    "affected",
    "recovering",
    "at_risk",
    "suspected_cause",
    "errors",
    "anomalous",
    "degraded",
    "slo_breach",
    "low_traffic",
    "no_baseline",
    "no_traffic",
    "no_data",
]
