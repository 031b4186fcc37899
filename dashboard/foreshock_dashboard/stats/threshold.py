"""Logistic thresholds: from a figure to a confidence."""

from __future__ import annotations

import math
from typing import NamedTuple


class Threshold(NamedTuple):
    """A soft threshold: confidence is 0.5 at the midpoint, and 0.88 two widths above it."""

    midpoint: float
    width: float

    def confidence(self, value: float) -> float:
        """Confidence (0 to 1) that the value exceeds the threshold; 0 for NaN."""
        return confidence(value, self.midpoint, self.width)


def confidence(value: float, midpoint: float, width: float) -> float:
    """Confidence (0 to 1) that a value exceeds a threshold: the logistic function; 0 for NaN."""
    if math.isnan(value):
        return 0.0
    return 1.0 / (1.0 + math.exp(-max(-50.0, min(50.0, (value - midpoint) / width))))
