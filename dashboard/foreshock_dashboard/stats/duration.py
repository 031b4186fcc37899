"""Durations for data of any distance between points."""

from __future__ import annotations

import math
from typing import NamedTuple


class Duration(NamedTuple):
    """A duration in seconds and in points; the larger one counts."""

    seconds: float
    points: int

    def at(self, step: float) -> float:
        """The duration in seconds, for a distance of points in seconds."""
        return max(self.seconds, self.points * step)

    def points_at(self, step: float) -> int:
        """The duration in points, rounded up."""
        return max(self.points, math.ceil(self.seconds / step))
