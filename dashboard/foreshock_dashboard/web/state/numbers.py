"""Numbers for JSON: NaN and infinity become None, so that absent is never zero."""

from __future__ import annotations

import math

from foreshock_dashboard.model.types import Floats


def number(value: float) -> float | None:
    """A float for JSON: None where there is no value, and six significant digits at most."""
    return None if not math.isfinite(value) else float(f"{value:.6g}")


def number_of_time(seconds: float | None) -> float | None:
    """Unix seconds to the millisecond; None where there is none."""
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 3)


def last(values: Floats) -> list[float | None]:
    """The newest column of an array of shape (rows, times)."""
    if values.shape[1] == 0:
        return [None] * values.shape[0]
    return [number(value) for value in values[:, -1].tolist()]
