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

Stage = Literal["healthy", "early_warning", "degraded", "breached"]

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
